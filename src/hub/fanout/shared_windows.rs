//! The windows of all rooms of a pod: how many bytes they hold together, and which room gives way to which.
//!
//! Never knows a frame. Always holds: what was taken is given back when a chain ends; numbers of chained frames are never given
//! twice.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::{
    hub::fanout::window_mark::WindowMark,
    metrics::WindowMetrics,
    transport::websocket::{Deflate, Deflater},
};

/// How often windows that do not pay are looked for.
const SWEEP_MS: u64 = 5_000;

/// The least time between two rooms that are asked to give way.
const PRESS_MS: u64 = 100;

/// A room with a window, or several: one for each wire format.
pub trait WindowHolder: Send + Sync + std::fmt::Debug {
    /// The receivers in a minute of the chain of it that reaches fewest; `None`: it has no window now.
    fn worth(&self) -> Option<u64>;
    /// It ends that chain soon: another room makes more of the memory.
    fn ask_to_yield(&self);
    /// Ends its chains if they do not pay any more.
    fn sweep(&self, now_ms: u64);
}

/// The windows of a pod.
#[derive(Debug)]
pub struct SharedWindows {
    level: u32,
    limit: usize,
    held: AtomicUsize,
    marks: AtomicU64,
    began: Instant,
    swept_ms: AtomicU64,
    pressed_ms: AtomicU64,
    holders: Mutex<Vec<Weak<dyn WindowHolder>>>,
    metrics: WindowMetrics,
    /// By how much a test is ahead of the time.
    #[cfg(test)]
    ahead_ms: AtomicU64,
}

impl SharedWindows {
    /// None yet. They compress at `level` and hold at most `limit` bytes together.
    #[must_use]
    pub fn new(level: u32, limit: usize, metrics: WindowMetrics) -> Self {
        Self {
            level,
            limit,
            held: AtomicUsize::new(0),
            marks: AtomicU64::new(0),
            began: Instant::now(),
            swept_ms: AtomicU64::new(0),
            pressed_ms: AtomicU64::new(0),
            holders: Mutex::default(),
            metrics,
            #[cfg(test)]
            ahead_ms: AtomicU64::new(0),
        }
    }

    /// Whether there may be any.
    #[must_use]
    pub fn are_allowed(&self) -> bool {
        self.limit > 0
    }

    /// Whether frames may refer to the window of a client that agreed on this.
    #[must_use]
    pub fn reach(&self, agreed: Option<Deflate>) -> bool {
        self.are_allowed() && agreed.is_some_and(|deflate| !deflate.server_no_context_takeover)
    }

    /// What is counted of them.
    #[must_use]
    pub fn metrics(&self) -> &WindowMetrics {
        &self.metrics
    }

