//! TLS 1.3 records of an established connection (RFC 8446 section 5), sealed and opened in the worker's own buffers.
//!
//! rustls makes the handshake and keeps the key schedule; its own record layer costs an allocation, a copy and half a
//! dozen cache misses a record, and a KiB a connection. Owns both directions' keys and sequence numbers. Always holds:
//! no (key, nonce) pair is used twice, because the sequence number moves with each record and a new key starts a new one;
//! keys are changed before they have sealed as many records as AES-GCM bears (RFC 8446 section 5.5).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ExtractedSecrets,
    kernel::KernelConnection,
    server::{ServerConnectionData, UnbufferedServerConnection},
};

use super::scratch::Scratch;

const HEADER: usize = 5;
const TAG: usize = 16;
/// The most plaintext of one record (section 5.1), and the most that its ciphertext may be longer (section 5.2).
const MAX_PLAIN: usize = 1 << 14;
const MAX_EXPANSION: usize = 256;
/// 2^24 records of full size are what AES-GCM bears under one key (section 5.5).
const MAX_RECORDS: u64 = 1 << 24;

/// Content types (section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// A KeyUpdate message but for its last byte (section 4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// Where a connection stands after what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More of the handshake is needed.
    Handshaking,
    /// Data flows.
    Established,
    /// The peer has closed its side (close_notify).
    PeerClosed,
}

/// One direction's key.
struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, rustls::Error> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(rustls::Error::General("a cipher suite without a record layer".into())),
        };
        let unusable = |_| rustls::Error::General("a key of an unexpected length".into());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(unusable)?;
        let iv = iv.as_ref().try_into().map_err(|_| rustls::Error::General("an IV of an unexpected length".into()))?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// The next record's nonce (section 5.3).
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// An established TLS 1.3 connection's records. What sealing needs stands together, first.
#[repr(C)]
pub struct Records {
    send: Direction,
    receive: Direction,
    /// The key schedule.
    schedule: Box<KernelConnection<ServerConnectionData>>,
    pub(super) incomplete: Vec<u8>,
}

impl Records {
    /// Takes an established connection out of rustls' hands; `incomplete` was received behind its last whole record.
    ///
    /// # Errors
    /// The connection is not established, or secrets may not be extracted: it is lost then.
    pub fn take_over(connection: UnbufferedServerConnection, incomplete: Vec<u8>) -> Result<Self, rustls::Error> {
        let (ExtractedSecrets { tx, rx }, schedule) = connection.dangerous_into_kernel_connection()?;
        Ok(Self { send: Direction::new(tx)?, receive: Direction::new(rx)?, schedule: Box::new(schedule), incomplete })
    }

