//! The TLS seam: opens what was received into the worker's buffer, seals what is sent into the worker's scratch.
//!
//! Owns one rustls connection and the bytes of an incomplete record, nothing else: between records a connection holds
//! no buffer. Never touches a socket. Always holds: bytes given to [`Tls::seal`] leave in the order of the calls.
//!
//! Built on rustls' unbuffered API (what was found is in `docs/ARCHITECTURE.md`): the buffered one keeps a 4 KiB
//! deframer buffer per connection for ever after the first read.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

/// The largest record on the wire (RFC 8446 section 5.2, RFC 5246 section 6.2.3): what an incomplete one may hold.
pub const MAX_RECORD: usize = 5 + 16_384 + 2_048;

/// A handshake message may span records, so that a little more than a record may be incomplete.
pub const MAX_INCOMPLETE: usize = 64 * 1024;

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

/// One TLS server connection, 1.2 or newer.
pub struct Tls {
    connection: UnbufferedServerConnection,
    incomplete: Vec<u8>,
}

impl Tls {
    /// A connection that waits for a ClientHello.
    ///
    /// # Errors
    /// rustls refuses a configuration that cannot work.
    pub fn accept(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self { connection: UnbufferedServerConnection::new(config)?, incomplete: Vec::new() })
    }

    /// How many bytes of an incomplete record are kept.
    #[must_use]
    pub fn incomplete(&self) -> usize {
        self.incomplete.len()
    }

    /// Moves the incomplete record's bytes to the front of `buffer`: what was read since stands behind them.
    pub fn restore(&mut self, buffer: &mut [u8]) {
        let kept = std::mem::take(&mut self.incomplete);
        buffer[..kept.len()].copy_from_slice(&kept);
    }

    /// Opens `received` (as [`Tls::restore`] began it): plaintext is appended to `plain`, what the protocol itself
    /// must send (handshake, alerts, key updates) to `reply`.
    ///
    /// # Errors
    /// The peer broke the protocol or there is no common ground; `reply` then holds the alert to send.
    pub fn open(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<Progress, rustls::Error> {
        let mut used = 0;
        let mut peer_closed = false;
        let progress = loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut received[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(reply, |out| data.encode(out))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => peer_closed = true,
                Ok(ConnectionState::BlockedHandshake) => {
                    used += discard;
                    break Progress::Handshaking;
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    used += discard;
                    break if peer_closed { Progress::PeerClosed } else { Progress::Established };
                }
                Ok(ConnectionState::Closed) => break Progress::PeerClosed,
                // Early data is never offered; what rustls may add later is none of our protocol.
                Ok(_) => return Err(rustls::Error::General("unexpected TLS state".into())),
                Err(error) => {
                    self.flush(reply);
                    return Err(error);
                }
            }
            used += discard;
        };
        let rest = &received[used.min(received.len())..];
        if !rest.is_empty() && progress != Progress::PeerClosed {
            self.incomplete = rest.to_vec();
        }
        Ok(progress)
    }

    /// Seals `plain` into records behind `sealed[..*len]`, which grows as needed; `len` moves on.
    ///
    /// # Errors
    /// The handshake is not over, the connection failed, or its keys are used up.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Scratch) -> Result<(), rustls::Error> {
        self.with_traffic(sealed, |traffic, out| traffic.encrypt(plain, out))
    }

    /// Seals a close_notify alert (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// As [`Tls::seal`].
    pub fn seal_close(&mut self, sealed: &mut Scratch) -> Result<(), rustls::Error> {
        self.with_traffic(sealed, |traffic, out| traffic.queue_close_notify(out))
    }

    fn with_traffic(
        &mut self,
        sealed: &mut Scratch,
        mut write: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), rustls::Error> {
        loop {
            match self.connection.process_tls_records(&mut []).state? {
                ConnectionState::WriteTraffic(mut traffic) => loop {
                    match write(&mut traffic, sealed.free()) {
                        Ok(written) => {
                            sealed.advance(written);
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(need)) => sealed.reserve(need.required_size),
                        Err(EncryptError::EncryptExhausted) => return Err(rustls::Error::EncryptError),
                    }
                },
                ConnectionState::EncodeTlsData(mut data) => loop {
                    match data.encode(sealed.free()) {
                        Ok(written) => {
                            sealed.advance(written);
                            break;
                        }
                        Err(EncodeError::InsufficientSize(need)) => sealed.reserve(need.required_size),
                        Err(EncodeError::AlreadyEncoded) => break,
                    }
                },
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(rustls::Error::HandshakeNotComplete),
            }
        }
    }

    /// Collects a failed connection's alert.
    fn flush(&mut self, reply: &mut Vec<u8>) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(&mut []).state {
            if append(reply, |out| data.encode(out)).is_err() {
                break;
            }
        }
    }

    /// Touches what sealing will need; see [`super::socket::Socket::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        self.incomplete.len() + usize::from(self.connection.is_handshaking()) + usize::from(self.connection.wants_write())
    }

    /// Whether a ticket of an earlier connection shortened the handshake.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }
}

fn append(
    reply: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let start = reply.len();
    let mut room = 2_048;
    loop {
        reply.resize(start + room, 0);
        match encode(&mut reply[start..]) {
            Ok(written) => {
                reply.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(need)) => room = need.required_size,
            Err(EncodeError::AlreadyEncoded) => {
                reply.truncate(start);
                return Err(rustls::Error::General("record encoded twice".into()));
            }
        }
    }
}

/// A worker's scratch for sealed bytes: kept at its length, so that sealing never zeroes memory.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    len: usize,
}

impl Scratch {
    /// What it shrinks back to after something large.
    const KEEP: usize = 256 * 1024;

    /// Forgets the content.
    pub fn clear(&mut self) {
        self.len = 0;
        if self.bytes.len() > Self::KEEP {
            self.bytes.truncate(Self::KEEP);
            self.bytes.shrink_to_fit();
        }
    }

    /// The content.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends bytes as they are.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn free(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    fn advance(&mut self, written: usize) {
        self.len += written;
    }

    fn reserve(&mut self, more: usize) {
        let need = self.len + more;
        if self.bytes.len() < need {
            self.bytes.resize(need.next_power_of_two().max(16 * 1024), 0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // The round trip against a real rustls client, the restoring of incomplete records, and the alert of a failed
    // handshake are tested over sockets in `tests/`; here only what sockets cannot show.
    #[test]
    fn scratch_keeps_its_length_and_shrinks() {
        let mut scratch = Scratch::default();
        scratch.extend(&[7; 300 * 1024]);
        assert_eq!(scratch.filled().len(), 300 * 1024);
        scratch.clear();
        assert!(scratch.filled().is_empty());
        assert_eq!(scratch.bytes.len(), Scratch::KEEP);
        scratch.extend(b"abc");
        assert_eq!(scratch.filled(), b"abc");
    }
}
