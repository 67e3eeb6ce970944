//! `[memory_broker]`: the broker of a pod without a fleet and without a home.

use super::{
    section::section,
    value::{Bytes, GIB, MIB},
};

section! {
    /// The embedded broker, which keeps the rooms' logs in this process.
    pub struct MemoryBroker in "memory_broker" {
        /// The most bytes of history and retained values of all rooms. At the limit, the room that was quiet longest loses
        /// its log, and its epoch changes. It is never more than a quarter of what the whole process may use.
        max_bytes: usize = 256 * MIB, Bytes(MIB..=1024 * GIB), restart;
    }
}
