//! Whether a broker can tell a publish that is repeated from a new one.
//!
//! Pure. Always holds: where it says yes, an idempotency key that came since then and is not too old is known.

use crate::model::{Room, UnixMillis};

/// How far a broker remembers idempotency keys, beside how long it promises to.
pub trait KeyMemory: Send + Sync {
    /// Whether each key is known that `room` got since then, as far as it is not too old.
    fn knows_keys_since(&self, room: &Room, since: UnixMillis) -> bool;
}

/// The memory of a broker that keeps keys beside the log, and loses neither without the other.
#[derive(Debug, Clone, Copy)]
pub struct KeysBesideLog;

impl KeyMemory for KeysBesideLog {
    fn knows_keys_since(&self, _: &Room, _: UnixMillis) -> bool {
        true
    }
}
