//! `[tls]`: what seals the records of TLS, and where the keys of its tickets are.

use std::path::PathBuf;

use roomcast_certs::MOST_TICKET_KEYS;

use super::{
    section::section,
    settings_error::SettingsError,
    value::{Choice, File, List},
};

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
        /// Files with 48 or 80 random bytes each, the same for all pods of a fleet, so that a client that comes back to another pod
        /// resumes (TLS 1.3; WebTransport too). The first makes tickets; the others are only accepted: the key before it, and the next
        /// one, which every pod should know before it becomes the first. The keys of QUIC connection IDs are derived from them: a
        /// WebTransport client whose pod died or drains is told by the pod that its packets come to. At most 4; looked at every 10 s and on
        /// SIGHUP. Without files each pod has keys of its own.
        ticket_keys: Vec<PathBuf> = Vec::new(), List(File("file of random bytes")), restart;
    }
}

impl TlsSettings {
    /// More ticket keys than are taken.
    pub(super) fn too_many_ticket_keys(&self) -> Option<SettingsError> {
        let files = self.ticket_keys.len();
        (files > MOST_TICKET_KEYS).then_some(SettingsError::TicketKeys(files))
    }
}
