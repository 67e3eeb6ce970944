//! The composition root: builds everything, in the order in which it depends on each other, and takes it down again.
//!
//! Start: certificate, listeners (so that a taken port is known before anything runs), broker, workers, API. Stop, on
//! SIGTERM: not ready; wait for balancers to notice; listeners close; clients are sent away over the window; end.

mod accept;
mod admission;
mod answer_body;
mod archiving;
mod ask;
mod authorize;
mod background;
mod certificate;
mod client_address;
mod client_file;
mod cross_origin;
mod dialects;
mod edges;
mod ending;
mod engine;
mod entrance;
mod event_stream;
mod far_sessions;
mod fetching;
mod files;
mod first_packet;
mod grpc;
mod handshake;
mod home;
mod http;
mod last_steps;
mod listening;
mod log;
mod messages;
mod neighbours;
mod page;
mod page_file;
mod page_origin;
mod phase;
mod poll;
mod refusal;
mod request_body;
mod requested_rooms;
mod run;
mod send;
mod session_key;
mod shared_keys;
mod start_error;
mod status_page;
mod thread;
mod traces;
mod upgrade;
mod webtransport;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use roomcast_certs::Rotation;
use tokio::sync::{mpsc::channel, watch};

use crate::{
    api::{Api, Grpc},
    auth::Authority,
    broker::Deliver,
    compat::{self, Extensions, Route, Routes},
    config::Config,
    hooks::{AbsentHook, Hooks},
    hub::{
        AbsentDesk, AckDesk, AuthorNotes, Budget, ClientAddresses, EventIndex, Gate, PlaceDesk, ProcessMemory, Quic,
        Recoveries, Senders, Services, SessionPods, SharedWindows, Spokesman, WorkerQueues,
    },
    metrics::{AbsentMetrics, Exposition},
    protocol::Dialects,
    session::UnusedSessions,
    transport::{
        listen::{SocketOptions, listen},
        places::SocketPlaces,
        webtransport::server_config,
    },
};
use archiving::Archiving;
use background::{Background, start_hooks};
use certificate::{certificate, pins, public_tls, quic_tls, relay_tls};
use client_file::ClientFile;
use edges::serve_edges;
pub use files::{Reads, read_files};
use grpc::{grpc_tls, serve_grpc};
use handshake::Listener;
use home::{Homestead, HubSeams, tree};
use listening::{bind_quic, listen_on_all, raise_open_files, reserve_all};
use log::Log;
use phase::Phase;
pub use run::serve;
use session_key::session_key;
use shared_keys::SharedKeys;
pub use start_error::StartError;
use thread::Thread;
use webtransport::Endpoints;

/// Where a pod listens, ports resolved.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// With TLS.
    pub tls: Vec<SocketAddr>,
    /// WebTransport, over UDP.
    pub quic: Vec<SocketAddr>,
    /// Without.
    pub plain: Vec<SocketAddr>,
    /// API, health, metrics.
    pub internal: Vec<SocketAddr>,
    /// The API over gRPC.
    pub grpc: Vec<SocketAddr>,
    /// Edges.
    pub relay: Vec<SocketAddr>,
}

/// A running pod.
pub struct Pod {
    addresses: Addresses,
    services: Arc<Services>,
    api: Api,
    certificate: Option<Arc<Rotation>>,
    keys: Arc<SharedKeys>,
    endpoints: Vec<quinn::Endpoint>,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
}

