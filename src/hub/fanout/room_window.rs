//! A room's windows on this pod: one for each wire format whose frames are chained.
//!
//! Shared by the workers: whichever encodes a broadcast first takes the chains' lock, once for a frame. What frames came to stands
//! under a lock of its own, which is never held while something is compressed, so that no worker waits for another's deflate to
//! say what it has served. Never knows a receiver. Always holds: a window has seen this room's broadcasts only, and of them nothing
//! that went out uncompressed; each chain of the ledger has its window, and none else.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::{
    hub::fanout::{
        chain::FrameReach,
        room_chain::{FrameContent, RoomChain},
        room_ledger::{ChainGrant, RoomLedger},
        shared_windows::{SharedWindows, WindowHolder},
        window_mark::FrameWindow,
    },
    protocol::{Messages, WireFormat},
    transport::websocket::{Deflater, frame_messages},
};

/// How often a room that finds no memory asks another one to give way.
const PRESS_MS: u64 = 1_000;

/// A room's windows.
#[derive(Debug)]
pub struct RoomWindow {
    all: Arc<SharedWindows>,
    /// Locked before the ledger, where both are.
    chains: Mutex<Vec<RoomChain>>,
    ledger: Mutex<RoomLedger>,
    /// The receivers in a minute of the chain that reaches fewest.
    least: AtomicU64,
    holds: AtomicBool,
    yields: AtomicBool,
    is_registered: AtomicBool,
    pressed_ms: AtomicU64,
}

/// The right to write the next frame of a chain.
pub struct ChainTurn<'a> {
    chains: MutexGuard<'a, Vec<RoomChain>>,
    at: usize,
    window: &'a RoomWindow,
}

impl RoomWindow {
    /// No window yet.
    #[must_use]
    pub fn new(all: Arc<SharedWindows>) -> Self {
        Self {
            all,
            chains: Mutex::default(),
            ledger: Mutex::default(),
            least: AtomicU64::new(0),
            holds: AtomicBool::new(false),
            yields: AtomicBool::new(false),
            is_registered: AtomicBool::new(false),
            pressed_ms: AtomicU64::new(0),
        }
    }

