//! One clock for all processes of the machine.

use rustix::time::{ClockId, clock_gettime};

/// A second, in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of CLOCK_MONOTONIC: the same number in every process of one machine, so that a publisher's stamp can be
/// subtracted from a receiver's.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}
