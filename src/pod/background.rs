//! The threads beside the workers: the API with the pod's background tasks, and the questions to a backend.
//!
//! Never serves a client's socket. Always holds: each ends with the pod.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use roomcast_certs::Rotation;
use tokio::{sync::watch, task::LocalSet};

use super::{
    entrance::waiting_limit,
    first_packet::most_handshakes,
    log::Log,
    phase::{Phase, end_of},
    shared_keys::SharedKeys,
};
use crate::{
    api::Api,
    compat::Task,
    hub::{AbsentTeller, AuthorTeller, PlaceRounds, Readiness, Reason, Services, millis},
    metrics::Exposition,
};

/// What one thread runs beside the workers: the API, and what is looked at once a second.
pub(super) struct Background {
    pub(super) api: Api,
    pub(super) internal: Vec<TcpListener>,
    pub(super) log: Log,
    pub(super) services: Arc<Services>,
    pub(super) exposition: Arc<Exposition>,
    pub(super) tasks: Vec<Task>,
    /// Those of all listeners.
    pub(super) certificates: Vec<Arc<Rotation>>,
    pub(super) keys: Arc<SharedKeys>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Background {
    pub(super) fn run(mut self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = LocalSet::new().block_on(&runtime, async move {
            for listener in self.internal {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::task::spawn_local(self.api.clone().serve(listener));
            }
            tokio::task::spawn_local(Arc::clone(&self.services.authority).run());
            self.tasks.into_iter().for_each(|start| start());
            if let Some(presence) = self.services.user_presence.clone() {
                tokio::task::spawn_local(async move { presence.run().await });
            }
            let (log, certificates, services, api) = (self.log, self.certificates, self.services, self.api);
            let keys = self.keys;
            let exposition = self.exposition;
            tokio::task::spawn_local(watch_memory(Arc::clone(&services)));
            let (keeper, teller) = (Arc::clone(&services), Arc::clone(&services));
            let keeping = tokio::task::spawn_local(async move { keeper.keep_acks().await });
            let telling = tokio::task::spawn_local(async move { AuthorTeller(&teller).run().await });
            let counting = {
                let rounds = PlaceRounds(Arc::clone(&services));
                tokio::task::spawn_local(async move { rounds.run().await })
            };
            let absent = tokio::task::spawn_local({
                let teller = AbsentTeller(Arc::clone(&services));
                async move { teller.run().await }
            });
            let last = Arc::clone(&services);
            tokio::task::spawn_local(async move {
                let mut seconds = 0_u64;
                // Before the first call is answered.
                show_limits(&services);
                show_certificates(&services, &certificates);
                api.look();
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    seconds += 1;
                    log.tick();
                    exposition.upkeep();
                    show_limits(&services);
                    show_certificates(&services, &certificates);
                    api.look();
                    if seconds.is_multiple_of(roomcast_certs::POLL_INTERVAL.as_secs()) {
                        for certificate in &certificates {
                            let _ = certificate.poll(SystemTime::now());
                        }
                        keys.poll(SystemTime::now());
                    }
                    if let Some(tickets) = keys.tickets() {
                        services.metrics.ticket_keys_broken.set(f64::from(u8::from(tickets.is_broken())));
                    }
                }
            });
            let by = end_of(&mut self.phase).await;
            keeping.abort();
            counting.abort();
            absent.abort();
            let _ = (keeping.await, counting.await, absent.await);
            let (rounds, teller) = (PlaceRounds(Arc::clone(&last)), AbsentTeller(Arc::clone(&last)));
            tokio::join!(last.keep_last_acks(telling, by), rounds.run_last(by), teller.run_last(by));
            Ok(())
        });
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
        ended
    }
}

/// Reads how much memory the process uses: once a second, and more often where it is short of it.
async fn watch_memory(services: Arc<Services>) {
    loop {
        services.memory.look(millis(services.began.elapsed()), &services.budget, services.gate.connections());
        tokio::time::sleep(Duration::from_millis(if services.memory.is_near() { 100 } else { 1_000 })).await;
    }
}

/// Shows the limits that are the same for all workers, and says which begin or end to bite.
fn show_limits(services: &Services) {
    let (pressures, sockets) = (&services.metrics.pressures, &services.sockets);
    pressures.files.show(sockets.taken(), sockets.limit());
    pressures.memory.show(services.budget.held(), services.budget.limit());
    pressures.process_memory.show(services.memory.used(), services.memory.mark());
    pressures.connections.show(services.gate.connections(), services.config.load().max_connections);
    pressures.waiting.show_limit(waiting_limit(services.config.load().max_connections, sockets.limit()));
    pressures.quic_handshakes.show_limit(most_handshakes(services.config.load().max_connections));
    pressures.tick();
    services.metrics.show_degraded(|reason| match reason {
        // Also of a pod that is ready, where a reload has named a key set that does not come.
        "starting" => !services.authority.is_ready() || Readiness::of(services) == Readiness::Starting,
        reason => Reason::ALL.iter().any(|one| one.as_str() == reason && one.holds(services)),
    });
}

/// Shows how old the certificate is that ends first, and whether the newest file of any is unusable. All are 0 only where there is none.
fn show_certificates(services: &Services, certificates: &[Arc<Rotation>]) {
    let (metrics, now) = (&services.metrics, SystemTime::now());
    let Some(first) = certificates.iter().min_by_key(|certificate| certificate.not_after()) else { return };
    metrics.certificate_expires.set(seconds_until(first.not_after(), now));
    metrics.certificate_age.set(seconds_until(now, first.not_before()).max(0.0));
    let is_broken = certificates.iter().any(|certificate| certificate.is_broken());
    metrics.certificate_broken.set(f64::from(u8::from(is_broken)));
}

/// From `now` to `end`; below 0, once it is over.
fn seconds_until(end: SystemTime, now: SystemTime) -> f64 {
    match end.duration_since(now) {
        Ok(left) => left.as_secs_f64(),
        Err(over) => -over.duration().as_secs_f64(),
    }
}

/// Starts the thread that asks the backend, if there is one.
pub(super) fn start_hooks(
    services: &Arc<Services>,
    phase: watch::Receiver<Phase>,
) -> io::Result<Option<JoinHandle<()>>> {
    if services.hooks.is_none() {
        return Ok(None);
    }
    let services = Arc::clone(services);
    let thread = std::thread::Builder::new().name("hooks".into()).spawn(move || {
        if let Err(error) = ask_backend(&services, phase) {
            tracing::error!(%error, "the hooks could not start");
        }
    })?;
    Ok(Some(thread))
}

/// Asks the backend what the workers want to know, until the pod ends.
fn ask_backend(services: &Services, mut phase: watch::Receiver<Phase>) -> io::Result<()> {
    let Some(hooks) = &services.hooks else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        tokio::select! {
            () = hooks.run() => {}
            _ = end_of(&mut phase) => {}
        }
    });
    runtime.shutdown_background();
    Ok(())
}
