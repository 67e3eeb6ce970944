//! The certificate of a listener and the keys of its tickets, renewed while the pod runs.

use std::{sync::Arc, time::SystemTime};

use roomcast_certs::{Rotation, RotationError, Source, TicketKeys};

use crate::config::{Config, Tls};

/// The certificate of `tls`, loaded or made.
pub(super) fn certificate(tls: &Tls) -> Result<Arc<Rotation>, RotationError> {
    let source = match tls {
        Tls::Files { cert, key } => Source::Files { cert: cert.clone(), key: key.clone() },
        Tls::Development { state_dir } => Source::Development { dir: state_dir.clone() },
    };
    Ok(Arc::new(Rotation::start(source, SystemTime::now())?))
}

/// The hashes of the development certificate and, while it is being replaced, of the one before. A page must not pin a
/// certificate from files: an authority signed it, and it lives longer than a pinned one may.
pub(super) fn pins(certificate: Arc<Rotation>) -> Box<dyn Fn() -> Vec<[u8; 32]> + Send + Sync> {
    Box::new(move || match certificate.kept() {
        Some(_) => [Some(certificate.current()), certificate.previous()].iter().flatten().map(|c| c.sha256()).collect(),
        None => Vec::new(),
    })
}

/// The TLS of `listen`.
pub(super) fn public_tls(
    rotation: &Arc<Rotation>,
    keys: Option<&Arc<TicketKeys>>,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let resolver: Arc<Rotation> = Arc::clone(rotation);
    with_tickets(roomcast_certs::server_config(resolver)?, keys, "public")
}

/// The TLS of WebTransport.
pub(super) fn quic_tls(
    rotation: &Arc<Rotation>,
    keys: Option<&Arc<TicketKeys>>,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let resolver: Arc<Rotation> = Arc::clone(rotation);
    with_tickets(roomcast_certs::quic_server_config(resolver)?, keys, "webtransport")
}

/// The TLS of the listeners of edges; `None`: they listen without it, or there are none.
pub(super) fn relay_tls(
    config: &Config,
    public: Option<&Arc<Rotation>>,
    keys: Option<&Arc<TicketKeys>>,
) -> Result<Option<Arc<rustls::ServerConfig>>, rustls::Error> {
    let is_on = config.relay.tls && !config.relay.listen.is_empty();
    let Some(rotation) = public.filter(|_| is_on) else { return Ok(None) };
    let resolver: Arc<Rotation> = Arc::clone(rotation);
    Ok(Some(Arc::new(with_tickets(roomcast_certs::server_config(resolver)?, keys, "relay")?)))
}

/// The TLS of a kind of listener whose tickets have shared keys, if there are any.
pub(super) fn with_tickets(
    mut tls: rustls::ServerConfig,
    keys: Option<&Arc<TicketKeys>>,
    listener: &'static str,
) -> Result<rustls::ServerConfig, rustls::Error> {
    if let Some(keys) = keys {
        keys.share(&mut tls, listener)?;
    }
    Ok(tls)
}
