//! The tokens of users that this edge has found good, so that its home can be shown them. Without I/O.
//!
//! Bounded by `upstream.token_bytes`: at the limit those that have ended go, and then those that were used longest ago, whose users must show
//! theirs again. Always holds: of a user's tokens the one that is good for longest is kept, and none longer than it is good.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::{Token, UnixMillis};

/// What an entry takes beside its texts.
const ENTRY: usize = 192;

/// A user's token.
struct HeldToken {
    token: Token,
    ends: UnixMillis,
    /// When it was used last, in the order of all uses.
    used: u64,
    /// The home did not find it good: any other one is better.
    is_doubted: bool,
}

#[derive(Default)]
struct TokenTable {
    users: HashMap<Arc<str>, HeldToken>,
    /// The uses in their order. One that is not its user's last counts no more.
    uses: VecDeque<(Arc<str>, u64)>,
    given: u64,
    bytes: usize,
    dropped: u64,
}

/// The users' tokens.
pub(super) struct UserTokens {
    table: Mutex<TokenTable>,
    most: usize,
}

fn cost(user: &str, token: &Token) -> usize {
    ENTRY + user.len() + token.reveal().len()
}

impl TokenTable {
    fn remove(&mut self, user: &str) {
        if let Some(held) = self.users.remove(user) {
            self.bytes -= cost(user, &held.token);
        }
    }

    fn remove_ended(&mut self, now: UnixMillis) -> Vec<Arc<str>> {
        let ended = self.users.iter().filter(|(_, held)| held.ends <= now);
        let ended: Vec<Arc<str>> = ended.map(|(user, _)| Arc::clone(user)).collect();
        ended.iter().for_each(|user| self.remove(user));
        ended
    }

    /// A user's token is used.
    fn touch(&mut self, user: &str) {
        self.given += 1;
        let Some((user, _)) = self.users.get_key_value(user) else { return };
        let user = Arc::clone(user);
        if let Some(held) = self.users.get_mut(&user) {
            held.used = self.given;
        }
        self.uses.push_back((user, self.given));
        if self.uses.len() > 2 * self.users.len() + 64 {
            let Self { users, uses, .. } = self;
            uses.retain(|(user, used)| users.get(user).is_some_and(|held| held.used == *used));
        }
    }

    /// Lets go of the token that was used longest ago. `false`: there is none.
    fn drop_oldest(&mut self) -> bool {
        while let Some((user, used)) = self.uses.pop_front() {
            if self.users.get(&user).is_some_and(|held| held.used == used) {
                self.remove(&user);
                self.dropped += 1;
                return true;
            }
        }
        false
    }
}

impl UserTokens {
    /// None yet, and at most so many bytes of them.
    pub(super) fn new(most: usize) -> Self {
        Self { table: Mutex::default(), most }
    }

    fn lock(&self) -> MutexGuard<'_, TokenTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token was found good. Whether it is a better one than was known.
    pub(super) fn put(&self, user: &Arc<str>, token: &Token, expires_at: Option<UnixMillis>, now: UnixMillis) -> bool {
        let ends = expires_at.unwrap_or(UnixMillis::MAX);
        let mut table = self.lock();
        let is_no_better = |held: &HeldToken| held.token == *token || (held.ends > ends && !held.is_doubted);
        if table.users.get(user).is_some_and(is_no_better) {
            table.touch(user);
            return false;
        }
        table.remove(user);
        let more = cost(user, token);
        if table.bytes + more > self.most {
            table.remove_ended(now);
        }
        while table.bytes + more > self.most {
            if !table.drop_oldest() {
                table.dropped += 1;
                return false;
            }
        }
        table.bytes += more;
        table.users.insert(Arc::clone(user), HeldToken { token: token.clone(), ends, used: 0, is_doubted: false });
        table.touch(user);
        true
    }

    /// The home did not find a user's token good.
    pub(super) fn doubt(&self, user: &str) {
        if let Some(held) = self.lock().users.get_mut(user) {
            held.is_doubted = true;
        }
    }

    /// The home's keys are others: it may find none of these good.
    pub(super) fn doubt_all(&self) {
        self.lock().users.values_mut().for_each(|held| held.is_doubted = true);
    }

    /// A user's token, to be shown.
    pub(super) fn of(&self, user: &str) -> Option<Token> {
        let mut table = self.lock();
        let token = table.users.get(user)?.token.clone();
        table.touch(user);
        Some(token)
    }

    /// Lets go of tokens that have ended. Their users are returned.
    pub(super) fn forget(&self, now: UnixMillis) -> Vec<Arc<str>> {
        self.lock().remove_ended(now)
    }

    /// The bytes that they take, and how many had to go for others since this was last asked.
    pub(super) fn usage(&self) -> (usize, u64) {
        let mut table = self.lock();
        (table.bytes, std::mem::take(&mut table.dropped))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_token_that_is_good_for_longest_is_kept_and_none_for_longer() {
        let (tokens, ann): (_, Arc<str>) = (UserTokens::new(MIB), "ann".into());
        let text = || tokens.of("ann").map(|token| token.reveal().to_owned());
        assert!(tokens.put(&ann, &Token::new("first"), Some(100), 0));
        assert!(!tokens.put(&ann, &Token::new("first"), Some(100), 0), "it is known");
        assert!(!tokens.put(&ann, &Token::new("shorter"), Some(50), 0));
        assert_eq!(text().unwrap(), "first");
        assert!(tokens.put(&ann, &Token::new("longer"), Some(200), 0));
        assert_eq!(text().unwrap(), "longer");
        tokens.doubt_all();
        assert!(!tokens.put(&ann, &Token::new("longer"), Some(200), 0), "it is known");
        assert!(tokens.put(&ann, &Token::new("by another key"), Some(150), 0));
        assert!(!tokens.put(&ann, &Token::new("shorter"), Some(50), 0), "the next one is as good as any");
        assert!(tokens.put(&ann, &Token::new("longer"), Some(200), 0));
        assert!(tokens.forget(199).is_empty() && text().is_some());
        assert_eq!(tokens.forget(200), [ann]);
        assert_eq!((text(), tokens.usage()), (None, (0, 0)));
    }

    #[test]
    fn all_of_them_have_a_bound_and_the_one_used_longest_ago_goes() {
        let (tokens, large) = (UserTokens::new(10 * MIB), "t".repeat(MIB));
        let put = |n: u64, now| tokens.put(&format!("u{n}").into(), &Token::new(large.as_str()), Some(100 + n), now);
        for n in 0..9 {
            assert!(put(n, 0));
        }
        for _ in 0..1_000 {
            assert!(tokens.of("u0").is_some());
        }
        assert!(tokens.lock().uses.len() < 200, "uses that count no more take no place");
        assert!(put(9, 0) && put(10, 0));
        let (bytes, dropped) = tokens.usage();
        assert!(bytes <= 10 * MIB && dropped == 2, "{bytes} {dropped}");
        assert!(tokens.of("u0").is_some() && tokens.of("u1").is_none() && tokens.of("u2").is_none());
        // Those that have ended go first.
        assert!(put(30, 105) && tokens.usage().1 == 0);
        assert!(tokens.of("u0").is_none() && tokens.of("u10").is_some());
        let huge = "t".repeat(11 * MIB);
        assert!(!tokens.put(&"ann".into(), &Token::new(huge), None, 0) && tokens.of("ann").is_none());
    }
}
