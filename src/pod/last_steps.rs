//! By when each of a pod's last steps must be over, so that all of them share one deadline.
//!
//! Pure: the times are given. Never decides what a step does. Always holds: a step has what those before it have left of the time, those
//! behind it keep theirs, and the last one ends [`RESERVE`] before the deadline.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

/// For the process itself to end.
const RESERVE: Duration = Duration::from_millis(500);

/// For the broker to give back what it has of others: leases, its connections.
const FAREWELL: Duration = Duration::from_secs(1);

/// For what is written last by a pod that is stopped and not drained.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What ends, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastStep {
    /// Clients answer their close; those that do not are cut off.
    Connections,
    /// Clients of WebTransport acknowledge theirs.
    QuicConnections,
    /// Calls of the API that were begun are answered.
    Calls,
    /// What users have read, the archive's rows, spans, what a backend is told.
    Writes,
    /// The broker takes its leave, and threads end.
    Broker,
}

/// The moments at which they must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastSteps {
    begin: Instant,
    /// What the steps up to the writes share.
    shared: Duration,
}

impl LastSteps {
    /// Of a pod whose window ends at `window_ends`, and that has to be gone by `margin` after that.
    pub(super) fn of_drain(window_ends: Instant, margin: Duration) -> Self {
        Self { begin: window_ends, shared: margin.saturating_sub(FAREWELL + RESERVE) }
    }

    /// Of a pod that sends no client away, from `now` on.
    pub(super) fn at_once(now: Instant) -> Self {
        Self { begin: now, shared: AT_ONCE }
    }

    /// By when this step must be over.
    pub(super) fn until(&self, step: LastStep) -> Instant {
        let tenths = |tenths| self.shared * tenths / 10;
        self.begin
            + match step {
                LastStep::Connections => tenths(6),
                LastStep::QuicConnections => tenths(7),
                LastStep::Calls => tenths(8),
                LastStep::Writes => self.shared,
                LastStep::Broker => self.shared + FAREWELL,
            }
    }

    /// Waits for a step, as long as there is time for it. Returns whether it is over.
    pub(super) async fn within(&self, step: LastStep, work: impl Future) -> bool {
        timeout_at(self.until(step).into(), work).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const ALL: [LastStep; 5] =
        [LastStep::Connections, LastStep::QuicConnections, LastStep::Calls, LastStep::Writes, LastStep::Broker];

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Goes through all steps, each of which would take that long. Returns when each was over, from the window's end.
    async fn go_through(margin: Duration, takes: [Option<Duration>; 5]) -> [Duration; 5] {
        let begin = Instant::now();
        let steps = LastSteps::of_drain(begin.into_std(), margin);
        let mut over = [Duration::ZERO; 5];
        for ((step, takes), over) in ALL.into_iter().zip(takes).zip(&mut over) {
            let work = async {
                match takes {
                    Some(takes) => sleep(takes).await,
                    None => pending().await,
                }
            };
            assert_eq!(steps.within(step, work).await, takes.is_some());
            *over = begin.elapsed();
        }
        over
    }

    fn near(is: Duration, wanted: f64) -> bool {
        is.abs_diff(seconds(wanted)) < Duration::from_millis(5)
    }

    #[tokio::test(start_paused = true)]
    async fn steps_that_never_end_end_by_one_deadline() {
        for margin in [5.0, 10.0, 30.0] {
            let over = go_through(seconds(margin), [None; 5]).await;
            assert!(over.is_sorted(), "{over:?}");
            assert!(near(over[4], margin - 0.5), "{over:?}");
            assert!(near(over[4] - over[3], 1.0), "the broker keeps its time: {over:?}");
            assert!(over[3] - over[2] >= seconds(0.65), "and so do the writes: {over:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_step_leaves_belongs_to_those_behind_it() {
        let soon = Some(seconds(0.1));
        let over = go_through(seconds(10.0), [soon, soon, None, soon, soon]).await;
        assert!(near(over[1], 0.2) && near(over[2], 6.8) && near(over[4], 7.0), "{over:?}");
        let over = go_through(seconds(10.0), [soon, soon, soon, None, soon]).await;
        assert!(near(over[3], 8.5), "{over:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_late_has_no_time_of_its_own() {
        let begin = Instant::now();
        let steps = LastSteps::of_drain(begin.into_std(), seconds(10.0));
        // A worker that did not answer.
        sleep(seconds(9.0)).await;
        for step in [LastStep::Connections, LastStep::Calls, LastStep::Writes] {
            assert!(!steps.within(step, pending::<()>()).await);
        }
        assert!(near(begin.elapsed(), 9.0));
        assert!(!steps.within(LastStep::Broker, pending::<()>()).await);
        assert!(near(begin.elapsed(), 9.5));
    }

    #[test]
    fn a_pod_that_is_stopped_writes_for_two_seconds() {
        let now = std::time::Instant::now();
        let steps = LastSteps::at_once(now);
        assert_eq!(steps.until(LastStep::Writes) - now, seconds(2.0));
        assert!(steps.until(LastStep::Broker) > steps.until(LastStep::Writes));
    }
}