    /// Seals `plain` as application data.
    ///
    /// # Errors
    /// The key schedule fails.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Scratch) -> Result<(), rustls::Error> {
        for part in plain.chunks(MAX_PLAIN) {
            self.seal_record(APPLICATION_DATA, part, sealed)?;
        }
        if self.send.sequence >= MAX_RECORDS {
            self.update_send_key(sealed)?;
        }
        Ok(())
    }

    /// Seals a close_notify alert (section 6.1).
    ///
    /// # Errors
    /// As [`Records::seal`].
    pub fn seal_close(&mut self, sealed: &mut Scratch) -> Result<(), rustls::Error> {
        self.seal_alert(AlertDescription::CloseNotify, sealed)
    }

    /// Opens what was received, as [`super::tls::Tls::open`] does.
    ///
    /// # Errors
    /// The peer broke the protocol; `reply` then holds the alert to send.
    pub fn open(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Scratch,
    ) -> Result<Progress, rustls::Error> {
        let result = self.open_all(received, plain, reply);
        if let Err((_, alert)) = &result {
            // The connection ends either way.
            let _ = self.seal_alert(*alert, reply);
        }
        result.map_err(|(error, _)| error)
    }

    fn open_all(&mut self, mut rest: &mut [u8], plain: &mut Vec<u8>, reply: &mut Scratch) -> Result<Progress, Fault> {
        while let Some(&header) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != APPLICATION_DATA {
                return Err(fault("an unprotected record", AlertDescription::UnexpectedMessage));
            }
            if len > MAX_PLAIN + MAX_EXPANSION {
                return Err(fault("a record too long", AlertDescription::RecordOverflow));
            }
            if rest.len() < HEADER + len {
                break;
            }
            let (record, behind) = rest.split_at_mut(HEADER + len);
            rest = behind;
            let nonce = self.receive.nonce();
            let opened = self
                .receive
                .key
                .open_in_place(nonce, Aad::from(header), &mut record[HEADER..])
                .map_err(|_| fault("a record that does not open", AlertDescription::BadRecordMac))?;
            let end = opened.iter().rposition(|&byte| byte != 0);
            let Some((content, kind)) = end.map(|end| (&opened[..end], opened[end])) else {
                return Err(fault("a record without content type", AlertDescription::UnexpectedMessage));
            };
            if content.len() > MAX_PLAIN {
                return Err(fault("a record too long", AlertDescription::RecordOverflow));
            }
            match (kind, content) {
                (APPLICATION_DATA, data) => plain.extend_from_slice(data),
                (ALERT, [_, 0]) => return Ok(Progress::PeerClosed),
                (ALERT, [_, description]) => {
                    let alert = AlertDescription::from(*description);
                    return Err((rustls::Error::AlertReceived(alert), AlertDescription::CloseNotify));
                }
                (HANDSHAKE, [24, 0, 0, 1, request @ (0 | 1)]) => self.key_update(*request == 1, reply)?,
                _ => return Err(fault("an unexpected message", AlertDescription::UnexpectedMessage)),
            }
        }
        self.incomplete = rest.to_vec();
        Ok(Progress::Established)
    }

    /// The peer has changed its key, and may want ours changed as well (section 4.6.3).
    fn key_update(&mut self, requested: bool, reply: &mut Scratch) -> Result<(), Fault> {
        let internal = |error| (error, AlertDescription::InternalError);
        let secret = self.schedule.update_rx_secret().map_err(internal)?;
        self.receive = Direction::new(secret).map_err(internal)?;
        if requested {
            self.update_send_key(reply).map_err(internal)?;
        }
        Ok(())
    }

    fn update_send_key(&mut self, sealed: &mut Scratch) -> Result<(), rustls::Error> {
        let [kind, a, b, c] = KEY_UPDATE;
        self.seal_record(HANDSHAKE, &[kind, a, b, c, 0], sealed)?;
        self.send = Direction::new(self.schedule.update_tx_secret()?)?;
        Ok(())
    }

    fn seal_alert(&mut self, alert: AlertDescription, sealed: &mut Scratch) -> Result<(), rustls::Error> {
        let level = if alert == AlertDescription::CloseNotify { 1 } else { 2 };
        self.seal_record(ALERT, &[level, u8::from(alert)], sealed)
    }

    fn seal_record(&mut self, kind: u8, content: &[u8], sealed: &mut Scratch) -> Result<(), rustls::Error> {
        let len = content.len() + 1 + TAG;
        let record = sealed.append(HEADER + len);
        let (header, body) = record.split_at_mut(HEADER);
        // At most MAX_PLAIN + 17, so that it fits.
        let [high, low] = (len as u16).to_be_bytes();
        header.copy_from_slice(&[APPLICATION_DATA, 3, 3, high, low]);
        let (inner, tag) = body.split_at_mut(content.len() + 1);
        inner[..content.len()].copy_from_slice(content);
        inner[content.len()] = kind;
        let nonce = self.send.nonce();
        let computed = self
            .send
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), inner)
            .map_err(|_| rustls::Error::EncryptError)?;
        tag.copy_from_slice(computed.as_ref());
        Ok(())
    }

    /// Touches what sealing will need; see [`super::socket::Socket::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        self.send.sequence as usize
    }
}

/// What went wrong, and the alert that says so.
type Fault = (rustls::Error, AlertDescription);

fn fault(what: &str, alert: AlertDescription) -> Fault {
    (rustls::Error::General(what.into()), alert)
}
