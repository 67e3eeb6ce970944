//! How a pod ends: by a drain, or at once.
//!
//! Owns the order in which things end. Always holds: all that a drain waits for after its window shares one deadline ([`LastSteps`]); what
//! is not over by then is left to the end of the process.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    Pod,
    last_steps::{LastStep, LastSteps},
    phase::Phase,
    webtransport::wait_idle,
};
use crate::hub::ToWorker;

/// How often it is looked whether something is over.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Pod {
    /// Sends everybody away and ends: `delay` for balancers to notice, `window` for clients to go, and `drain.margin` for all that is left.
    pub async fn drain(self, delay: Duration, window: Duration) {
        self.services.gate.drain_soon();
        self.services.control.announce_drain();
        sleep(delay).await;
        self.services.gate.drain();
        self.phase.send_replace(Phase::Closed);
        let margin = self.services.config.load().drain.margin;
        let steps = LastSteps::of_drain(Instant::now() + window, margin);
        steps.within(LastStep::Connections, self.send_away(window)).await;
        steps.within(LastStep::QuicConnections, wait_idle(&self.endpoints)).await;
        steps.within(LastStep::Calls, self.api.end()).await;
        self.end(steps, Some(steps.until(LastStep::Broker)));
    }

    /// Ends at once.
    pub fn stop(self) {
        self.end(LastSteps::at_once(Instant::now()), None);
    }

    /// Has the workers send their clients away, and waits until the last one has gone.
    async fn send_away(&self, window: Duration) {
        for worker in 0..self.services.queues.workers() {
            while !self.services.queues.tell_worker(worker, ToWorker::Drain(window)) {
                sleep(Duration::from_millis(10)).await;
            }
        }
        while self.services.gate.connections() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the threads, and waits for them, at most until `by`.
    fn end(mut self, steps: LastSteps, by: Option<Instant>) {
        self.phase.send_replace(Phase::Ended(steps.until(LastStep::Writes)));
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && by.is_none_or(|by| Instant::now() < by) {
                std::thread::sleep(LOOK_EVERY);
            }
            if thread.is_finished() {
                let _ = thread.join();
            } else {
                tracing::warn!(thread = thread.thread().name(), "the pod ends without waiting for a thread any longer");
            }
        }
    }
}
