//! From a QUIC connection to a request for a session: settings both ways, then the CONNECT (RFC 9220, RFC 8441).
//!
//! Always holds: a request is answered once, with a session or a status.

use std::net::SocketAddr;

use http::{HeaderMap, StatusCode};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use smallvec::SmallVec;
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Settings, StreamUni};

use super::session::Session;

/// How many streams of HTTP/3 itself a peer may open before its control stream: QPACK's two and as many unknown ones.
const MAX_OTHER_STREAMS: usize = 4;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A stream could not be written.
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    /// The peer's settings.
    #[error("HTTP/3 settings: {0}")]
    Settings(#[from] web_transport_proto::SettingsError),
    /// The peer does not speak WebTransport, or no control stream came.
    #[error("the peer does not speak WebTransport")]
    Unsupported,
    /// The request is none for WebTransport.
    #[error("CONNECT: {0}")]
    Connect(#[from] ConnectError),
}

/// A client that asks for a session.
pub struct Request {
    connection: Connection,
    request: ConnectRequest,
    send: SendStream,
    recv: RecvStream,
    control: SendStream,
    remote: SmallVec<[RecvStream; 3]>,
}

impl Request {
    /// Exchanges settings and reads the request.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is of no use then.
    pub async fn read(connection: Connection) -> Result<Self, HandshakeError> {
        let mut control = connection.open_uni().await?;
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        settings.write(&mut control).await?;
        let remote = read_settings(&connection).await?;
        let (send, mut recv) = connection.accept_bi().await?;
        let request = ConnectRequest::read(&mut recv).await?;
        Ok(Self { connection, request, send, recv, control, remote })
    }

    /// The path that it is for.
    #[must_use]
    pub fn path(&self) -> &str {
        self.request.url.path()
    }

    /// The query behind the path.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.request.url.query()
    }

    /// The headers, without those of the protocol itself.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// Where the client is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The subprotocols that the client offers.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        &self.request.protocols
    }

    /// Accepts. `protocol`: one of those that were offered.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn accept(mut self, protocol: Option<&str>) -> Result<Session, HandshakeError> {
        let mut response = ConnectResponse::new(StatusCode::OK);
        if let Some(protocol) = protocol {
            response = response.with_protocol(protocol);
        }
        response.write(&mut self.send).await?;
        Ok(Session::new(self.connection, self.send, self.recv, self.control, self.remote))
    }

    /// Refuses with a status, which a page does not see, and waits until the client has heard it.
    pub async fn refuse(mut self, status: StatusCode) {
        if ConnectResponse::new(status).write(&mut self.send).await.is_ok() && self.send.finish().is_ok() {
            // `Ok`: it was read, or the client does not want it. The caller's deadline bounds this.
            let _ = self.send.stopped().await;
        }
        // H3_NO_ERROR (RFC 9114 section 8.1).
        self.connection.close(VarInt::from_u32(0x100), b"");
    }
}

/// Accepts streams until the peer's settings are there. The streams must stay open (RFC 9114 section 6.2.1).
async fn read_settings(connection: &Connection) -> Result<SmallVec<[RecvStream; 3]>, HandshakeError> {
    let mut remote = SmallVec::new();
    while remote.len() <= MAX_OTHER_STREAMS {
        let mut stream = connection.accept_uni().await?;
        let mut kind = [0];
        // All kinds that HTTP/3 defines have one byte; an unknown one is left unread (RFC 9114 section 6.2).
        stream.read_exact(&mut kind).await.map_err(|_| HandshakeError::Unsupported)?;
        let mut rest: &[u8] = &kind;
        if StreamUni::decode(&mut rest).is_ok_and(|kind| kind == StreamUni::CONTROL) {
            let settings = Settings::read(&mut tokio::io::AsyncReadExt::chain(&kind[..], &mut stream)).await?;
            remote.push(stream);
            return if settings.supports_webtransport() > 0 { Ok(remote) } else { Err(HandshakeError::Unsupported) };
        }
        remote.push(stream);
    }
    Err(HandshakeError::Unsupported)
}
