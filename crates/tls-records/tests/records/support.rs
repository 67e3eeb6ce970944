//! A rustls client and a rustls server whose handshake is over, and the secrets that they agreed on: the same bytes can be
//! given to one of them and to `Records`. The fuzz target `tls_records` uses this file as well.
#![allow(dead_code)]

use std::{
    io::{Read, Write},
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk},
};
use roomcast_tls_records::{CipherSuite, RecordError, Records, TrafficSecrets};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, KeyLog, ServerConfig, ServerConnection,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs as provided},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::TLS13,
};

pub const SUITES: [CipherSuite; 3] =
    [CipherSuite::Aes128GcmSha256, CipherSuite::Aes256GcmSha384, CipherSuite::Chacha20Poly1305Sha256];

pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// A self-signed certificate of this process.
static CERTIFICATE: LazyLock<(CertificateDer<'static>, PrivateKeyDer<'static>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.der().clone(), made.signing_key.into())
});

/// Takes every certificate: the handshake is not what is looked at.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The secrets of one connection, client's and server's, as rustls logs them.
#[derive(Debug, Default)]
struct Secrets(Mutex<[Vec<u8>; 2]>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut secrets = self.0.lock().unwrap();
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => secrets[0] = secret.to_vec(),
            "SERVER_TRAFFIC_SECRET_0" => secrets[1] = secret.to_vec(),
            _ => {}
        }
    }
}

fn provider(suite: CipherSuite) -> Arc<CryptoProvider> {
    let chosen = match suite {
        CipherSuite::Aes128GcmSha256 => provided::cipher_suite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Aes256GcmSha384 => provided::cipher_suite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Chacha20Poly1305Sha256 => provided::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    Arc::new(CryptoProvider { cipher_suites: vec![chosen], ..provided::default_provider() })
}

/// A server that sends no session tickets, so that its first record of data is the first under its key.
pub fn server_config(suite: CipherSuite) -> ServerConfig {
    let (certificate, key) = (CERTIFICATE.0.clone(), CERTIFICATE.1.clone_key());
    let mut config = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    config
}

pub fn client_config(suite: CipherSuite) -> ClientConfig {
    let provider = provider(suite);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config
}

pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Which side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// Both sides of one connection by rustls, and the means to make each of them by this crate.
pub struct Pair {
    pub client: Peer,
    pub server: Peer,
    suite: CipherSuite,
    secrets: [Vec<u8>; 2],
}

impl Pair {
    pub fn new(suite: CipherSuite) -> Self {
        let log = Arc::new(Secrets::default());
        let mut config = client_config(suite);
        config.key_log = Arc::<Secrets>::clone(&log);
        let client = ClientConnection::new(Arc::new(config), server_name()).unwrap();
        let server = ServerConnection::new(Arc::new(server_config(suite))).unwrap();
        let (mut client, mut server) = (Peer(client.into()), Peer(server.into()));
        while client.0.is_handshaking() || server.0.is_handshaking() {
            server.open(&client.wire(), &mut Vec::new()).unwrap();
            client.open(&server.wire(), &mut Vec::new()).unwrap();
        }
        let secrets = log.0.lock().unwrap().clone();
        Self { client, server, suite, secrets }
    }

    /// One side's records by this crate, from the first of its keys on.
    pub fn records(&self, side: Side) -> Ours {
        let [client, server] = &self.secrets;
        let (send, receive) = if side == Side::Client { (client, server) } else { (server, client) };
        let secrets = TrafficSecrets::new(self.suite, send, receive).unwrap();
        let (send, receive) = secrets.keys().unwrap();
        Ours::new(Records::new(send, receive, secrets))
    }

    /// Seals as `side` what neither rustls nor this crate would seal.
    pub fn forger(&self, side: Side) -> Forger {
        Forger::new(self.suite, &self.secrets[usize::from(side == Side::Server)])
    }
}

/// One side by rustls.
pub struct Peer(pub Connection);

impl Peer {
    /// What it has to send.
    pub fn wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut wire).unwrap();
        }
        wire
    }

    /// `plain`, sealed.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut wire = self.wire();
        // rustls holds back what is more than 64 KiB.
        for part in plain.chunks(16_000) {
            self.0.writer().write_all(part).unwrap();
            wire.extend(self.wire());
        }
        wire
    }

    /// A KeyUpdate that asks for another one.
    pub fn seal_key_update(&mut self) -> Vec<u8> {
        self.0.refresh_traffic_keys().unwrap();
        self.wire()
    }

    pub fn seal_close(&mut self) -> Vec<u8> {
        self.0.send_close_notify();
        self.wire()
    }

    /// Opens what comes next; whether the other side has closed.
    pub fn open(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<bool, rustls::Error> {
        let mut closed = false;
        while !bytes.is_empty() && !closed {
            // It refuses more of a handshake message than it is ready to join.
            self.0.read_tls(&mut bytes).map_err(|full| rustls::Error::General(full.to_string()))?;
            let state = self.0.process_new_packets();
            let _ = self.0.reader().read_to_end(plain);
            closed = state?.peer_has_closed();
        }
        Ok(closed)
    }
}