impl Pod {
    /// Starts a pod. When it returns, connections are accepted.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let dialects = dialects::of(&config)?;
        Self::start_with(config, dialects)
    }

    /// Starts a pod that speaks other dialects.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start_with(config: Config, dialects: Dialects) -> Result<Self, StartError> {
        let sockets = Arc::new(SocketPlaces::of(raise_open_files()));
        let certificate = config.tls.as_ref().map(certificate).transpose()?;
        let keys = Arc::new(SharedKeys::start(&config)?);
        let workers = config.workers;
        let names: Vec<&str> = dialects.ids().map(|id| &**dialects.name(id)).collect();
        let (exposition, mut metrics) = Exposition::new(workers, &names)?;
        let Extensions { observer, plain_messages, routes, grpc_services, tasks } =
            compat::extensions(&config, &exposition)?;
        metrics.observer = observer;
        let exposition = Arc::new(exposition);
        let client_file = ClientFile::of(&config)?.map(|file| Arc::new(file) as Arc<dyn Route>);
        let routes: Routes = routes.into_iter().chain(client_file).collect();
        let with_tls = match &certificate {
            Some(rotation) => {
                let tls = Some((Arc::new(public_tls(rotation, keys.tickets())?), config.tls_records));
                Some(Listener { tls, routes: Arc::clone(&routes) })
            }
            None => None,
        };
        let authority = Authority::new(&config.tokens)?;
        let options =
            SocketOptions { send_buffer: config.socket.send_buffer, notsent_lowat: config.socket.notsent_lowat };
        let mut addresses = Addresses::default();
        let mut listeners: Vec<Vec<(TcpListener, Listener)>> = (0..workers).map(|_| Vec::new()).collect();
        for (binds, bound, spoken) in [
            (&config.listen, &mut addresses.tls, with_tls),
            (&config.plain_listen, &mut addresses.plain, Some(Listener { tls: None, routes })),
        ] {
            let Some(spoken) = spoken else { continue };
            for address in reserve_all(binds)? {
                for own in &mut listeners {
                    let listener = listen(address, &options).map_err(|error| StartError::Listen { address, error })?;
                    own.push((listener, spoken.clone()));
                }
                bound.push(address);
            }
        }
        let quic = match &certificate {
            Some(rotation) if config.webtransport.enabled => {
                let sockets = bind_quic(&addresses.tls, config.webtransport.socket_buffer)?;
                addresses.quic.clone_from(&addresses.tls);
                let tls = quic_tls(rotation, keys.tickets())?;
                Some((sockets, server_config(tls, &(&config.webtransport).into())?))
            }
            _ => None,
        };
        let internal = listen_on_all(&config.internal_listen, &mut addresses.internal)?;
        let grpc_tls = grpc_tls(&config, certificate.as_ref(), keys.tickets())?;
        let grpc_listeners = listen_on_all(&config.grpc.listen, &mut addresses.grpc)?;
        let edge_listeners = listen_on_all(&config.relay.listen, &mut addresses.relay)?;
        let own = grpc_tls.as_ref().and_then(|tls| tls.own.as_ref());
        let certificates: Vec<_> = certificate.iter().chain(own).cloned().collect();
        let edge_tls = relay_tls(&config, certificate.as_ref(), keys.tickets())?;

        let (queues, inboxes) = WorkerQueues::new(workers);
        let queues = Arc::new(queues);
        let policies = Arc::new(ArcSwap::from_pointee(config.policies.clone()));
        let port = addresses.internal.first().map(SocketAddr::port);
        let hub: Arc<dyn Deliver> = queues.clone();
        let homestead = Homestead::of(&config, &exposition, &hub);
        let deliver = homestead.as_ref().map_or(hub, Homestead::deliver);
        let budget = Arc::new(Budget::new(config.memory_budget));
        let log = Log::start(&config, Arc::clone(&policies), deliver, &exposition, port, plain_messages, &budget)?;
        let condition = log.clone();
        let authority = log.join(authority.with_metrics(metrics.tokens.clone()), &config.token_lookup);
        let rendered = Arc::clone(&exposition);
        let session_key = session_key(&config)?;
        let hooks = Hooks::new(&config.hooks, || exposition.hooks())?;
        let absent = match (AbsentHook::new(&config.hooks)?, config.tokens.personal_room.clone()) {
            (Some(hook), Some(personal)) => {
                let metrics = exposition.register(AbsentMetrics::default);
                Some(Arc::new(AbsentDesk::new(hook, &config.hooks, personal, Arc::clone(&policies), metrics)))
            }
            _ => None,
        };
        let Archiving { broker, announcing, acks, archive, thread: archive_thread } =
            Archiving::of(&config, absent.as_ref(), &log, &policies, &exposition)?;
        let user_presence = log.user_presence(&config.user_presence, &metrics, announcing);
        let seams = HubSeams::new(&log, broker, homestead);
        let compression = &config.compression;
        let services = Arc::new(Services {
            recoveries: Recoveries::new(&budget),
            budget,
            windows: Arc::new(SharedWindows::new(compression.level, compression.windows, metrics.windows.clone())),
            memory: ProcessMemory::new(&config.memory_ceiling),
            traces: traces::tracer(&config, &policies, &exposition),
            addresses: Arc::new(ClientAddresses::new()),
            senders: Senders::default(),
            sockets,
            config: ArcSwap::from_pointee(config),
            policies: Arc::clone(&policies),
            broker: Arc::clone(&seams.broker),
            absent,
            presence: Arc::clone(&seams.presence),
            user_presence,
            user_writes: Arc::default(),
            author_notes: AuthorNotes::default(),
            control: Arc::clone(&seams.control),
            values: log.values(),
            erasure: Archiving::erasure(Arc::clone(&seams.erasure), &seams.broker, archive.as_ref(), &policies),
            archive,
            acks: AckDesk::new(acks),
            places: PlaceDesk::new(log.places()),
            condition: Box::new(move || condition.condition()),
            quic: quic.as_ref().and(certificate.as_ref()).and_then(|certificate| {
                Some(Quic { port: addresses.quic.first()?.port(), pins: pins(Arc::clone(certificate)) })
            }),
            queues,
            event_index: EventIndex::default(),
            authority: Arc::new(authority),
            hooks,
            session_key,
            session_pods: SessionPods::default(),
            pod: u64::from_str_radix(log.control().pod(), 16).unwrap_or_default(),
            dialects: Arc::new(dialects),
            metrics,
            render_metrics: Box::new(move || rendered.render()),
            gate: Gate::default(),
            began: Instant::now(),
        });
        services.control.answer_with(Arc::new(Spokesman::new(&services)));
        let (phase, watched) = watch::channel(Phase::Serving);
        let unused = Arc::new(UnusedSessions::default());
        let mut threads = Vec::new();
        let mut quic_queues = Vec::new();
        for (index, (listeners, inboxes)) in listeners.into_iter().zip(inboxes).enumerate() {
            let (quic_queue, quic_clients) = channel(webtransport::ACCEPT_QUEUE);
            quic_queues.push(quic_queue);
            let (services, unused, phase) = (Arc::clone(&services), Arc::clone(&unused), watched.clone());
            let thread = Thread { index, listeners, quic_clients, unused, services, inboxes, phase };
            threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                if let Err(error) = thread.run() {
                    tracing::error!(%error, index, "a worker could not start");
                }
            })?);
        }
        threads.extend(archiving::start(archive_thread, watched.clone()).transpose()?);
        threads.extend(traces::start(&services, log.control(), watched.clone())?);
        threads.extend(start_hooks(&services, watched.clone())?);
        if !grpc_listeners.is_empty() {
            let others = grpc_services.into_iter().map(|make| make(&services, &exposition)).collect();
            let grpc = Grpc::new(Arc::clone(&services), &exposition, others)?;
            let phase = watched.clone();
            threads.push(std::thread::Builder::new().name("grpc".into()).spawn(move || {
                if let Err(error) = serve_grpc(&grpc, grpc_listeners, grpc_tls, phase) {
                    tracing::error!(%error, "gRPC could not start");
                }
            })?);
        }
        let home = seams.home(&services, &log);
        let tree = tree(&log, home.clone());
        if let Some(home) = home {
            let (phase, services) = (watched.clone(), Arc::clone(&services));
            threads.push(std::thread::Builder::new().name("relay".into()).spawn(move || {
                if let Err(error) = serve_edges(&home, &services, edge_listeners, edge_tls, phase) {
                    tracing::error!(%error, "edges cannot be served");
                }
            })?);
        }
        let mut endpoints = Vec::new();
        if let Some((sockets, server)) = quic {
            let quic = Endpoints::new(sockets, &server, keys.connection_ids(), &quic_queues, &services)?;
            endpoints = quic.handles();
            let phase = watched.clone();
            threads.push(std::thread::Builder::new().name("quic".into()).spawn(move || quic.run(phase))?);
        }
        let beside = (log.servers(), tree);
        let api = Api::new(Arc::clone(&services), Arc::clone(&exposition), beside, status_page::answer_to);
        let background = Background {
            api: api.clone(),
            internal,
            log,
            services: Arc::clone(&services),
            exposition,
            tasks,
            certificates,
            keys: Arc::clone(&keys),
            phase: watched,
        };
        // The bench reads this thread's CPU time by its name, of earlier builds too.
        threads.push(std::thread::Builder::new().name("beside".into()).spawn(move || {
            if let Err(error) = background.run() {
                tracing::error!(%error, "the API could not start");
            }
        })?);
        Ok(Self { addresses, services, api, certificate, keys, endpoints, phase, threads })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What its workers share.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Takes over a configuration as far as that is possible while running, and looks at the certificate.
    pub fn reload(&self, config: Config) {
        self.services.policies.store(Arc::new(config.policies.clone()));
        // Broken keys are logged there, and the old ones stay.
        let _ = self.services.authority.reload(&config.tokens);
        self.services.config.store(Arc::new(config));
        self.services.metrics.configuration_broken.set(0.0);
        self.reload_certificate();
    }

    /// Shows that the configuration, read again, is unusable: the one that runs stays. Looks at the certificate all the same.
    pub fn keep_configuration(&self) {
        self.services.metrics.configuration_broken.set(1.0);
        self.reload_certificate();
    }

    /// Looks at the files of the certificate and of the ticket keys now.
    pub fn reload_certificate(&self) {
        if let Some(certificate) = &self.certificate {
            // A broken file is logged there, and the old certificate stays.
            let _ = certificate.reload(SystemTime::now());
        }
        self.keys.poll(SystemTime::now());
    }
}

#[cfg(test)]
mod tests;
