//! The TLS seam: opens what was received into the worker's buffer, seals what is sent into the worker's scratch.
//!
//! Owns one connection's keys and the bytes of an incomplete record, nothing else: between records a connection holds no
//! buffer. Never touches a socket. Always holds: bytes given to [`Tls::seal`] leave in the order of the calls.
//!
//! rustls makes the handshake (its unbuffered API). Once a TLS 1.3 connection is established, `roomcast-tls-records` seals and
//! opens its records: rustls' own record layer costs an allocation, a copy and half a dozen cache misses a record, and a KiB a
//! connection. TLS 1.2 stays with rustls, and so does every connection where `tls.records` says so.

use std::{sync::Arc, time::Instant};

use roomcast_tls_records::{KeyError, Opened, RecordError, Records, RustlsSchedule};
use rustls::{
    ProtocolVersion, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

use crate::config::RecordLayer;

use super::scratch::Scratch;

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

/// Why a TLS connection ends.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls ends it.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The record layer ends it.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The connection could not change hands.
    #[error("the connection was lost when it was settled")]
    Lost,
}

impl From<KeyError> for TlsError {
    fn from(error: KeyError) -> Self {
        Self::Records(error.into())
    }
}

/// One TLS server connection, 1.2 or newer.
///
/// ```text
///   Rustls ──settle: established, TLS 1.3──▶ Records
///     ├──── TLS 1.2 stays
///     └──── `tls.records = "rustls"` stays
/// ```
pub struct Tls {
    state: State,
    /// The beginning of a record, or of a handshake message, whose rest is still to come.
    incomplete: Vec<u8>,
}

enum State {
    /// With what seals its records once it is established.
    Rustls(Box<UnbufferedServerConnection>, RecordLayer),
    Records(Records<RustlsSchedule<ServerConnectionData>>),
    /// The change of hands failed: every use is an error.
    Lost,
}

impl Tls {
    /// A connection that waits for a ClientHello; `layer` seals its records once it is established.
    ///
    /// # Errors
    /// rustls refuses a configuration that cannot work.
    pub fn accept(config: Arc<ServerConfig>, layer: RecordLayer) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { state: State::Rustls(Box::new(connection), layer), incomplete: Vec::new() })
    }

    /// Makes an established connection small: rustls keeps only the key schedule. Does nothing for TLS 1.2, and where rustls
    /// seals the records.
    ///
    /// # Errors
    /// rustls cannot let go of the connection, which is lost then.
    pub fn settle(&mut self) -> Result<(), TlsError> {
        let settles = matches!(&self.state, State::Rustls(connection, RecordLayer::Roomcast)
            if !connection.is_handshaking() && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3));
        if settles && let State::Rustls(connection, _) = std::mem::replace(&mut self.state, State::Lost) {
            self.state = State::Records(Records::take_over(connection.dangerous_into_kernel_connection()?)?);
        }
        Ok(())
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

    /// Opens `received` (as [`Tls::restore`] began it), which came at `now`: plaintext is appended to `plain`, what the
    /// protocol itself must send (handshake, alerts, key updates) to `reply`.
    ///
    /// # Errors
    /// The peer broke the protocol or there is no common ground; `reply` then holds the alert to send.
    pub fn open(
        &mut self,
        received: &mut [u8],
        now: Instant,
        plain: &mut Vec<u8>,
        reply: &mut Scratch,
    ) -> Result<Progress, TlsError> {
        let (used, progress) = match &mut self.state {
            State::Rustls(connection, _) => open(connection, received, plain, reply)?,
            State::Records(records) => {
                // Rarely used, and without memory until then.
                let mut answer = Vec::new();
                let opened = records.open(received, now, plain, &mut answer);
                if !answer.is_empty() {
                    reply.append(answer.len()).copy_from_slice(&answer);
                }
                let Opened { used, closed } = opened?;
                (used, if closed { Progress::PeerClosed } else { Progress::Established })
            }
            State::Lost => return Err(TlsError::Lost),
        };
        let rest = received.get(used..).unwrap_or_default();
        if !rest.is_empty() && progress != Progress::PeerClosed {
            self.incomplete = rest.to_vec();
        }
        Ok(progress)
    }

    /// Appends `plain` to `sealed` as records.
    ///
    /// # Errors
    /// The handshake is not over, the connection failed, or its keys are used up.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Scratch) -> Result<(), TlsError> {
        match &mut self.state {
            State::Records(records) => {
                let len = records.sealed_len(plain.len());
                Ok(records.seal(plain, sealed.append(len))?)
            }
            State::Rustls(connection, _) => send(connection, sealed, |traffic, out| traffic.encrypt(plain, out)),
            State::Lost => Err(TlsError::Lost),
        }
    }

    /// Appends a close_notify alert (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// As [`Tls::seal`].
    pub fn seal_close(&mut self, sealed: &mut Scratch) -> Result<(), TlsError> {
        match &mut self.state {
            State::Records(records) => {
                let mut alert = Vec::new();
                records.seal_close(&mut alert)?;
                sealed.append(alert.len()).copy_from_slice(&alert);
                Ok(())
            }
            State::Rustls(connection, _) => send(connection, sealed, |traffic, out| traffic.queue_close_notify(out)),
            State::Lost => Err(TlsError::Lost),
        }
    }

    /// Touches what sealing will need; see [`super::socket::Socket::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        match &self.state {
            State::Records(records) => records.sealed_records() as usize,
            State::Rustls(..) | State::Lost => self.incomplete.len(),
        }
    }

    /// Whether a ticket of an earlier connection shortened the handshake. Known until [`Tls::settle`].
    #[must_use]
    pub fn resumed(&self) -> bool {
        matches!(&self.state, State::Rustls(connection, _)
            if connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }
}