/// One side by this crate, with the buffer that its caller keeps.
pub struct Ours {
    pub records: Records<TrafficSecrets>,
    pub incomplete: Vec<u8>,
    now: Instant,
    /// What passes before each call of [`Ours::open`].
    pub step: Duration,
}

impl Ours {
    pub fn new(records: Records<TrafficSecrets>) -> Self {
        Self { records, incomplete: Vec::new(), now: Instant::now(), step: Duration::ZERO }
    }

    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        // What the buffer held is written over.
        let mut wire = vec![0xa5; self.records.sealed_len(plain.len())];
        self.records.seal(plain, &mut wire).unwrap();
        wire
    }

    pub fn seal_key_update(&mut self, request: bool) -> Vec<u8> {
        let mut wire = Vec::new();
        self.records.seal_key_update(request, &mut wire).unwrap();
        wire
    }

    pub fn seal_close(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        self.records.seal_close(&mut wire).unwrap();
        wire
    }

    /// Opens what comes next; whether the peer has closed its side.
    pub fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<bool, RecordError> {
        self.now += self.step;
        let mut buffer = std::mem::take(&mut self.incomplete);
        buffer.extend_from_slice(bytes);
        let opened = self.records.open(&mut buffer, self.now, plain, reply)?;
        self.incomplete = buffer.split_off(opened.used);
        Ok(opened.closed)
    }
}

/// Seals records of any content under a side's first key: padded, empty, of any type.
pub struct Forger {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    fn new(suite: CipherSuite, secret: &[u8]) -> Self {
        let (aead, hash) = match suite {
            CipherSuite::Aes128GcmSha256 => (&AES_128_GCM, HKDF_SHA256),
            CipherSuite::Aes256GcmSha384 => (&AES_256_GCM, HKDF_SHA384),
            CipherSuite::Chacha20Poly1305Sha256 => (&CHACHA20_POLY1305, HKDF_SHA256),
        };
        let prk = Prk::new_less_safe(hash, secret);
        let (mut key, mut iv) = (vec![0; aead.key_len()], [0; 12]);
        let info = [&[0, key.len() as u8, 9][..], b"tls13 key", &[0]];
        prk.expand(&info, Length(key.len())).unwrap().fill(&mut key).unwrap();
        let info = [&[0, 12, 8][..], b"tls13 iv", &[0]];
        prk.expand(&info, Length(12)).unwrap().fill(&mut iv).unwrap();
        Self { key: LessSafeKey::new(UnboundKey::new(aead, &key).unwrap()), iv, sequence: 0 }
    }

    /// The next record; `inner` is content, content type and padding (RFC 8446 section 5.2).
    pub fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let [high, low] = ((inner.len() + 16) as u16).to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        self.sequence += 1;
        let mut body = inner.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut body).unwrap();
        [&header[..], &body].concat()
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
