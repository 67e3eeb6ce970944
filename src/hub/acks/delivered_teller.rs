//! Has authors told of what devices have got.
//!
//! Always holds: as often as of what was read, and by the same messages.

use crate::hub::worker::services::Services;

/// What has authors told.
pub(super) struct DeliveredTeller<'a>(pub(super) &'a Services);

impl DeliveredTeller<'_> {
    /// Has them told, for ever.
    pub(super) async fn run(&self) {
        let Services { acks, config, .. } = self.0;
        loop {
            acks.delivered.notified().await;
            let every = config.load().acks.every;
            tokio::time::sleep(every).await;
            self.tell();
        }
    }

    /// Has them told of what waits.
    pub(super) fn tell(&self) {
        let lost = self.0.acks.untold.add(self.0.acks.delivered.take());
        self.0.metrics.acks.untold.increment(lost as u64);
    }
}
