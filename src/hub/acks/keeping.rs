//! What a pod does about acks for as long as it runs, and when it ends.
//!
//! Always holds: a server that does not answer holds up what is to be written there, and not what another one can judge meanwhile; a pod
//! that ends writes a last round, and waits for it only as long as it is told.

use std::time::Instant;

use crate::hub::{
    acks::{delivered_teller::DeliveredTeller, left_untold::LeftUntold, rounds::AckRounds},
    worker::services::Services,
};

impl Services {
    /// Keeps what this pod's clients have read, for ever.
    pub async fn keep_acks(&self) {
        let (rounds, delivered, left) = (AckRounds(self), DeliveredTeller(self), LeftUntold(self));
        let judging = async {
            loop {
                self.acks.questions.notified().await;
                rounds.judge_asked().await;
            }
        };
        tokio::join!(rounds.run(), judging, delivered.run(), left.run());
    }

    /// Keeps what still waits, when no client is left, and has authors told of it, as far as that is done at the moment `by`. `telling`: what
    /// tells them.
    pub async fn keep_last_acks(&self, telling: impl Future, by: Instant) {
        let rounds = AckRounds(self);
        let last = async {
            rounds.judge_asked().await;
            rounds.keep_round(0).await;
            DeliveredTeller(self).tell();
            self.acks.untold.end();
            telling.await;
        };
        if tokio::time::timeout_at(by.into(), last).await.is_err() {
            tracing::warn!(
                "what users have read last was not written, or authors not told: the broker did not answer in time"
            );
        }
    }
}
