//! Why a pod did not start.

use std::{io, net::SocketAddr};

use roomcast_certs::{RotationError, TicketKeyError};

use super::client_file::ClientFileError;
use crate::{
    archive::ArchiveStartError,
    auth::KeyError,
    broker::BrokerError,
    compat::ExtensionError,
    protocol::MountError,
    traces::ExporterError,
    transport::{fetch::FetchError, trust::TrustError, webtransport::ConnectionIdKeyError},
};

/// Why a pod did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] RotationError),
    /// The keys of TLS tickets.
    #[error(transparent)]
    TicketKeys(#[from] TicketKeyError),
    /// The keys of tokens.
    #[error(transparent)]
    Tokens(#[from] KeyError),
    /// rustls refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Two dialects in one place.
    #[error("a dialect cannot be mounted: {0}")]
    Dialect(#[from] MountError),
    /// An address cannot be listened on for WebTransport.
    #[error(
        "cannot listen on {address} over UDP, for WebTransport: {error}; `webtransport.enabled = false` leaves it out"
    )]
    ListenUdp {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// QUIC refuses the TLS settings.
    #[error("QUIC cannot be set up: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The keys of QUIC connection IDs.
    #[error(transparent)]
    ConnectionIds(#[from] ConnectionIdKeyError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveStartError),
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// What a customer's system needs beside the core.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// The Socket.IO client for browsers.
    #[error(transparent)]
    ClientFile(#[from] ClientFileError),
    /// The CA certificates of Redis.
    #[error("Redis cannot be trusted: {0}")]
    Trust(#[from] TrustError),
    /// The CA certificates of the home.
    #[error("the home cannot be trusted: {0}")]
    Home(TrustError),
    /// The CA certificates of the backend that decides.
    #[error("the hooks cannot be set up: {0}")]
    Hooks(#[from] FetchError),
    /// The traces.
    #[error(transparent)]
    Traces(#[from] ExporterError),
    /// The operating system gives no thread or event loop.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The contracts of gRPC cannot be read.
    #[error("gRPC cannot be set up: {0}")]
    Grpc(#[from] tonic_reflection::server::Error),
    /// The metrics cannot be set up.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}
