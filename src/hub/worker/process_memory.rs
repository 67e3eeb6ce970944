//! How much memory the whole process uses, against what it may use: newcomers are refused before that is spent.
//!
//! What the pod counts itself (`memory_budget`) is a part of it. Always holds: between two readings newcomers take no more than was free;
//! memory that the allocator keeps of clients that have gone keeps no newcomers out.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::{config::MemoryCeiling, hub::connection::budget::Budget};

/// What a connection may cost before the next reading: its state, its buffers in the kernel, its first rooms.
const NEWCOMER: usize = 16 * 1024;

/// If nothing is free, it is read again for a newcomer after so many milliseconds.
const AGAIN_MS: u64 = 10;

/// The memory of this process.
pub struct ProcessMemory {
    ceiling: usize,
    reserve: usize,
    read: Box<dyn Fn() -> Option<usize> + Send + Sync>,
    used: AtomicUsize,
    /// What newcomers may still take until the next reading.
    free: AtomicUsize,
    is_full: AtomicBool,
    read_at_ms: AtomicU64,
    peak: Mutex<MemoryPeak>,
}

/// The highest reading since the memory was last below the mark, and what the pod had counted then.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct MemoryPeak {
    used: usize,
    counted: usize,
}

impl MemoryPeak {
    /// Takes a reading in, and answers how much the allocator keeps for newcomers: an eighth less than what was counted at the peak and
    /// is not any more. What is below `mark` needs no such guess.
    fn kept(&mut self, used: usize, counted: usize, mark: usize) -> usize {
        if used < mark {
            *self = Self::default();
        } else if used > self.used {
            *self = Self { used, counted };
        }
        (self.counted - self.counted / 8).saturating_sub(counted)
    }
}

impl ProcessMemory {
    /// The memory under a ceiling, not read yet.
    #[must_use]
    pub fn new(ceiling: &MemoryCeiling) -> Self {
        let asked = ceiling.clone();
        Self::read_by(ceiling.bytes, ceiling.reserve(), Box::new(move || asked.used()))
    }

    fn read_by(ceiling: usize, reserve: usize, read: Box<dyn Fn() -> Option<usize> + Send + Sync>) -> Self {
        Self {
            ceiling,
            reserve,
            read,
            used: AtomicUsize::new(0),
            free: AtomicUsize::new(usize::MAX),
            is_full: AtomicBool::new(false),
            read_at_ms: AtomicU64::new(0),
            peak: Mutex::default(),
        }
    }

    /// Reads how much is used, and says what newcomers and the pod's queues may take until the next reading.
    pub fn look(&self, now_ms: u64, budget: &Budget, connections: usize) {
        self.read_at_ms.store(now_ms, Relaxed);
        let Some(used) = (self.read)() else { return };
        let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = self.mark();
        let held = budget.held();
        let kept = peak.kept(used, held.saturating_add(connections.saturating_mul(NEWCOMER)), mark);
        let free = mark.saturating_sub(used).max(kept);
        self.used.store(used, Relaxed);
        self.free.store(free, Relaxed);
        self.is_full.store(free < NEWCOMER, Relaxed);
        // Those that are in may use half of what newcomers leave free.
        let for_queues = (self.ceiling - self.reserve / 2).saturating_sub(used).max(kept);
        budget.limit_to(held.saturating_add(for_queues));
    }

    /// Whether one more connection fits in.
    #[must_use]
    pub fn admit(&self, now_ms: u64, budget: &Budget, connections: usize) -> bool {
        if self.take() {
            return true;
        }
        if now_ms < self.read_at_ms.load(Relaxed) + AGAIN_MS {
            return false;
        }
        self.look(now_ms, budget, connections);
        self.take()
    }

    fn take(&self) -> bool {
        self.free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(NEWCOMER)).is_ok()
    }

    /// Whether the last reading left nothing for newcomers.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Whether so much is used that it should be read often.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.used() > self.ceiling / 4 * 3
    }

    /// The bytes used at the last reading.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The bytes above which newcomers are refused.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.ceiling.saturating_sub(self.reserve)
    }

    /// The bytes that the process may use.
    #[must_use]
    pub fn ceiling(&self) -> usize {
        self.ceiling
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// A process that uses what the number says.
    fn process(ceiling: usize, reserve: usize) -> (Arc<AtomicUsize>, ProcessMemory) {
        let used = Arc::new(AtomicUsize::new(10 * MIB));
        let read = Arc::clone(&used);
        (used, ProcessMemory::read_by(ceiling, reserve, Box::new(move || Some(read.load(Relaxed)))))
    }

    #[test]
    fn newcomers_take_what_is_free_and_no_more_before_the_next_reading() {
        let (used, memory) = process(64 * MIB, 8 * MIB);
        let budget = Budget::new(32 * MIB);
        memory.look(0, &budget, 0);
        let admitted = (0..10_000).take_while(|_| memory.admit(1, &budget, 0)).count();
        assert_eq!(admitted, 46 * MIB / NEWCOMER, "up to the mark of 56 MiB");
        // They cost less than was feared: it is read again for the next one, but not for each.
        used.store(20 * MIB, Relaxed);
        assert!(!memory.admit(AGAIN_MS - 1, &budget, admitted));
        assert!(memory.admit(AGAIN_MS, &budget, admitted) && !memory.is_full());
        used.store(56 * MIB, Relaxed);
        memory.look(100, &budget, admitted);
        assert!(memory.is_full() && memory.is_near() && !memory.admit(200, &budget, admitted));
    }

    #[test]
    fn what_the_allocator_keeps_keeps_no_newcomer_out() {
        let (used, memory) = process(64 * MIB, 8 * MIB);
        let budget = Budget::new(32 * MIB);
        used.store(60 * MIB, Relaxed);
        memory.look(0, &budget, 4_000);
        assert!(memory.is_full());
        // Three quarters have gone, and the process is as large as it was.
        memory.look(100, &budget, 1_000);
        let admitted = (0..10_000).take_while(|_| memory.admit(101, &budget, 1_000)).count();
        assert_eq!(admitted, 2_500, "an eighth less than there were");
        // What came since made it grow: that was no memory of theirs.
        used.store(61 * MIB, Relaxed);
        memory.look(200, &budget, 1_500);
        assert!(memory.is_full());
        used.store(30 * MIB, Relaxed);
        memory.look(300, &budget, 1_500);
        assert!(!memory.is_full());
    }

    #[test]
    fn queues_stop_before_the_ceiling_whatever_their_budget_is() {
        let (used, memory) = process(64 * MIB, 8 * MIB);
        let budget = Budget::new(32 * MIB);
        memory.look(0, &budget, 0);
        assert_eq!(budget.limit(), 32 * MIB, "as it was set");
        budget.take(2 * MIB);
        used.store(57 * MIB, Relaxed);
        memory.look(100, &budget, 5_000);
        assert_eq!((budget.limit(), budget.is_spent()), (5 * MIB, false), "3 MiB more until half of the reserve");
        budget.take(3 * MIB);
        assert!(budget.is_spent());
    }

    #[test]
    fn a_process_without_a_reading_has_no_limit() {
        let memory = ProcessMemory::read_by(usize::MAX, 256 * MIB, Box::new(|| None));
        let budget = Budget::new(32 * MIB);
        memory.look(0, &budget, 0);
        assert!((0..1_000).all(|_| memory.admit(0, &budget, 0)) && !memory.is_full());
        assert_eq!(budget.limit(), 32 * MIB);
    }
}