    /// The chain of a wire format, whose next frame is to be written now. `None`: its frames are not chained.
    pub fn chain(self: &Arc<Self>, format: WireFormat) -> Option<ChainTurn<'_>> {
        let bits = format.framing.kept_window_bits()?;
        let now_ms = self.all.now_ms();
        let mut chains = self.lock_chains();
        self.look(&mut chains, now_ms);
        if let Some(at) = chains.iter().position(|chain| chain.format() == format) {
            return Some(ChainTurn { chains, at, window: self });
        }
        let grant = self.lock_ledger().grant(format, now_ms);
        match grant {
            ChainGrant::Refused => return None,
            ChainGrant::Granted => {}
            ChainGrant::InPlaceOf(other) => self.end(&mut chains, other, now_ms),
        }
        let Some((deflater, held)) = self.all.deflater(bits) else {
            drop(chains);
            self.press(format, now_ms);
            return None;
        };
        if !self.is_registered.swap(true, Relaxed) {
            let holder: Weak<dyn WindowHolder> = Arc::downgrade(self) as _;
            self.all.register(holder);
        }
        self.lock_ledger().begin(format, now_ms);
        chains.push(RoomChain::new(format, deflater, held, Arc::clone(&self.all)));
        self.show(&chains);
        let at = chains.len() - 1;
        Some(ChainTurn { chains, at, window: self })
    }

    /// A worker served a frame of a wire format.
    pub fn served(&self, format: WireFormat, worker: usize, frame: FrameWindow, reach: FrameReach) {
        if !format.framing.keeps_window() || frame.leaves.is_none() || reach.receivers == 0 {
            return;
        }
        let is_chained = frame.place.is_some_and(|place| !place.is_keyframe());
        let saved = if is_chained { reach.took * u64::from(frame.saved) } else { 0 };
        let mut ledger = self.lock_ledger();
        ledger.served(format, worker, frame.place, reach, saved, self.all.now_ms());
        let least = ledger.least();
        drop(ledger);
        self.least.store(least.map_or(0, |(_, deliveries)| deliveries), Relaxed);
        if frame.place.is_some() {
            self.all.metrics().served(is_chained, reach.took, reach.receivers - reach.took.min(reach.receivers), saved);
        }
    }

    /// Has a room that makes less of its memory give way, for a wire format of this one.
    fn press(&self, format: WireFormat, now_ms: u64) {
        if now_ms >= self.pressed_ms.load(Relaxed) + PRESS_MS {
            self.pressed_ms.store(now_ms, Relaxed);
            let worth = self.lock_ledger().deliveries(format);
            self.all.press(worth);
        }
    }

    /// Ends the chains where that is due: where they do not pay, and the one that reaches fewest if another room presses.
    fn look(&self, chains: &mut Vec<RoomChain>, now_ms: u64) {
        if chains.is_empty() {
            return;
        }
        if self.yields.swap(false, Relaxed) {
            let least = self.lock_ledger().least();
            if let Some((format, _)) = least {
                self.end(chains, format, now_ms);
            }
        }
        let mut ledger = self.lock_ledger();
        ledger.end_idle(now_ms);
        chains.retain(|chain| ledger.has_chain(chain.format()));
        drop(ledger);
        self.show(chains);
    }

    fn end(&self, chains: &mut Vec<RoomChain>, format: WireFormat, now_ms: u64) {
        self.lock_ledger().end(format, now_ms);
        chains.retain(|chain| chain.format() != format);
        self.show(chains);
    }

    fn show(&self, chains: &[RoomChain]) {
        self.holds.store(!chains.is_empty(), Relaxed);
    }

    fn lock_chains(&self) -> MutexGuard<'_, Vec<RoomChain>> {
        // A panic while a frame was made leaves a chain in whatever state: all begin anew.
        self.chains.lock().unwrap_or_else(|poisoned| {
            self.chains.clear_poison();
            let mut chains = PoisonError::into_inner(poisoned);
            chains.clear();
            self.lock_ledger().forget_chains();
            self.show(&chains);
            chains
        })
    }

    fn lock_ledger(&self) -> MutexGuard<'_, RoomLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WindowHolder for RoomWindow {
    fn worth(&self) -> Option<u64> {
        self.holds.load(Relaxed).then(|| self.least.load(Relaxed))
    }

    fn ask_to_yield(&self) {
        self.yields.store(true, Relaxed);
    }

    fn sweep(&self, now_ms: u64) {
        let mut chains = self.lock_chains();
        self.look(&mut chains, now_ms);
        let least = self.lock_ledger().least();
        self.least.store(least.map_or(0, |(_, deliveries)| deliveries), Relaxed);
    }
}

impl ChainTurn<'_> {
    /// Writes the next frame: messages of at least `from` bytes are compressed, where that makes them smaller. Where none is so large,
    /// the frame is not of the chain, and the same for every client. `alone` is a deflater of the same window size, to compare. `None`:
    /// the chain is gone.
    pub fn write(
        &mut self,
        messages: &Messages,
        from: usize,
        alone: &mut Deflater,
        out: &mut Vec<u8>,
    ) -> Option<FrameWindow> {
        if !messages.iter().any(|(_, message)| message.len() >= from) {
            frame_messages(messages, None, out);
            return Some(FrameWindow::independent(false));
        }
        self.next(FrameContent::Messages(messages, from), alone, out)
    }

    /// Writes the next piece of deflate streams.
    pub fn write_piece(&mut self, plain: &[u8], alone: &mut Deflater, out: &mut Vec<u8>) -> Option<FrameWindow> {
        self.next(FrameContent::Piece(plain), alone, out)
    }

    fn next(&mut self, content: FrameContent<'_>, alone: &mut Deflater, out: &mut Vec<u8>) -> Option<FrameWindow> {
        let chain = self.chains.get_mut(self.at)?;
        let step = self.window.lock_ledger().step(chain.format(), chain.is_in_step())?;
        Some(chain.write(step, content, alone, out))
    }
}

#[cfg(test)]
mod tests;
