//! What several of the tests need: a clock that stands, files, and handshakes in memory.

#![allow(dead_code, clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use roomcast_certs::{Certificate, make, server_config};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConnection,
    pki_types::{CertificateDer, ServerName},
    server::ResolvesServerCert,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-11-20 12:00:00 UTC.
pub(crate) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000)
}

/// A pair of files in a directory of their own.
pub(crate) struct Files {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    /// A fresh certificate in `tls.crt` and `tls.key`.
    pub(crate) fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Self { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key"), dir };
        files.renew();
        files
    }

    /// Another certificate into the same files.
    pub(crate) fn renew(&self) -> Certificate {
        let (certificate, pem) = make(noon()).unwrap();
        std::fs::write(&self.cert, pem.certificate).unwrap();
        std::fs::write(&self.key, pem.key).unwrap();
        certificate
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// What a handshake came to.
#[derive(Debug)]
pub(crate) struct Shaken {
    pub(crate) kind: HandshakeKind,
    pub(crate) version: rustls::ProtocolVersion,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) served: CertificateDer<'static>,
    pub(crate) tickets: u32,
    pub(crate) pair: (ClientConnection, ServerConnection),
}

/// A whole handshake in memory.
pub(crate) fn shake(
    resolver: Arc<dyn ResolvesServerCert>,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> Result<Shaken, rustls::Error> {
    shake_with(&Arc::new(server_config(resolver)?), client, name)
}

pub(crate) fn shake_with(
    server: &Arc<rustls::ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> Result<Shaken, rustls::Error> {
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from(name).unwrap())?;
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        carry(&mut client, &mut server)?;
    }
    Ok(Shaken {
        kind: client.handshake_kind().unwrap(),
        version: client.protocol_version().unwrap(),
        alpn: client.alpn_protocol().map(<[u8]>::to_vec),
        served: client.peer_certificates().unwrap().first().unwrap().clone(),
        tickets: client.tls13_tickets_received(),
        pair: (client, server),
    })
}

/// Carries what both sides have to say.
pub(crate) fn carry(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    let mut left = wire.as_slice();
    while !left.is_empty() {
        server.read_tls(&mut left).unwrap();
        server.process_new_packets()?;
    }
    let mut wire = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut wire).unwrap();
    }
    let mut left = wire.as_slice();
    while !left.is_empty() {
        client.read_tls(&mut left).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}
