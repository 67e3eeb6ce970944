//! When an edge shows its home users' tokens: before a member, when a better one is there, when the home wants them again.
//!
//! Owns nothing: tokens are kept by [`UserTokens`](super::user_tokens), and what a link has shown by [`ShownUsers`](super::shown_users).

use std::{sync::Arc, time::Instant};

use super::{
    link::HomeLink,
    state::{EdgeState, own_now},
};
use crate::{
    broker::relay::message::FromEdge,
    model::{Member, Room, Token, UnixMillis},
};

impl EdgeState {
    /// The home refused so much since it knows no good token of a user.
    pub(super) fn users_refused(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.metrics.users_refused.increment(count);
        if self.strangers.fails_times(count, Instant::now()) {
            tracing::warn!(
                "the home of this edge refuses what is done in users' names, since it was shown no token of theirs that it finds good: \
                 does it verify tokens with the same keys (`tokens`, `relay.verify_users` there)?"
            );
        }
    }

    /// To be called now and then: lets go of tokens that have ended, and shows what those that are left hold.
    pub(super) fn review_tokens(&self) {
        let now = own_now();
        let ended = self.tokens.forget(now);
        for link in self.rooms.up().into_iter().filter_map(|index| self.rooms.link(index)) {
            link.shown.forget_all(&ended);
            link.show_later(&self.tokens);
        }
        let (bytes, dropped) = self.tokens.usage();
        self.metrics.show_tokens(bytes, dropped);
        if let Some(over) = self.strangers.succeeds(Instant::now()) {
            let (seconds, refused) = (over.seconds(), over.failures);
            tracing::info!(seconds, refused, "the home of this edge refuses nothing in users' names any more");
        }
    }

    /// A user's token was found good.
    pub(super) fn saw_token(&self, user: &Arc<str>, token: &Token, expires_at: Option<UnixMillis>) {
        if !self.tokens.put(user, token, expires_at, own_now()) {
            return;
        }
        for link in self.rooms.up().into_iter().filter_map(|index| self.rooms.link(index)) {
            link.renew_token(user, token);
        }
    }

    /// Tells the home of a member that came.
    pub(super) fn tell_join(&self, link: &HomeLink, room: &Room, member: &Member) {
        if let Some(user) = &member.user {
            link.show_token(user, &self.tokens);
        }
        link.queue.send(&FromEdge::Join(room.clone(), member.clone()));
    }
}
