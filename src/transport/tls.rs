//! The TLS seam: opens what was received into the worker's buffer, seals what is sent into the worker's scratch.
//!
//! Owns one connection's keys and the bytes of an incomplete record, nothing else: between records a connection holds no
//! buffer. Never touches a socket. Always holds: bytes given to [`Tls::seal`] leave in the order of the calls.
//!
//! The handshake is rustls' (its unbuffered API); once a TLS 1.3 connection is established its records are ours, see
//! [`Records`] for why. TLS 1.2 stays with rustls.

use std::sync::Arc;

use rustls::{
    ProtocolVersion, ServerConfig,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

use super::{
    record::{Progress, Records},
    scratch::Scratch,
};

/// The largest record on the wire (RFC 8446 section 5.2, RFC 5246 section 6.2.3): what an incomplete one may hold.
pub const MAX_RECORD: usize = 5 + 16_384 + 2_048;

/// A handshake message may span records, so that a little more than a record may be incomplete.
pub const MAX_INCOMPLETE: usize = 64 * 1024;

/// One TLS server connection, 1.2 or newer.
///
/// ```text
///   Rustls ──settle: established, TLS 1.3──▶ Records
///     └──── TLS 1.2 stays
/// ```
pub struct Tls(State);

enum State {
    Rustls(Box<Rustls>),
    Records(Records),
    /// The change of hands failed: every use is an error.
    Lost,
}

struct Rustls {
    connection: UnbufferedServerConnection,
    incomplete: Vec<u8>,
}

impl Tls {
    /// A connection that waits for a ClientHello.
    ///
    /// # Errors
    /// rustls refuses a configuration that cannot work.
    pub fn accept(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self(State::Rustls(Box::new(Rustls { connection, incomplete: Vec::new() }))))
    }

    /// Makes an established connection small: its records become ours, rustls keeps only the key schedule. Does nothing
    /// for TLS 1.2, or where the configuration does not let secrets out.
    ///
    /// # Errors
    /// rustls cannot let go of the connection, which is lost then.
    pub fn settle(&mut self) -> Result<(), rustls::Error> {
        let settles = matches!(&self.0, State::Rustls(rustls)
            if !rustls.connection.is_handshaking()
                && rustls.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3));
        if !settles {
            return Ok(());
        }
        if let State::Rustls(rustls) = std::mem::replace(&mut self.0, State::Lost) {
            let Rustls { connection, incomplete } = *rustls;
            self.0 = State::Records(Records::take_over(connection, incomplete)?);
        }
        Ok(())
    }

    /// How many bytes of an incomplete record are kept.
    #[must_use]
    pub fn incomplete(&self) -> usize {
        match &self.0 {
            State::Rustls(rustls) => rustls.incomplete.len(),
            State::Records(records) => records.incomplete.len(),
            State::Lost => 0,
        }
    }

    /// Moves the incomplete record's bytes to the front of `buffer`: what was read since stands behind them.
    pub fn restore(&mut self, buffer: &mut [u8]) {
        let kept = match &mut self.0 {
            State::Rustls(rustls) => std::mem::take(&mut rustls.incomplete),
            State::Records(records) => std::mem::take(&mut records.incomplete),
            State::Lost => return,
        };
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
        reply: &mut Scratch,
    ) -> Result<Progress, rustls::Error> {
        match &mut self.0 {
            State::Rustls(rustls) => rustls.open(received, plain, reply),
            State::Records(records) => records.open(received, plain, reply),
            State::Lost => Err(lost()),
        }
    }

    /// Appends `plain` to `sealed` as records.
    ///
    /// # Errors
    /// The handshake is not over, the connection failed, or its keys are used up.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Scratch) -> Result<(), rustls::Error> {
        match &mut self.0 {
            State::Records(records) => records.seal(plain, sealed),
            State::Rustls(rustls) => rustls.send(sealed, |traffic, out| traffic.encrypt(plain, out)),
            State::Lost => Err(lost()),
        }
    }

    /// Appends a close_notify alert (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// As [`Tls::seal`].
    pub fn seal_close(&mut self, sealed: &mut Scratch) -> Result<(), rustls::Error> {
        match &mut self.0 {
            State::Records(records) => records.seal_close(sealed),
            State::Rustls(rustls) => rustls.send(sealed, |traffic, out| traffic.queue_close_notify(out)),
            State::Lost => Err(lost()),
        }
    }

    /// Touches what sealing will need; see [`super::socket::Socket::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        match &self.0 {
            State::Records(records) => records.warm(),
            State::Rustls(rustls) => rustls.incomplete.len(),
            State::Lost => 0,
        }
    }

    /// Whether a ticket of an earlier connection shortened the handshake. Known until [`Tls::settle`].
    #[must_use]
    pub fn resumed(&self) -> bool {
        matches!(&self.0, State::Rustls(rustls)
            if rustls.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }
}

fn lost() -> rustls::Error {
    rustls::Error::General("the connection was lost when it was settled".into())
}

impl Rustls {
    fn open(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Scratch,
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
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(reply, |out| data.encode(out)),
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
        let rest = received.get(used..).unwrap_or_default();
        if !rest.is_empty() && progress != Progress::PeerClosed {
            self.incomplete = rest.to_vec();
        }
        Ok(progress)
    }

    /// Collects a failed connection's alert.
    fn flush(&mut self, reply: &mut Scratch) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(&mut []).state {
            encode(reply, |out| data.encode(out));
        }
    }

    fn send(
        &mut self,
        sealed: &mut Scratch,
        write: impl Fn(
            &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
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
                ConnectionState::EncodeTlsData(mut data) => encode(sealed, |out| data.encode(out)),
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(rustls::Error::HandshakeNotComplete),
            }
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
