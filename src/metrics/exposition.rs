//! How the metrics are read: the recorder of one pod, and its text for Prometheus.
//!
//! Always holds: a pod's numbers are its own, several pods in one process do not share them; a pod that is never
//! scraped does not grow.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use super::{ArchiveMetrics, HookMetrics, Metrics, RedisCommands, RedisMetrics};

/// Buckets of durations, in seconds: 50 us to 60 s.
const SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    15.0, 60.0,
];

/// Buckets of counts.
const COUNTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0];

/// A second name for a counter.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// The second name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// The series as it is rendered, labels included.
    pub series: &'static str,
}

/// The recorder of one pod.
pub struct Exposition {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: Collector,
    aliases: Mutex<Vec<Alias>>,
}

impl Exposition {
    /// A recorder, and the pod's handles on it.
    ///
    /// # Errors
    /// A bucket list is empty; ours are not.
    pub fn new(workers: usize, dialects: &[&str]) -> Result<(Self, Metrics), BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("_events".into()), &COUNTS)?
            .build_recorder();
        let (handle, process) = (recorder.handle(), Collector::default());
        let metrics = metrics::with_local_recorder(&recorder, || {
            process.describe();
            Metrics::new(workers, dialects)
        });
        Ok((Self { recorder, handle, process, aliases: Mutex::default() }, metrics))
    }

    /// The handles of a pod with Redis, on the same recorder.
    #[must_use]
    pub fn redis(&self) -> (RedisMetrics, RedisCommands) {
        metrics::with_local_recorder(&self.recorder, || (RedisMetrics::default(), RedisCommands::default()))
    }

    /// The handles of a pod that asks a backend, on the same recorder.
    #[must_use]
    pub fn hooks(&self) -> HookMetrics {
        metrics::with_local_recorder(&self.recorder, HookMetrics::default)
    }

    /// The handles of a pod with an archive, on the same recorder.
    #[must_use]
    pub fn archive(&self) -> ArchiveMetrics {
        metrics::with_local_recorder(&self.recorder, ArchiveMetrics::default)
    }

    /// Makes handles on the same recorder: the recorder is current while `make` runs.
    pub fn register<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, make)
    }

    /// Renders counters under second names too.
    pub fn alias(&self, aliases: &[Alias]) {
        self.aliases.lock().unwrap_or_else(PoisonError::into_inner).extend(aliases);
    }

    /// Everything, in the text format of Prometheus (version 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        metrics::with_local_recorder(&self.recorder, || self.process.collect());
        let mut text = self.handle.render();
        for Alias { name, says, series } in &*self.aliases.lock().unwrap_or_else(PoisonError::into_inner) {
            let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or("0");
            let alias = format!("# HELP {name} {says}\n# TYPE {name} counter\n{name} {value}\n\n");
            text.push_str(&alias);
        }
        text
    }

    /// What the pod itself counts, without its process and without second names: to be read by [`Samples`](super::Samples).
    #[must_use]
    pub fn own(&self) -> String {
        self.handle.render()
    }

    /// Takes histograms' samples into their buckets; to be called every few seconds, or they pile up until the next
    /// scrape.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}
