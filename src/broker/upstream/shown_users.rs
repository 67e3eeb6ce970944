//! The users whose tokens a home was shown over one link. Without I/O.
//!
//! Bounded: [`MOST`]; beyond it all are shown again. Always holds: while a token is being shown, nothing else in that user's name goes
//! before it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::user_tokens::UserTokens;
use crate::model::Token;

/// The most users.
const MOST: usize = 500_000;

/// How often a home may have all of them shown again at once. Meanwhile each is shown when something is done in its name.
const AGAIN_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct ShownTable {
    users: HashSet<Box<str>>,
    again: Option<Instant>,
}

/// The users of one link.
#[derive(Default)]
pub(super) struct ShownUsers(Mutex<ShownTable>);

impl ShownUsers {
    fn lock(&self) -> MutexGuard<'_, ShownTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be done in a user's name: its token is shown, if there is one and it was not.
    pub(super) fn show(&self, user: &str, tokens: &UserTokens, show: impl FnOnce(Token)) {
        let mut table = self.lock();
        if table.users.contains(user) {
            return;
        }
        let Some(token) = tokens.of(user) else { return };
        if table.users.len() >= MOST {
            table.users.clear();
        }
        table.users.insert(user.into());
        show(token);
    }

    /// A user has a better token than the one that was shown, if one was.
    pub(super) fn renew(&self, user: &str, token: &Token, show: impl FnOnce(Token)) {
        let table = self.lock();
        if table.users.contains(user) {
            show(token.clone());
        }
    }

    /// The home wants all of them again.
    pub(super) fn show_again(&self, tokens: &UserTokens, now: Instant, mut show: impl FnMut(Token)) {
        let mut table = self.lock();
        if table.again.is_some_and(|again| now.duration_since(again) < AGAIN_EVERY) {
            table.users.clear();
            return;
        }
        table.again = Some(now);
        table.users.retain(|user| match tokens.of(user) {
            Some(token) => {
                show(token);
                true
            }
            None => false,
        });
    }

    /// The home knows no token of a user, or it has ended.
    pub(super) fn forget(&self, user: &str) {
        self.lock().users.remove(user);
    }

    /// The tokens of these have ended.
    pub(super) fn forget_all(&self, users: &[Arc<str>]) {
        if !users.is_empty() {
            let mut table = self.lock();
            users.iter().for_each(|user| {
                table.users.remove(&**user);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_once_and_again_where_the_home_wants_that() {
        let (tokens, shown, now) = (UserTokens::new(10_000), ShownUsers::default(), Instant::now());
        let shows = |user: &str| {
            let mut said = Vec::new();
            shown.show(user, &tokens, |token| said.push(token.reveal().to_owned()));
            said
        };
        let renews = |token: &str| {
            let mut said = Vec::new();
            shown.renew("ann", &Token::new(token), |token| said.push(token.reveal().to_owned()));
            said
        };
        let again = |now| {
            let mut said = Vec::new();
            shown.show_again(&tokens, now, |token| said.push(token.reveal().to_owned()));
            said
        };
        assert!(shows("ann").is_empty(), "there is none");
        assert!(tokens.put(&"ann".into(), &Token::new("one"), Some(100), 0));
        assert!(renews("one").is_empty(), "none was shown before it");
        assert_eq!((shows("ann"), shows("ann")), (vec!["one".to_owned()], vec![]));
        assert_eq!(renews("two"), ["two"]);
        shown.forget("ann");
        assert_eq!(shows("ann"), ["one"]);
        assert_eq!(again(now), ["one"]);
        assert!(again(now).is_empty(), "not so soon");
        assert_eq!(shows("ann"), ["one"], "but where it is needed");
        assert_eq!(again(now + AGAIN_EVERY), ["one"]);
        shown.forget_all(&["ann".into()]);
        assert!(again(now + 2 * AGAIN_EVERY).is_empty());
    }
}
