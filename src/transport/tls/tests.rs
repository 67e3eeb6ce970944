//! The seam against a real rustls client, in memory.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    sync::Arc,
};

use roomcast_certs::{Rotation, Source, insecure, server_config};
use rustls::{ClientConnection, SupportedProtocolVersion, pki_types::ServerName, version};

use super::*;

/// A client and a server of one version whose handshake is over, its bytes given to the server in chunks.
fn pair(version: &'static SupportedProtocolVersion, chunk: usize) -> (ClientConnection, Tls) {
    let rotation = Rotation::start(Source::Development { dir: None }, std::time::SystemTime::now()).unwrap();
    let server = Arc::new(server_config(Arc::new(rotation)).unwrap());
    let client = insecure::client_config_accept_any().unwrap();
    let client = rustls::ClientConfig::builder_with_provider(roomcast_certs::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(client)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = Tls::accept(server, RecordLayer::Roomcast).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        for part in wire.chunks(chunk) {
            let (_, plain, reply) = give(&mut server, part).unwrap();
            assert!(plain.is_empty());
            feed(&mut client, &reply);
        }
    }
    assert!(!client.is_handshaking());
    assert_eq!(client.protocol_version(), Some(version.version));
    (client, server)
}

#[derive(Debug)]
struct Any(rustls::ClientConfig);

impl rustls::client::danger::ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

type Given = (Progress, Vec<u8>, Vec<u8>);

fn give(server: &mut Tls, bytes: &[u8]) -> Result<Given, (TlsError, Vec<u8>)> {
    let mut buffer = vec![0; MAX_INCOMPLETE + bytes.len()];
    let start = server.incomplete();
    server.restore(&mut buffer);
    buffer[start..start + bytes.len()].copy_from_slice(bytes);
    let (mut plain, mut reply) = (Vec::new(), Scratch::default());
    match server.open(&mut buffer[..start + bytes.len()], Instant::now(), &mut plain, &mut reply) {
        Ok(progress) => Ok((progress, plain, reply.filled().to_vec())),
        Err(error) => Err((error, reply.filled().to_vec())),
    }
}

fn feed(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
        let _ = client.reader().read_to_end(&mut plain);
    }
    plain
}

fn from_client(client: &mut ClientConnection, plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for part in plain.chunks(16_000) {
        client.writer().write_all(part).unwrap();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
    }
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

fn to_client(server: &mut Tls, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Scratch::default();
    server.seal(plain, &mut sealed).unwrap();
    sealed.filled().to_vec()
}

#[test]
fn data_flows_both_ways_in_any_chunks() {
    for (version, settled) in [(&version::TLS12, true), (&version::TLS13, false), (&version::TLS13, true)] {
        for chunk in [1, 7, 1_000_000] {
            let (mut client, mut server) = pair(version, chunk);
            if settled {
                server.settle().unwrap();
            }
            for len in [1, 700, 16_384, 16_385, 50_000] {
                let text: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
                let wire = to_client(&mut server, &text);
                assert_eq!(feed(&mut client, &wire), text);
                let mut seen = Vec::new();
                for part in from_client(&mut client, &text).chunks(chunk) {
                    let (progress, plain, reply) = give(&mut server, part).unwrap();
                    assert_eq!((progress, reply.len()), (Progress::Established, 0));
                    seen.extend(plain);
                }
                assert_eq!(seen, text);
                assert_eq!(server.incomplete(), 0);
            }
        }
    }
}

#[test]
fn keys_change_when_the_peer_asks_for_it() {
    let (mut client, mut server) = pair(&version::TLS13, 1_000_000);
    server.settle().unwrap();
    for round in 0..3_u8 {
        client.refresh_traffic_keys().unwrap();
        let wire = from_client(&mut client, &[round]);
        let (_, plain, reply) = give(&mut server, &wire).unwrap();
        assert_eq!(plain, [round]);
        assert!(!reply.is_empty(), "our own key changes too");
        feed(&mut client, &reply);
        let wire = to_client(&mut server, b"still here");
        assert_eq!(feed(&mut client, &wire), b"still here");
    }
}

#[test]
fn a_half_received_record_survives_settling() {
    let (mut client, mut server) = pair(&version::TLS13, 1_000_000);
    let wire = from_client(&mut client, b"hello");
    let (first, second) = wire.split_at(10);
    give(&mut server, first).unwrap();
    server.settle().unwrap();
    assert_eq!(give(&mut server, second).unwrap().1, b"hello");
}

#[test]
fn a_changed_byte_ends_the_connection_with_an_alert() {
    for settled in [false, true] {
        for at in [5, 12] {
            let (mut client, mut server) = pair(&version::TLS13, 1_000_000);
            if settled {
                server.settle().unwrap();
            }
            let mut wire = from_client(&mut client, b"hello");
            wire[at] ^= 1;
            let (_, alert) = give(&mut server, &wire).unwrap_err();
            let told = client
                .read_tls(&mut alert.as_slice())
                .and_then(|_| client.process_new_packets().map_err(std::io::Error::other));
            assert!(told.unwrap_err().to_string().contains("BadRecordMac"));
        }
    }
}

#[test]
fn unprotected_and_oversized_records_are_refused() {
    for bytes in [&[21, 3, 3, 0, 2, 1, 0][..], &[23, 3, 3, 0xff, 0xff], &[20, 3, 3, 0, 1, 1]] {
        let (_, mut server) = pair(&version::TLS13, 1_000_000);
        server.settle().unwrap();
        assert!(give(&mut server, bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn both_sides_can_say_goodbye() {
    for version in [&version::TLS12, &version::TLS13] {
        let (mut client, mut server) = pair(version, 1_000_000);
        server.settle().unwrap();
        client.send_close_notify();
        let wire = from_client(&mut client, b"");
        assert_eq!(give(&mut server, &wire).unwrap().0, Progress::PeerClosed);
        let mut sealed = Scratch::default();
        server.seal_close(&mut sealed).unwrap();
        client.read_tls(&mut sealed.filled()).unwrap();
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}
