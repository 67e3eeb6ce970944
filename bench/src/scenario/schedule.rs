//! When events are due, and that they are sent then.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::error::BenchError;

/// Events at a steady rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Events a second.
    pub(crate) rate: f64,
    /// For how long.
    pub(crate) seconds: f64,
}

impl Schedule {
    /// Refuses what cannot be kept.
    pub(crate) fn new(rate: f64, seconds: f64) -> Result<Self, BenchError> {
        if !(rate > 0.0 && rate <= 100_000.0 && seconds > 0.0 && seconds <= 3_600.0) {
            let message =
                format!("--rate {rate} for {seconds} s: the rate is above 0 and at most 100000, the time at most 3600");
            return Err(BenchError::Usage(message));
        }
        Ok(Self { rate, seconds })
    }

    /// How many events that are: at least one.
    pub(crate) fn events(&self) -> u64 {
        ((self.rate * self.seconds) as u64).max(1)
    }

    /// Calls `send` with 0, 1, 2 … when each is due. Says by how much the latest was late, in milliseconds.
    pub(crate) async fn keep(
        &self,
        bar: &ProgressBar,
        mut send: impl AsyncFnMut(u64) -> Result<(), BenchError>,
    ) -> Result<f64, BenchError> {
        let at = |n: u64| Duration::from_secs_f64(n as f64 / self.rate);
        // The window ends when the next event would be due, in all repetitions alike.
        let late =
            keep_times((0..self.events()).map(at), at(self.events()), bar, async |n| send(n as u64).await).await?;
        if late > (1.0 / self.rate).max(0.05) * 1e3 {
            tell_late(late, bar);
        }
        Ok(late)
    }
}

/// Calls `send` with 0, 1, 2 … when each is due, `times` after now, and waits until `end`. Says by how much the latest was
/// late, in milliseconds.
pub(crate) async fn keep_times(
    times: impl Iterator<Item = Duration>,
    end: Duration,
    bar: &ProgressBar,
    mut send: impl AsyncFnMut(usize) -> Result<(), BenchError>,
) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut latest = Duration::ZERO;
    for (n, time) in times.enumerate() {
        let due = start + time;
        tokio::time::sleep_until(due.into()).await;
        latest = latest.max(due.elapsed());
        send(n).await?;
        bar.inc(1);
    }
    tokio::time::sleep_until((start + end).into()).await;
    Ok(latest.as_secs_f64() * 1e3)
}

/// Says that the machine does not keep up.
pub(crate) fn tell_late(milliseconds: f64, bar: &ProgressBar) {
    bar.suspend(|| {
        eprintln!("an event was sent {milliseconds:.0} ms late: the machine is overloaded, lower --rate");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_kept() {
        let schedule = Schedule::new(200.0, 0.1).expect("valid");
        assert_eq!(schedule.events(), 20);
        assert!(Schedule::new(0.0, 1.0).is_err());
        assert!(Schedule::new(f64::NAN, 1.0).is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut sent = Vec::new();
        let start = Instant::now();
        runtime
            .block_on(schedule.keep(&ProgressBar::hidden(), async |n| {
                sent.push(n);
                Ok(())
            }))
            .expect("nothing fails");
        assert_eq!(sent, (0..20).collect::<Vec<_>>());
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    }
}
