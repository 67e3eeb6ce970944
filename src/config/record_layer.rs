//! `[tls]`: what seals the records of TLS.

use super::{section::section, value::Choice};

/// What seals and opens the records of an established TLS 1.3 connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordLayer {
    /// `crates/tls-records`.
    Roomcast,
    /// rustls' own.
    Rustls,
}

section! {
    /// TLS of `listen`. Where its certificate comes from: `cert` and `key`.
    pub struct TlsSettings in "tls" {
        /// What seals and opens the records of established TLS 1.3 connections: `roomcast`, a record layer of this program that
        /// takes less memory and time, or `rustls`, that of the library which makes every handshake. TLS 1.2 and WebTransport are
        /// not concerned.
        records: RecordLayer = RecordLayer::Roomcast,
            Choice(&[("roomcast", RecordLayer::Roomcast), ("rustls", RecordLayer::Rustls)]), restart;
    }
}
