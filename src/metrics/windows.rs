//! What windows of rooms save.

use metrics::{Counter, Gauge, counter, gauge};

/// Windows of rooms, and the frames of their chains.
#[derive(Debug, Clone)]
pub struct WindowMetrics {
    /// Windows now.
    pub windows: Gauge,
    /// The bytes that they hold.
    pub held: Gauge,
    /// Frames that refer to those before, times receivers.
    pub chained: Counter,
    /// Frames with which a chain began anew, times receivers.
    pub keyframe: Counter,
    /// Frames that stood in for chained ones, times receivers.
    pub independent: Counter,
    /// Bytes that were saved.
    pub saved: Counter,
    keyframes: [Counter; 3],
}

impl Default for WindowMetrics {
    fn default() -> Self {
        let frames = |kind: &'static str| counter!("roomcast_window_frames_total", "kind" => kind);
        let keyframes = |reason: &'static str| counter!("roomcast_window_keyframes_total", "reason" => reason);
        let (windows, held) = (gauge!("roomcast_windows"), gauge!("roomcast_window_bytes"));
        windows.set(0.0);
        held.set(0.0);
        Self {
            windows,
            held,
            chained: frames("chained"),
            keyframe: frames("keyframe"),
            independent: frames("independent"),
            saved: counter!("roomcast_window_saved_bytes_total"),
            keyframes: ["begin", "waiting", "incompressible"].map(keyframes),
        }
    }
}

impl WindowMetrics {
    /// A window more or less, and what all of them hold.
    pub fn show(&self, held: usize, more: i8) {
        self.windows.increment(f64::from(more));
        self.held.set(held as f64);
    }

    /// A keyframe was made; the reason by its place in the order begin, waiting, incompressible.
    pub fn keyframe(&self, reason: usize) {
        if let Some(counter) = self.keyframes.get(reason) {
            counter.increment(1);
        }
    }

    /// A frame of a chain went to receivers that follow it, and to others.
    pub fn served(&self, is_chained: bool, stayed: u64, apart: u64, saved: u64) {
        if is_chained {
            self.chained.increment(stayed);
            self.independent.increment(apart);
            self.saved.increment(saved);
        } else {
            self.keyframe.increment(stayed + apart);
        }
    }
}
