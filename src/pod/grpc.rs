//! The thread that serves gRPC, and the TLS of its listeners.
//!
//! Never serves a client's socket. Always holds: it ends with the pod.

use std::{io, net::TcpListener, sync::Arc};

use roomcast_certs::{Rotation, TicketKeys};
use tokio::sync::watch;

use super::{
    certificate::{certificate, with_tickets},
    phase::{Phase, end_of},
    start_error::StartError,
};
use crate::{api::Grpc, config::Config};

/// Serves gRPC until the pod ends.
pub(super) fn serve_grpc(
    grpc: &Grpc,
    listeners: Vec<TcpListener>,
    tls: Option<GrpcTls>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(grpc.clone().serve(listener, tls.as_ref().map(|tls| Arc::clone(&tls.config))));
        }
        end_of(&mut phase).await;
        Ok(())
    })
}

/// How gRPC is spoken to over TLS.
pub(super) struct GrpcTls {
    config: Arc<rustls::ServerConfig>,
    /// Its certificate, where it is not the public one: its files are looked at like that one's.
    pub(super) own: Option<Arc<Rotation>>,
}

/// What handshakes on the gRPC listeners are made with; `None`: these listen without TLS, or there are none.
pub(super) fn grpc_tls(
    config: &Config,
    public: Option<&Arc<Rotation>>,
    ticket_keys: Option<&Arc<TicketKeys>>,
) -> Result<Option<GrpcTls>, StartError> {
    let Some(tls) = config.grpc.tls.as_ref().filter(|_| !config.grpc.listen.is_empty()) else { return Ok(None) };
    let (rotation, own) = match public {
        Some(public) if config.tls.as_ref() == Some(tls) => (Arc::clone(public), None),
        _ => {
            let own = certificate(tls)?;
            (Arc::clone(&own), Some(own))
        }
    };
    let mut config = with_tickets(roomcast_certs::server_config(rotation)?, ticket_keys, "grpc")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(GrpcTls { config: Arc::new(config), own }))
}
