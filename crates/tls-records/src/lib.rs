#![doc = include_str!("../README.md")]
//! ## Owns, never, always
//!
//! Owns both directions' keys and sequence numbers of a connection, nothing else: bytes are the caller's. Never does I/O,
//! never reads a clock, never sees a handshake. Always holds: no pair of key and nonce is used twice, because the sequence
//! number moves with each record, may not wrap, and starts anew with a new key only.

mod alert;
mod error;
mod key;
mod key_update;
mod records;
#[cfg(feature = "rustls")]
mod rustls;
mod schedule;

pub use alert::Alert;
pub use error::{KeyError, RecordError};
pub use key::{CipherSuite, TrafficKey};
pub use key_update::KeyUpdateLimit;
pub use records::{MAX_PLAINTEXT, MAX_RECORD, Opened, Records};
#[cfg(feature = "rustls")]
pub use rustls::RustlsSchedule;
pub use schedule::{KeySchedule, TrafficSecrets};
