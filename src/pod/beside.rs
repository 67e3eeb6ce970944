//! The threads beside the workers: the API and what is looked at now and then, the questions to a backend, gRPC.
//!
//! None of them ever serves a client's socket. Always holds: each ends with the pod.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, SystemTime},
};

use roomcast_certs::Rotation;
use tokio::{sync::watch, task::LocalSet};

use super::{certificate::certificate, log::Log, start_error::StartError, thread::Phase};
use crate::{
    api::{Api, Grpc},
    compat::Task,
    config::Config,
    hub::Services,
    metrics::Exposition,
};

/// What runs beside the workers: the API, and what is looked at now and then.
pub(super) struct Beside {
    pub(super) api: Api,
    pub(super) internal: Vec<TcpListener>,
    pub(super) log: Log,
    pub(super) services: Arc<Services>,
    pub(super) exposition: Arc<Exposition>,
    pub(super) tasks: Vec<Task>,
    pub(super) certificate: Option<Arc<Rotation>>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Beside {
    pub(super) fn run(mut self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async move {
            for listener in self.internal {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::task::spawn_local(self.api.clone().serve(listener));
            }
            tokio::task::spawn_local(Arc::clone(&self.services.authority).run());
            self.tasks.into_iter().for_each(|start| start());
            let (log, certificate, services) = (self.log, self.certificate, self.services);
            let exposition = self.exposition;
            tokio::task::spawn_local(async move {
                let mut seconds = 0_u64;
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    seconds += 1;
                    log.tick();
                    exposition.upkeep();
                    if let Some(certificate) = &certificate {
                        let now = SystemTime::now();
                        let left = certificate.not_after().duration_since(now).unwrap_or_default();
                        services.metrics.certificate_expires.set(left.as_secs_f64());
                        let age = now.duration_since(certificate.not_before()).unwrap_or_default();
                        services.metrics.certificate_age.set(age.as_secs_f64());
                        services.metrics.certificate_broken.set(f64::from(u8::from(certificate.is_broken())));
                    }
                    if seconds.is_multiple_of(roomcast_certs::POLL_INTERVAL.as_secs())
                        && let Some(certificate) = &certificate
                    {
                        let _ = certificate.poll(SystemTime::now());
                    }
                }
            });
            let _ = self.phase.wait_for(|phase| *phase == Phase::Ended).await;
            Ok(())
        })
    }
}

/// Asks the backend what the workers want to know, until the pod ends.
pub(super) fn ask_backend(services: &Services, mut phase: watch::Receiver<Phase>) -> io::Result<()> {
    let Some(hooks) = &services.hooks else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        tokio::select! {
            () = hooks.run() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => {}
        }
    });
    Ok(())
}

/// Serves gRPC until the pod ends.
pub(super) fn serve_grpc(
    grpc: &Grpc,
    listeners: Vec<TcpListener>,
    door: Option<GrpcDoor>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(grpc.clone().serve(listener, door.as_ref().map(|door| Arc::clone(&door.config))));
        }
        // A certificate of its own has its files looked at like the public one's.
        if let Some(rotation) = door.and_then(|door| door.own) {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(roomcast_certs::POLL_INTERVAL).await;
                    let _ = rotation.poll(SystemTime::now());
                }
            });
        }
        let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
        Ok(())
    })
}

/// How gRPC is spoken to over TLS.
pub(super) struct GrpcDoor {
    config: Arc<rustls::ServerConfig>,
    /// Its certificate, where it is not the public one.
    own: Option<Arc<Rotation>>,
}

pub(super) fn grpc_door(config: &Config, public: Option<&Arc<Rotation>>) -> Result<Option<GrpcDoor>, StartError> {
    let Some(tls) = config.grpc.tls.as_ref().filter(|_| !config.grpc.listen.is_empty()) else { return Ok(None) };
    let (rotation, own) = match public {
        Some(public) if config.tls.as_ref() == Some(tls) => (Arc::clone(public), None),
        _ => {
            let own = certificate(tls)?;
            (Arc::clone(&own), Some(own))
        }
    };
    let mut config = roomcast_certs::server_config(rotation)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(GrpcDoor { config: Arc::new(config), own }))
}
