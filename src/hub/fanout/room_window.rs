//! A room's windows on this pod: one for each wire format whose frames are chained.
//!
//! Shared by the workers: whichever encodes a broadcast first takes the lock, once for a frame. Never knows a receiver. Always holds: a
//! window has seen this room's broadcasts only, and of them nothing that went out uncompressed; a frame that refers to others says
//! behind which one it is valid.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::{
    hub::{
        fanout::{
            chain::{Chain, ChainStep},
            frame::Frame,
            shared_windows::{SharedWindows, WindowHolder},
            window_mark::{FrameWindow, WindowMark},
            window_worth::WindowWorth,
        },
        planted::{Fault, planted},
    },
    protocol::{Framing, Messages, WireFormat},
    transport::websocket::{Deflater, frame_messages, frame_next_messages},
};

/// The most wire formats of one room whose frames are chained.
const MAX_CHAINS: usize = 4;

/// How often a room that finds no memory asks another one to give way.
const PRESS_MS: u64 = 1_000;

/// A room's windows.
#[derive(Debug)]
pub struct RoomWindow {
    all: Arc<SharedWindows>,
    state: Mutex<WindowState>,
    worth: AtomicU64,
    holds: AtomicBool,
    yields: AtomicBool,
}

#[derive(Debug, Default)]
struct WindowState {
    worth: WindowWorth,
    chains: Vec<RoomChain>,
    is_registered: bool,
    pressed_ms: u64,
}

/// The chain of one wire format.
#[derive(Debug)]
struct RoomChain {
    format: WireFormat,
    deflater: Box<Deflater>,
    chain: Chain,
    /// The number of the frame whose text is the newest in the window.
    newest: WindowMark,
    /// Bytes of the last keyframe before compression and after it.
    keyframe: (u64, u64),
    held: usize,
    all: Arc<SharedWindows>,
}

/// The right to write the next frame of a chain.
pub struct ChainTurn<'a> {
    state: MutexGuard<'a, WindowState>,
    at: usize,
}

impl RoomWindow {
    /// No window yet.
    #[must_use]
    pub fn new(all: Arc<SharedWindows>) -> Self {
        let (worth, holds, yields) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { all, state: Mutex::default(), worth, holds, yields }
    }

