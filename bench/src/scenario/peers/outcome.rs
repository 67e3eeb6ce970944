//! What a run found.

use serde::Serialize;

use super::{bars::Bar, field::Race, load::Loads, rates::Cell, sides::Over, slow::Slow};

/// Everything over one kind of Redis.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    pub(super) over: Over,
    /// What Redis uses when nothing is published: milliseconds of CPU a second. It is taken off.
    pub(super) idle_redis_ms_per_second: f64,
    pub(super) cells: Vec<Cell>,
    pub(super) slow: Vec<Slow>,
    /// Resident memory of each server at the end, in MiB.
    pub(super) resident_mib: Vec<(String, f64)>,
    pub(super) bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) event_bytes: usize,
    pub(super) loads: Loads,
    pub(super) seconds: f64,
    pub(super) rate: f64,
    /// The broadcast without Redis.
    pub(super) field: Vec<Race>,
    pub(super) stages: Vec<Stage>,
}
