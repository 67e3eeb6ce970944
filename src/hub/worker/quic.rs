//! How a page reaches WebTransport: the port, and the certificates that it may pin.

use base64::{Engine, prelude::BASE64_STANDARD};

/// How a page reaches WebTransport.
pub struct Quic {
    /// The UDP port.
    pub port: u16,
    /// SHA-256 of the certificates that a page may pin, the one in use first; empty for one that an authority signed.
    pub pins: Box<dyn Fn() -> Vec<[u8; 32]> + Send + Sync>,
}

impl Quic {
    /// What `GET /certificate-hashes` answers: the port, and the `serverCertificateHashes` of the browser's constructor with
    /// their values in base64.
    #[must_use]
    pub fn certificate_hashes(quic: Option<&Self>) -> serde_json::Value {
        let pins = quic.map(|quic| (quic.pins)()).unwrap_or_default();
        let hashes =
            pins.iter().map(|pin| serde_json::json!({"algorithm": "sha-256", "value": BASE64_STANDARD.encode(pin)}));
        serde_json::json!({"port": quic.map(|quic| quic.port), "hashes": hashes.collect::<Vec<_>>()})
    }
}
