//! What a connection moved.

/// What a connection moved, for its log line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Messages from the client.
    pub messages_in: u32,
    /// Frames to it.
    pub frames_out: u32,
    /// Bytes from it, WebSocket framing included.
    pub bytes_in: u64,
    /// Bytes to it, WebSocket framing included.
    pub bytes_out: u64,
    /// What they would have been without compression.
    pub bytes_plain: u64,
}

impl Totals {
    /// Counts a frame for the client.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, plain: usize) {
        self.frames_out = self.frames_out.wrapping_add(1);
        self.bytes_out += bytes as u64;
        self.bytes_plain += plain as u64;
    }
}
