//! What goes wrong before there is a session.

use quinn::ConnectionError;
use web_transport_proto::ConnectError;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A stream could not be written.
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    /// The peer's settings are none.
    #[error("HTTP/3 settings: {0}")]
    Settings(#[from] web_transport_proto::SettingsError),
    /// The peer does not speak WebTransport, or opened no control stream.
    #[error("the peer does not speak WebTransport")]
    Unsupported,
    /// The request is none for WebTransport.
    #[error("CONNECT: {0}")]
    Connect(#[from] ConnectError),
}
