//! From a QUIC connection to a request for a session: settings both ways, then the CONNECT (RFC 9220, RFC 8441).
//!
//! Always holds: a request is answered once, with a session or a status.

use std::net::SocketAddr;

use http::{HeaderMap, StatusCode};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncReadExt};
use web_transport_proto::{ConnectRequest, ConnectResponse, Settings, StreamUni};

use crate::{error::HandshakeError, session::Session};

/// How many streams of HTTP/3 itself a peer may open before its control stream: QPACK's two, and as many unknown ones.
const MAX_OTHER_STREAMS: usize = 4;

/// A request for a session, as it stands in the bytes of the CONNECT.
#[derive(Debug, Clone)]
pub struct ClientRequest(ConnectRequest);

impl ClientRequest {
    /// Reads the HEADERS frame of a CONNECT (RFC 9114 section 4.4, RFC 9220), and leaves what follows it unread. Frames of
    /// reserved types before it are skipped (RFC 9114 section 7.2.8), up to 64 KiB each.
    ///
    /// # Errors
    /// [`HandshakeError::Connect`]: it asks for no WebTransport session, or its headers take more than 16 KiB.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Self, HandshakeError> {
        Ok(Self(ConnectRequest::read(stream).await?))
    }

    /// The path that it is for. It begins with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.url.path()
    }

    /// The host that it is for, with its port if that is not 443.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.0.url.host_str().unwrap_or_default();
        self.0.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The query behind the path.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.url.query()
    }

    /// The headers, without those of the protocol itself.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The subprotocols that the client offers.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        &self.0.protocols
    }
}

/// A client that asks for a session.
pub struct Request {
    connection: Connection,
    request: ClientRequest,
    send: SendStream,
    recv: RecvStream,
    control: SendStream,
    remote: SmallVec<[RecvStream; 3]>,
}

impl Request {
    /// Exchanges settings and reads the request. The caller sets a deadline.
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
        let request = ClientRequest::read(&mut recv).await?;
        Ok(Self { connection, request, send, recv, control, remote })
    }

    /// The path that it is for. It begins with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// The host that it is for, with its port if that is not 443.
    #[must_use]
    pub fn authority(&self) -> String {
        self.request.authority()
    }

    /// The query behind the path.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.request.query()
    }

    /// The headers, without those of the protocol itself.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The subprotocols that the client offers.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        self.request.protocols()
    }

    /// Where the client is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Accepts. `protocol` is one of those that the client offers. `drop_code`: what the client is told if the session is dropped
    /// without a close.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn accept(mut self, protocol: Option<&str>, drop_code: u32) -> Result<Session, HandshakeError> {
        let mut response = ConnectResponse::new(StatusCode::OK);
        if let Some(protocol) = protocol {
            response = response.with_protocol(protocol);
        }
        response.write(&mut self.send).await?;
        Ok(Session::new(self.connection, self.send, self.recv, self.control, self.remote, drop_code))
    }

    /// Refuses with a status, which a page does not see, and waits until the client has it. The caller sets a deadline.
    pub async fn refuse(mut self, status: StatusCode) {
        if ConnectResponse::new(status).write(&mut self.send).await.is_ok() && self.send.finish().is_ok() {
            // `Ok`: it was read, or the client does not want it.
            let _ = self.send.stopped().await;
        }
        // H3_NO_ERROR (RFC 9114 section 8.1).
        self.connection.close(VarInt::from_u32(0x100), b"");
    }
}

/// What a unidirectional stream of the peer is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerStream {
    /// HTTP/3's control stream. Its settings were read.
    Control {
        /// Whether they allow a WebTransport session.
        webtransport: bool,
    },
    /// Another one, of which one byte was read. HTTP/3's own kinds have one byte each; a stream of an unknown kind is left
    /// unread (RFC 9114 section 6.2).
    Other,
}