    /// The time, in milliseconds since the pod began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let passed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        #[cfg(test)]
        let passed_ms = passed_ms + self.ahead_ms.load(Relaxed);
        passed_ms
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn advance(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Relaxed);
    }

    /// The number of the next chained frame.
    #[must_use]
    pub fn next_mark(&self) -> WindowMark {
        WindowMark::of(self.marks.fetch_add(1, Relaxed) + 1)
    }

    /// A deflater whose bytes are counted, and how many they are. `None`: there is no room for it.
    #[must_use]
    pub fn deflater(&self, window_bits: u8) -> Option<(Box<Deflater>, usize)> {
        let bytes = Deflater::held_bytes(window_bits);
        let with = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.limit);
        self.held.fetch_update(Relaxed, Relaxed, with).ok()?;
        self.metrics.show(self.held.load(Relaxed), 1);
        Some((Box::new(Deflater::new(self.level, window_bits)), bytes))
    }

    /// Counts a deflater's bytes off.
    pub fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
        self.metrics.show(self.held.load(Relaxed), -1);
    }

    /// The bytes that they hold now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// A room has its first chain. It is known as long as it lives.
    pub fn register(&self, holder: Weak<dyn WindowHolder>) {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).push(holder);
    }

    /// Asks the room that makes least of a window to end it, if one that has none would make much more of it. All rooms with windows
    /// are looked at, so that it does nothing where it was called a moment ago.
    pub fn press(&self, worth: u64) {
        let (now_ms, pressed_ms) = (self.now_ms(), self.pressed_ms.load(Relaxed));
        let due = now_ms.saturating_sub(pressed_ms) >= PRESS_MS;
        if !due || self.pressed_ms.compare_exchange(pressed_ms, now_ms, Relaxed, Relaxed).is_err() {
            return;
        }
        let least = self.holders().filter_map(|holder| Some((holder.worth()?, holder))).min_by_key(|(worth, _)| *worth);
        if let Some((least, holder)) = least
            && least < worth / 2
        {
            holder.ask_to_yield();
        }
    }

    /// Ends chains that do not pay any more. Each worker calls it on its timer; one of them does it.
    pub fn sweep(&self) {
        let (now_ms, swept_ms) = (self.now_ms(), self.swept_ms.load(Relaxed));
        let due = now_ms.saturating_sub(swept_ms) >= SWEEP_MS;
        if !due || self.swept_ms.compare_exchange(swept_ms, now_ms, Relaxed, Relaxed).is_err() {
            return;
        }
        self.holders().for_each(|holder| holder.sweep(now_ms));
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|holder| holder.strong_count() > 0);
    }

    /// What there is of them. Not under the lock, which a room wants that begins a chain and has locked itself.
    fn holders(&self) -> impl Iterator<Item = Arc<dyn WindowHolder>> + use<> {
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        holders.into_iter().filter_map(|holder| holder.upgrade())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room that says what its window is worth, and notes that it was asked to yield.
    #[derive(Debug, Default)]
    struct Holder {
        worth: Option<u64>,
        asked: AtomicU64,
        swept: AtomicU64,
    }

    impl WindowHolder for Holder {
        fn worth(&self) -> Option<u64> {
            self.worth
        }

        fn ask_to_yield(&self) {
            self.asked.fetch_add(1, Relaxed);
        }

        fn sweep(&self, _: u64) {
            self.swept.fetch_add(1, Relaxed);
        }
    }

    fn windows(limit: usize) -> SharedWindows {
        SharedWindows::new(6, limit, WindowMetrics::default())
    }

    fn holders<const N: usize>(windows: &SharedWindows, worths: [Option<u64>; N]) -> [Arc<Holder>; N] {
        worths.map(|worth| {
            let holder = Arc::new(Holder { worth, ..Holder::default() });
            let known: Weak<dyn WindowHolder> = Arc::downgrade(&holder) as _;
            windows.register(known);
            holder
        })
    }

    #[test]
    fn there_are_as_many_windows_as_the_bytes_allow() {
        let (large, small) = (Deflater::held_bytes(15), Deflater::held_bytes(9));
        let windows = windows(2 * large + small - 1);
        for n in 1..=2 {
            assert_eq!(windows.deflater(15).map(|(_, bytes)| bytes), Some(large));
            assert_eq!(windows.held(), n * large);
        }
        assert!(windows.deflater(15).is_none() && windows.deflater(9).is_none(), "a byte is missing");
        assert_eq!(windows.held(), 2 * large, "what was refused is not counted");
        windows.give_back(large);
        assert_eq!(windows.deflater(9).map(|(_, bytes)| bytes), Some(small));
        assert_eq!(windows.held(), large + small);
        assert!(!self::windows(0).are_allowed());
    }

    #[test]
    fn the_room_that_makes_least_of_its_window_is_asked_to_yield() {
        let windows = windows(1 << 20);
        windows.advance(PRESS_MS);
        let rooms = holders(&windows, [Some(900), None, Some(300), Some(301)]);
        let asked = || rooms.each_ref().map(|room| room.asked.load(Relaxed));
        windows.press(600);
        assert_eq!(asked(), [0, 0, 0, 0], "to one that makes twice as much of it none yields");
        windows.press(100_000);
        assert_eq!(asked(), [0, 0, 0, 0], "the rooms were looked at a moment ago");
        windows.advance(PRESS_MS);
        windows.press(602);
        assert_eq!(asked(), [0, 0, 1, 0]);
    }

    #[test]
    fn rooms_are_swept_now_and_then_and_forgotten_once_gone() {
        let windows = windows(1 << 20);
        let [stays, goes] = holders(&windows, [None, None]);
        windows.sweep();
        windows.advance(SWEEP_MS);
        windows.sweep();
        windows.sweep();
        assert_eq!((stays.swept.load(Relaxed), goes.swept.load(Relaxed)), (1, 1));
        drop(goes);
        windows.advance(SWEEP_MS);
        windows.sweep();
        assert_eq!(windows.holders.lock().expect("no panic").len(), 1);
        assert_eq!(stays.swept.load(Relaxed), 2);
    }
}