    /// The chain of a wire format, whose next frame is to be written now. `None`: its frames are not chained.
    pub fn chain(self: &Arc<Self>, format: WireFormat) -> Option<ChainTurn<'_>> {
        let Framing::WebSocket { window_bits: Some(bits), keeps_window: true, .. } = format.framing else {
            return None;
        };
        let now_ms = self.all.now_ms();
        let mut state = self.lock();
        self.look(&mut state, now_ms);
        if let Some(at) = state.chains.iter().position(|chain| chain.format == format) {
            return Some(ChainTurn { state, at });
        }
        if !state.worth.may_begin(now_ms) || state.chains.len() >= MAX_CHAINS {
            return None;
        }
        let Some((deflater, held)) = self.all.deflater(bits.get()) else {
            if now_ms >= state.pressed_ms + PRESS_MS {
                state.pressed_ms = now_ms;
                let worth = state.worth.deliveries();
                drop(state);
                self.all.press(worth);
            }
            return None;
        };
        if !std::mem::replace(&mut state.is_registered, true) {
            let holder: Weak<dyn WindowHolder> = Arc::downgrade(self) as _;
            self.all.register(holder);
        }
        state.worth.begin(now_ms);
        let (all, chain, newest) = (Arc::clone(&self.all), Chain::default(), WindowMark::NONE);
        state.chains.push(RoomChain { format, deflater, chain, newest, keyframe: (0, 0), held, all });
        self.holds.store(true, Relaxed);
        let at = state.chains.len() - 1;
        Some(ChainTurn { state, at })
    }

    /// A frame went to so many receivers of a format that can read the next one of its chain, and to so many others.
    pub fn served(&self, format: WireFormat, frame: &Frame, stayed: u64, apart: u64) {
        let window = frame.window();
        if !format.framing.keeps_window() || window.leaves.is_none() {
            return;
        }
        let is_chained = window.place.is_some_and(|place| !place.is_keyframe());
        let saved = if is_chained { stayed * u64::from(window.saved) } else { 0 };
        let mut state = self.lock();
        state.worth.count(stayed + apart, saved, self.all.now_ms());
        self.worth.store(state.worth.deliveries(), Relaxed);
        let Some(place) = window.place else { return };
        if let Some(chain) = state.chains.iter_mut().find(|chain| chain.format == format) {
            chain.chain.served(place, stayed, apart);
        }
        drop(state);
        self.all.metrics().served(is_chained, stayed, apart, saved);
    }

    /// Ends the chains where that is due.
    fn look(&self, state: &mut WindowState, now_ms: u64) {
        let yields = self.yields.swap(false, Relaxed);
        if yields {
            state.worth.end(now_ms);
        }
        if yields || !state.worth.may_go_on(now_ms) {
            state.chains.clear();
            self.holds.store(false, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WindowState> {
        // A panic while a frame was made leaves a chain in whatever state: the next frame begins anew.
        self.state.lock().unwrap_or_else(|poisoned| {
            self.state.clear_poison();
            let mut state = PoisonError::into_inner(poisoned);
            state.chains.clear();
            state
        })
    }
}

impl WindowHolder for RoomWindow {
    fn worth(&self) -> Option<u64> {
        self.holds.load(Relaxed).then(|| self.worth.load(Relaxed))
    }

    fn ask_to_yield(&self) {
        self.yields.store(true, Relaxed);
    }

    fn sweep(&self, now_ms: u64) {
        let mut state = self.lock();
        self.look(&mut state, now_ms);
        self.worth.store(state.worth.deliveries(), Relaxed);
    }
}

impl ChainTurn<'_> {
    /// Writes the next frame: messages of at least `from` bytes are compressed, where that makes them smaller. Where none is so large,
    /// the frame is not of the chain, and the same for every client. `None`: the chain is gone.
    pub fn write(&mut self, messages: &Messages, from: usize, out: &mut Vec<u8>) -> Option<FrameWindow> {
        if !messages.iter().any(|(_, message)| message.len() >= from) {
            frame_messages(messages, None, out);
            return Some(FrameWindow::independent(false));
        }
        let RoomChain { deflater, chain, newest, keyframe, all, .. } = self.state.chains.get_mut(self.at)?;
        let (plain, before) = (messages.len() as u64, out.len());
        let step = chain.step(deflater.is_in_step() && *newest != WindowMark::NONE);
        let (behind, compressed) = match step {
            ChainStep::Keyframe(reason) => {
                all.metrics().keyframe(reason as usize);
                (WindowMark::NONE, frame_messages(messages, Some((&mut **deflater, from)), out))
            }
            ChainStep::Next => (*newest, frame_next_messages(messages, deflater, from, out)),
        };
        deflater.shrink();
        let length = (out.len() - before) as u64;
        if !compressed {
            // What went out uncompressed is in the deflater's window and in no client's.
            deflater.begin_anew();
            return Some(FrameWindow::independent(false));
        }
        if let ChainStep::Keyframe(_) = step {
            *keyframe = (plain, length);
        }
        // A last message that did not become smaller leaves the same: the next frame is a keyframe.
        let next = if deflater.is_in_step() { all.next_mark() } else { WindowMark::NONE };
        *newest = if planted(Fault::RepeatedMark) && behind != WindowMark::NONE { behind } else { next };
        // As an independent frame would have come out by the ratio of the last keyframe.
        let alone = (plain * keyframe.1).checked_div(keyframe.0).unwrap_or(0);
        let saved = u32::try_from(alone.saturating_sub(length)).unwrap_or(u32::MAX);
        Some(FrameWindow { behind, leaves: Some(*newest), place: Some(chain.place()), saved })
    }
}

impl Drop for RoomChain {
    fn drop(&mut self) {
        self.all.give_back(self.held);
    }
}
