//! Has authors told of acks that were kept and not told: their pod died in between, or the broker did not take what it said.
//!
//! Decides nothing: what is due stands beside the ack, and the broker gives each to one pod at a time. Always holds: without a policy that
//! tells authors the broker is asked nothing.

use std::time::Duration;

use super::{read_change::ReadChange, rounds::AckRounds};
use crate::{
    hub::worker::services::Services,
    model::{AckMode, Unread},
};

/// The most acks that are taken at a time, of each part of the users.
const MOST: usize = 256;

/// The bounds of the time after which an ack counts as left.
const LEAST_WAIT: Duration = Duration::from_secs(5);
const MOST_WAIT: Duration = Duration::from_secs(60);

/// In how many rounds a pod that lives has told authors.
const ROUNDS: u32 = 10;

/// What has authors told of them.
pub(super) struct LeftUntold<'a>(pub(super) &'a Services);

impl LeftUntold<'_> {
    /// Has them told, for ever.
    pub(super) async fn run(&self) {
        loop {
            let wait = wait(self.0.config.load().acks.every);
            tokio::time::sleep(wait / 2).await;
            if self.0.policies.load().has(|policy| policy.acks == AckMode::Receipts) {
                self.tell(wait).await;
            }
        }
    }

    /// Has them told of what was left so long ago.
    async fn tell(&self, older: Duration) {
        let left = match self.0.acks.store.take_untold(older, MOST).await {
            Ok(left) => left,
            Err(error) => {
                tracing::debug!(%error, "what authors were not told is not known now");
                return;
            }
        };
        if left.is_empty() {
            return;
        }
        self.0.metrics.acks.taken.increment(left.len() as u64);
        let (told, over): (Vec<_>, Vec<_>) = left
            .into_iter()
            .map(|left| {
                let receipts = self.0.policy(&left.room).acks == AckMode::Receipts;
                let unread = Unread { room: left.room, end: left.read.offset, read: left.read };
                ReadChange { user: left.user, personal: None, receipts, unread, before: left.before }
            })
            .partition(|change| change.receipts);
        // The policy is another one by now.
        self.0.acks.untold.add(over.iter().map(ReadChange::settled).collect());
        AckRounds(self.0).tell(told).await;
    }
}

fn wait(every: Duration) -> Duration {
    (every * ROUNDS).clamp(LEAST_WAIT, MOST_WAIT)
}
