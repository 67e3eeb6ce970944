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

/// How often a home may have all of them shown again at once. Meanwhile each is shown when something is done in its name, and the others once
/// that time is over: their members would go from lists otherwise, although they do nothing.
const AGAIN_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct ShownTable {
    users: HashSet<Box<str>>,
    again: Option<Instant>,
    /// Those that the home wanted again too soon after the last time, and that were not shown since.
    later: HashSet<Box<str>>,
}

impl ShownTable {
    /// Shows those that have a token.
    fn show_all(&mut self, all: HashSet<Box<str>>, tokens: &UserTokens, mut show: impl FnMut(Token)) {
        for user in all {
            if let Some(token) = tokens.of(&user) {
                show(token);
                self.users.insert(user);
            }
        }
    }

    fn may_show_all(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| now.duration_since(again) >= AGAIN_EVERY)
    }
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
        table.later.remove(user);
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
    pub(super) fn show_again(&self, tokens: &UserTokens, now: Instant, show: impl FnMut(Token)) {
        let mut table = self.lock();
        let shown = std::mem::take(&mut table.users);
        table.later.extend(shown);
        Self::show_due(&mut table, tokens, now, show);
    }

    /// To be called now and then: shows those that a home wanted again, once it may have them.
    pub(super) fn show_later(&self, tokens: &UserTokens, now: Instant, show: impl FnMut(Token)) {
        Self::show_due(&mut self.lock(), tokens, now, show);
    }

    fn show_due(table: &mut ShownTable, tokens: &UserTokens, now: Instant, show: impl FnMut(Token)) {
        if !table.later.is_empty() && table.may_show_all(now) {
            table.again = Some(now);
            // It may find none of them good any more: whichever comes next is better, also one that ends sooner.
            tokens.doubt_all();
            let later = std::mem::take(&mut table.later);
            table.show_all(later, tokens, show);
        }
    }

    /// The home knows no token of a user, or it has ended.
    pub(super) fn forget(&self, user: &str) {
        let mut table = self.lock();
        table.users.remove(user);
        table.later.remove(user);
    }

    /// The tokens of these have ended.
    pub(super) fn forget_all(&self, users: &[Arc<str>]) {
        if !users.is_empty() {
            let mut table = self.lock();
            users.iter().for_each(|user| {
                table.users.remove(&**user);
                table.later.remove(&**user);
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
        let later = |now| {
            let mut said = Vec::new();
            shown.show_later(&tokens, now, |token| said.push(token.reveal().to_owned()));
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
        assert!(!tokens.put(&"ann".into(), &Token::new("one"), Some(100), 0), "it is no other one");
        assert!(again(now).is_empty(), "not so soon");
        assert_eq!(shows("ann"), ["one"], "but where it is needed");
        assert!(later(now + AGAIN_EVERY).is_empty(), "it was shown since");
        assert_eq!(again(now + AGAIN_EVERY), ["one"]);
        assert!(
            again(now + AGAIN_EVERY).is_empty() && later(now + 2 * AGAIN_EVERY - Duration::from_millis(1)).is_empty()
        );
        assert_eq!(later(now + 2 * AGAIN_EVERY), ["one"], "although nothing is done in its name");
        assert!(later(now + 9 * AGAIN_EVERY).is_empty() && shows("ann").is_empty());
        shown.forget_all(&["ann".into()]);
        assert!(again(now + 10 * AGAIN_EVERY).is_empty());
    }
}