/// Opens what was received; answers how much of it was used.
fn open(
    connection: &mut UnbufferedServerConnection,
    received: &mut [u8],
    plain: &mut Vec<u8>,
    reply: &mut Scratch,
) -> Result<(usize, Progress), TlsError> {
    let mut used = 0;
    let mut peer_closed = false;
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process_tls_records(&mut received[used..]);
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(reply, |out| data.encode(out)),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => peer_closed = true,
            Ok(ConnectionState::BlockedHandshake) => return Ok((used + discard, Progress::Handshaking)),
            Ok(ConnectionState::WriteTraffic(_)) => {
                let progress = if peer_closed { Progress::PeerClosed } else { Progress::Established };
                return Ok((used + discard, progress));
            }
            Ok(ConnectionState::Closed) => return Ok((used + discard, Progress::PeerClosed)),
            // Early data is never offered; what rustls may add later has no place in this protocol.
            Ok(_) => return Err(rustls::Error::General("unexpected TLS state".into()).into()),
            Err(error) => {
                flush(connection, reply);
                return Err(error.into());
            }
        }
        used += discard;
    }
}

/// Collects a failed connection's alert.
fn flush(connection: &mut UnbufferedServerConnection, reply: &mut Scratch) {
    while let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process_tls_records(&mut []).state {
        encode(reply, |out| data.encode(out));
    }
}

/// Appends what `write` seals, and what rustls has to say before it.
fn send(
    connection: &mut UnbufferedServerConnection,
    sealed: &mut Scratch,
    write: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    loop {
        match connection.process_tls_records(&mut []).state? {
            ConnectionState::WriteTraffic(mut traffic) => loop {
                match write(&mut traffic, sealed.free()) {
                    Ok(written) => {
                        sealed.advance(written);
                        return Ok(());
                    }
                    Err(EncryptError::InsufficientSize(need)) => sealed.reserve(need.required_size),
                    Err(EncryptError::EncryptExhausted) => return Err(rustls::Error::EncryptError.into()),
                }
            },
            ConnectionState::EncodeTlsData(mut data) => encode(sealed, |out| data.encode(out)),
            ConnectionState::TransmitTlsData(data) => data.done(),
            _ => return Err(rustls::Error::HandshakeNotComplete.into()),
        }
    }
}

/// Appends what rustls has encoded, making room for it.
fn encode(out: &mut Scratch, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    loop {
        match write(out.free()) {
            Ok(written) => {
                out.advance(written);
                return;
            }
            Err(EncodeError::InsufficientSize(need)) => out.reserve(need.required_size),
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

#[cfg(test)]
mod tests;
