//! The TLS settings: versions, ALPN, tickets.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use roomcast_certs::{
    Rotation, Source,
    insecure::{client_config_accept_any, client_config_accept_any_with},
    server_config,
};
use rustls::{HandshakeKind, ProtocolVersion};
use support::{noon, shake, shake_with};

fn rotation() -> Arc<Rotation> {
    Arc::new(Rotation::start(Source::Development { dir: None }, noon()).unwrap())
}

#[test]
fn tls_1_3_by_default_with_one_ticket_and_http_1_1() {
    let client = Arc::new(client_config_accept_any().unwrap());
    let shaken = shake(rotation(), &client, "localhost").unwrap();
    assert_eq!(shaken.version, ProtocolVersion::TLSv1_3);
    assert_eq!(shaken.alpn.as_deref(), Some(b"http/1.1".as_slice()));
    assert_eq!(shaken.tickets, 1);
    assert_eq!(shaken.kind, HandshakeKind::Full);
}

#[test]
fn resumption_is_stateless_and_without_early_data() {
    let server = Arc::new(server_config(rotation()).unwrap());
    assert_eq!(server.max_early_data_size, 0);
    assert!(!server.session_storage.can_cache());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = client_config_accept_any_with(&[version]).unwrap();
        client.enable_early_data = true;
        let client = Arc::new(client);
        assert_eq!(shake_with(&server, &client, "localhost").unwrap().kind, HandshakeKind::Full);
        let again = shake_with(&server, &client, "localhost").unwrap();
        assert_eq!(again.kind, HandshakeKind::Resumed, "{:?}", again.version);
        assert!(!again.pair.0.is_early_data_accepted());
        assert_eq!(again.version, version.version);
    }
}

#[test]
fn a_client_that_speaks_only_http_2_is_refused() {
    let mut client = client_config_accept_any().unwrap();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let error = shake(rotation(), &Arc::new(client), "localhost").unwrap_err();
    assert_eq!(error, rustls::Error::NoApplicationProtocol);
}

#[test]
fn a_client_without_alpn_is_served() {
    let mut client = client_config_accept_any().unwrap();
    client.alpn_protocols.clear();
    assert_eq!(shake(rotation(), &Arc::new(client), "localhost").unwrap().alpn, None);
}
