//! TLS 1.3 records sealed by hand (RFC 8446 section 5.2).
//!
//! Owns one direction's key and sequence number. Never fragments unless a record's limit demands it, never allocates
//! once the scratch buffer has grown.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use crate::error::BenchError;

/// The most plaintext of one record (RFC 8446 section 5.1).
const MOST_PLAINTEXT: usize = 1 << 14;
const HEADER: usize = 5;
const TAG: usize = 16;
/// The inner content type of application data, at the end of the plaintext.
const APPLICATION_DATA: u8 = 23;

/// Seals one connection's outgoing records.
pub(crate) struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealer {
    /// From what rustls gives out after a handshake.
    pub(crate) fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, BenchError> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(BenchError::Protocol("the floor does not know the negotiated cipher".to_owned())),
        };
        let unusable = || BenchError::Protocol("rustls gave out a key of an unexpected length".to_owned());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unusable())?;
        let iv = iv.as_ref().try_into().map_err(|_| unusable())?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// Appends `plaintext` as records.
    pub(crate) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), BenchError> {
        for part in plaintext.chunks(MOST_PLAINTEXT) {
            let start = out.len();
            let sealed = part.len() + 1 + TAG;
            out.resize(start + HEADER + sealed, 0);
            let (header, body) = out[start..].split_at_mut(HEADER);
            let [high, low] = u16::try_from(sealed).unwrap_or(u16::MAX).to_be_bytes();
            header.copy_from_slice(&[APPLICATION_DATA, 3, 3, high, low]);
            let (inner, tag) = body.split_at_mut(part.len() + 1);
            inner[..part.len()].copy_from_slice(part);
            inner[part.len()] = APPLICATION_DATA;
            let mut nonce = self.iv;
            for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
                *byte ^= sequence;
            }
            let computed = self
                .key
                .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*header), inner)
                .map_err(|_| BenchError::Protocol("a record could not be sealed".to_owned()))?;
            tag.copy_from_slice(computed.as_ref());
            self.sequence += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::Arc};

    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::{floor::tls, receiver::tls as client_tls};

    /// A finished handshake in memory; the server's secrets are taken out.
    fn pair() -> (ClientConnection, Sealer) {
        let server = tls::config().expect("a server configuration");
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::new(client_tls::fresh().expect("a client configuration")), name)
            .expect("a client");
        let mut server = ServerConnection::new(server).expect("a server");
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            wire.clear();
            client.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut wire.as_slice()).expect("memory");
            server.process_new_packets().expect("the client's handshake");
            wire.clear();
            server.write_tls(&mut wire).expect("memory");
            client.read_tls(&mut wire.as_slice()).expect("memory");
            client.process_new_packets().expect("the server's handshake");
        }
        let secrets = server.dangerous_extract_secrets().expect("secrets");
        (client, Sealer::new(secrets.tx).expect("a known cipher"))
    }

    #[test]
    fn a_rustls_client_opens_what_was_sealed_by_hand() {
        let (mut client, mut sealer) = pair();
        for length in [1usize, 2, 700, MOST_PLAINTEXT, MOST_PLAINTEXT + 1, 40_000] {
            let sent: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            let mut wire = Vec::new();
            sealer.seal(&sent, &mut wire).expect("sealing");
            let mut received = Vec::new();
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("memory");
                client.process_new_packets().expect("a valid record");
                let _ = client.reader().read_to_end(&mut received);
            }
            assert_eq!(received, sent, "length {length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let (mut client, mut sealer) = pair();
        let mut wire = Vec::new();
        sealer.seal(b"hello", &mut wire).expect("sealing");
        wire[7] ^= 1;
        client.read_tls(&mut wire.as_slice()).expect("memory");
        assert!(client.process_new_packets().is_err());
    }
}
