//! What carries a connection's bytes: a socket of its own, the streams of a session, or a mailbox whose client comes and
//! fetches.
//!
//! Never knows a room or a session. Always holds: what a write did not take is handed back, and leaves first.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use crate::{
    hub::connection::{mailbox::Mailbox, streams::Streams},
    model::Disconnect,
    protocol::Framing,
    transport::{
        scratch::Scratch,
        socket::{Socket, Written},
        websocket::{self, Reader, Role},
    },
};

/// What carries a connection's bytes. The socket stands inline: a fan-out touches it for each receiver.
#[expect(
    clippy::large_enum_variant,
    reason = "most connections are WebSockets, and a box is a cache miss for each receiver"
)]
pub enum ClientTransport {
    /// A WebSocket.
    WebSocket {
        /// The socket.
        socket: Socket,
        /// What is incomplete of a message.
        reader: Reader,
    },
    /// A WebTransport session: streams with queues of their own.
    WebTransport(Box<Streams>),
    /// Nothing of its own: what is said waits in the connection's queue until requests fetch it.
    Mailbox(Box<Mailbox>),
}

impl ClientTransport {
    /// A WebSocket whose handshake is over.
    #[must_use]
    pub fn websocket(socket: Socket, framing: Framing) -> Self {
        Self::WebSocket { socket, reader: Reader::new(Role::Server, framing.compression().is_some()) }
    }

    /// Its name, for the API and the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::WebSocket { .. } => "websocket",
            Self::WebTransport(_) => "webtransport",
            Self::Mailbox(mailbox) => mailbox.transport,
        }
    }

    /// Whether TLS ends at this pod.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::WebSocket { socket, .. } => socket.is_tls(),
            Self::WebTransport(_) => true,
            Self::Mailbox(mailbox) => mailbox.tls,
        }
    }

    /// Whether presence shows its client.
    #[must_use]
    pub fn attends(&self) -> bool {
        match self {
            Self::WebSocket { .. } | Self::WebTransport(_) => true,
            Self::Mailbox(mailbox) => mailbox.attends(),
        }
    }

    /// The bytes that the reader holds, and whether a message has begun and not ended.
    #[must_use]
    pub fn incomplete(&self) -> (usize, bool) {
        match self {
            Self::WebSocket { reader, .. } => (reader.held_bytes(), reader.is_mid_message()),
            Self::WebTransport(streams) => (streams.reader.held_bytes(), streams.reader.held_bytes() > 0),
            Self::Mailbox(_) => (0, false),
        }
    }

    /// Where the client is.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::WebSocket { socket, .. } => socket.client(),
            Self::WebTransport(streams) => Some(streams.address()),
            Self::Mailbox(mailbox) => mailbox.address,
        }
    }

    /// Writes framed bytes. Only for when nothing is left of an earlier write. Streams are not written here: they queue by
    /// themselves.
    ///
    /// # Errors
    /// The socket failed.
    #[inline]
    pub fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<Written> {
        match self {
            Self::WebSocket { socket, .. } => socket.write(bytes, scratch),
            Self::WebTransport(_) | Self::Mailbox(_) => Ok(Written::Rest(bytes.to_vec())),
        }
    }

    /// Writes what an earlier write did not take.
    ///
    /// # Errors
    /// The socket failed.
    pub fn write_rest(&mut self, rest: Vec<u8>) -> io::Result<Written> {
        match self {
            Self::WebSocket { socket, .. } => socket.write_sealed(&rest),
            Self::WebTransport(_) | Self::Mailbox(_) => Ok(Written::Rest(rest)),
        }
    }

    /// Polls for space to write; a mailbox takes nothing, its client fetches.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::WebSocket { socket, .. } => socket.poll_writable(cx),
            Self::WebTransport(_) | Self::Mailbox(_) => Poll::Pending,
        }
    }

    /// Touches what a write will need; see [`Socket::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        match self {
            Self::WebSocket { socket, .. } => socket.warm(),
            Self::WebTransport(_) | Self::Mailbox(_) => 0,
        }
    }

    /// What tells the client that it is closed and why, where bytes do.
    #[must_use]
    pub fn goodbye(&self, disconnect: Disconnect) -> Option<Vec<u8>> {
        match self {
            Self::WebSocket { .. } => {
                let mut frame = Vec::new();
                websocket::close_frame(disconnect.code(), disconnect.reason(), &mut frame);
                Some(frame)
            }
            Self::WebTransport(_) | Self::Mailbox(_) => None,
        }
    }

    /// What asks a silent client for a sign of life, where bytes do.
    #[must_use]
    pub fn ping(&self) -> Option<Vec<u8>> {
        match self {
            Self::WebSocket { .. } => {
                let mut frame = Vec::new();
                websocket::ping_frame(b"", &mut frame);
                Some(frame)
            }
            Self::WebTransport(_) | Self::Mailbox(_) => None,
        }
    }

    /// Whether the transport itself ends when nothing is heard: QUIC does, by its own time-out and PINGs.
    #[must_use]
    pub fn minds_silence(&self) -> bool {
        matches!(self, Self::WebTransport(_))
    }

    /// Stops sending. Best effort: the peer may be gone.
    pub fn shut_down(&mut self, scratch: &mut Scratch) {
        match self {
            Self::WebSocket { socket, .. } => socket.shut_down(scratch),
            // Closing has done it.
            Self::WebTransport(_) => {}
            Self::Mailbox(mailbox) => mailbox.wake(),
        }
    }
}
