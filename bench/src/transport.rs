//! What a receiver connects over.

/// What connections are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// WebSocket over TLS over TCP.
    Websocket,
    /// WebTransport over QUIC over UDP.
    Webtransport,
}
