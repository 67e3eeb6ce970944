//! Time on the wire.

/// Milliseconds since the Unix epoch, UTC: the `time` of an event on the wire.
pub type UnixMillis = u64;
