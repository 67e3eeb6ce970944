//! Faults that the simulation plants: one check of the core left out, to show that the oracle sees what follows.
//!
//! Never part of a program: outside of this crate's own tests [`planted`] is the constant `false`.

/// A check that can be left out.
#[cfg_attr(not(test), allow(dead_code, reason = "some are planted in what the simulation drives"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A sequencer takes in an event that it had.
    RepeatedDelivery,
    /// A sequencer takes in whatever comes next.
    LostDelivery,
    /// A sequencer does not ask for what its full queue dropped.
    MissedDeliveries,
    /// A sequencer continues behind a hole that the log cannot fill, and does not tell.
    UntoldGap,
    /// A sequencer forgets that a worker's queue refused an update.
    FullWorkerQueue,
    /// A sequencer that begins anew does not tell where the room stands.
    SilentRestart,
    /// A stream begins a batch that does not follow its position.
    HoleOnTheWay,
    /// A stream that dropped a broadcast forgets that it did.
    FullBacklog,
    /// A stream admits a joiner at the end of the running fan-out instead of at its beginning.
    FlushBoundary,
    /// A stream that holds too many broadcasts for a joiner recovers it all the same.
    FullHold,
    /// A stream compares offsets of different epochs.
    EpochIgnored,
    /// A recovery takes part of what was missed for all of it.
    PartialRecovery,
    /// A fan-out reaches members that joined while it ran.
    UnpinnedFanOut,
    /// A send queue drops frames and keeps no gap.
    UntoldDrop,
    /// A send queue is never found too full.
    UnboundedQueue,
    /// A member that fell behind comes back from the end of what it missed.
    LateCatchUp,
    /// A connection is offered a chained frame whatever its client's window holds.
    UncomparedWindow,
    /// A chained frame waits in a queue that may drop what is before it.
    ChainedWaits,
    /// A connection that got an independent frame counts as still in the chain.
    WindowKept,
    /// Frames of a chain have the same number.
    RepeatedMark,
}

/// Whether a fault is planted: never.
#[cfg(not(test))]
#[inline]
pub const fn planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Whether a fault is planted in this thread.
#[cfg(test)]
pub fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Plants a fault in this thread while `run` runs.
#[cfg(test)]
pub fn with_planted<T>(fault: Option<Fault>, run: impl FnOnce() -> T) -> T {
    PLANTED.set(fault);
    let result = run();
    PLANTED.set(None);
    result
}