/// Reads what a unidirectional stream of the peer is; of the control stream the SETTINGS frame too, which must come first
/// (RFC 9114 section 7.2.4), and nothing behind it.
///
/// # Errors
/// [`HandshakeError::Unsupported`]: the stream is empty. [`HandshakeError::Settings`]: the control stream begins with no
/// settings, or with more than 64 KiB.
pub async fn read_peer_stream<S: AsyncRead + Unpin>(stream: &mut S) -> Result<PeerStream, HandshakeError> {
    let mut kind = [0];
    stream.read_exact(&mut kind).await.map_err(|_| HandshakeError::Unsupported)?;
    let mut rest: &[u8] = &kind;
    if StreamUni::decode(&mut rest).is_ok_and(|kind| kind == StreamUni::CONTROL) {
        let settings = Settings::read(&mut AsyncReadExt::chain(&kind[..], &mut *stream)).await?;
        return Ok(PeerStream::Control { webtransport: settings.supports_webtransport() > 0 });
    }
    Ok(PeerStream::Other)
}

/// Accepts streams until the peer's settings are there. The streams must stay open (RFC 9114 section 6.2.1).
async fn read_settings(connection: &Connection) -> Result<SmallVec<[RecvStream; 3]>, HandshakeError> {
    let mut remote = SmallVec::new();
    while remote.len() <= MAX_OTHER_STREAMS {
        let mut stream = connection.accept_uni().await?;
        let kind = read_peer_stream(&mut stream).await?;
        remote.push(stream);
        match kind {
            PeerStream::Control { webtransport: true } => return Ok(remote),
            PeerStream::Control { webtransport: false } => return Err(HandshakeError::Unsupported),
            PeerStream::Other => {}
        }
    }
    Err(HandshakeError::Unsupported)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(webtransport: bool) -> Vec<u8> {
        let (mut settings, mut bytes) = (Settings::default(), Vec::new());
        if webtransport {
            settings.enable_webtransport(1);
        }
        settings.encode(&mut bytes);
        bytes
    }

    #[tokio::test]
    async fn a_control_stream_is_read_to_the_end_of_its_settings() {
        for (webtransport, rest) in [(true, &b"rest"[..]), (false, b"")] {
            let bytes = [&settings(webtransport), rest].concat();
            let mut stream = &bytes[..];
            assert_eq!(read_peer_stream(&mut stream).await.unwrap(), PeerStream::Control { webtransport });
            assert_eq!(stream, rest);
        }
        // QPACK's encoder stream, and a kind of two bytes: one byte is read.
        for bytes in [&[2, 9][..], &[0x54, 0x41, 9]] {
            let mut stream = bytes;
            assert_eq!(read_peer_stream(&mut stream).await.unwrap(), PeerStream::Other);
            assert_eq!(stream, &bytes[1..]);
        }
        assert!(matches!(read_peer_stream(&mut &b""[..]).await, Err(HandshakeError::Unsupported)));
        // GOAWAY instead of SETTINGS.
        assert!(matches!(read_peer_stream(&mut &[0, 7, 1, 0][..]).await, Err(HandshakeError::Settings(_))));
    }

    #[tokio::test]
    async fn a_request_has_a_path_a_query_and_protocols() {
        let url = url::Url::parse("https://example.com:4433/news?token=x").unwrap();
        let mut bytes = Vec::new();
        ConnectRequest::new(url).with_protocols(["a".to_owned(), "b".to_owned()]).encode(&mut bytes).unwrap();
        let whole = bytes.len();
        bytes.extend_from_slice(b"rest");
        let mut stream = &bytes[..];
        let request = ClientRequest::read(&mut stream).await.unwrap();
        assert_eq!((request.path(), request.query()), ("/news", Some("token=x")));
        assert_eq!(request.authority(), "example.com:4433");
        assert_eq!((request.protocols(), request.headers().len()), (&["a".to_owned(), "b".to_owned()][..], 0));
        assert_eq!(stream, b"rest");
        for cut in 0..whole {
            let error = ClientRequest::read(&mut &bytes[..cut]).await.unwrap_err();
            assert!(matches!(error, HandshakeError::Connect(_)), "cut at {cut}: {error}");
        }
    }
}
