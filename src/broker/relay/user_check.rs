//! In whose name an edge may act: in that of users whose good tokens it has shown over its link, where the home asks for them.
//!
//! Always holds: nothing in a user's name is done, or told, before that user's token was verified with this pod's own keys; what is in no
//! user's name needs no token. A token that is not good costs its edge a moment, so that trying many takes little of this pod.

use std::{sync::Arc, time::Duration};

use roomcast_incident::ResolvedIncident;

use super::{
    edge_answer::{EdgeAnswer, EdgeStanding},
    edges::EdgeLink,
    home::Home,
    member_departure::MemberDeparture,
    message::FromHome,
};
use crate::{
    broker::{BrokerError, FleetAnswer},
    model::Token,
};

/// For how long a link is not read after a token that is not good.
const BAD_TOKEN_PAUSE: Duration = Duration::from_millis(1);

/// For how long a token may wait for the keys that it needs. A link must have signs of life meanwhile.
const KEYS_WITHIN: Duration = Duration::from_millis(200);

impl Home {
    /// An edge shows a user's token.
    pub(super) async fn vouch(&self, link: &EdgeLink, token: &Token) {
        let shown = tokio::time::timeout(KEYS_WITHIN, self.access.user_of(token)).await.ok().flatten();
        match shown {
            Some((user, expires_at)) => {
                if link.users.put(Arc::clone(&user), expires_at, self.memory.limit()) {
                    self.show_members(link, &user).await;
                } else {
                    self.metrics.refused_memory.increment(1);
                }
                // Each takes a moment, and other links wait for none that shows many.
                tokio::task::yield_now().await;
            }
            None => {
                self.metrics.refused_token.increment(1);
                tokio::time::sleep(BAD_TOKEN_PAUSE).await;
            }
        }
    }

    /// Whether an edge may act in this name; `None`: in no user's.
    pub(super) fn check_user(&self, link: &EdgeLink, user: Option<&str>) -> Result<(), BrokerError> {
        let Some(user) = user else { return Ok(()) };
        let now = (link.now)();
        if !self.access.wants_tokens() || link.users.has(user, now) {
            return Ok(());
        }
        self.metrics.refused_user.increment(1);
        if link.strangers.fails(Duration::from_millis(now)) {
            tracing::warn!(
                edge = link.pod,
                link = link.number,
                "an edge acts in the names of users of whom it has shown no good token: that is refused (`relay.verify_users`)"
            );
        }
        Err(BrokerError::NoToken(user.chars().take(255).collect::<String>().into()))
    }

    /// Takes an edge's answer to a question of the fleet, as far as it is believed.
    pub(super) fn take_answer(&self, link: &EdgeLink, id: u64, said: Option<FleetAnswer>) {
        let now = (link.now)();
        let standing = EdgeStanding {
            pod: &link.pod,
            may_have: &|room| self.access.allows_room(room),
            speaks_of: &|user| !self.access.wants_tokens() || link.users.has(user, now),
        };
        link.answered(id, |question| {
            let Some(said) = said else { return EdgeAnswer::default() };
            let answer = standing.believed(question, said);
            if !answer.is_whole {
                self.metrics.refused_answer.increment(1);
            }
            answer
        });
    }

    /// To be called now and then: takes back members whose users' tokens have ended, and asks for tokens again once the keys are others.
    pub(super) async fn review_users(&self, link: &EdgeLink, keys: &mut (u64, u64)) {
        let now = (link.now)();
        if let Some(over) = link.strangers.succeeds(Duration::from_millis(now)) {
            tell_over(link, over);
        }
        if !self.access.wants_tokens() {
            return;
        }
        let newest = self.access.keys();
        if *keys != newest {
            *keys = newest;
            link.users.doubt(now);
            link.queue.send(&FromHome::ShowAgain);
        }
        let ended = link.users.sweep(now);
        if !ended.is_empty() {
            // One may show a good token again while the members of others go.
            let has_ended = |user: &str| ended.contains(user) && !link.users.has(user, (link.now)());
            let departure = MemberDeparture::Ended { link: link.number, has_ended: &has_ended };
            self.take_back(&link.pod, None, departure).await;
        }
    }
}

/// A line of the log where refusals of a link are over.
pub(super) fn tell_over(link: &EdgeLink, over: ResolvedIncident) {
    let (edge, link, seconds, refused) = (&link.pod, link.number, over.seconds(), over.failures);
    tracing::info!(
        edge,
        link,
        seconds,
        refused,
        "the edge acts in no user's name any more of whom it has shown no good token"
    );
}
