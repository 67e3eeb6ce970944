//! From a QUIC client's first packet to a session: which worker takes it, and whether it is let in.
//!
//! One endpoint an address, driven by one thread: it takes packets off the socket and hands each to its connection. A
//! connection is accepted on its worker, so that its own driver, its session and the fan-out share that worker's thread.
//! Always holds: the queue to a worker is bounded, and a client that does not fit is refused at once; nothing is accepted
//! that the pod has no room for, whose page is not allowed or whose token is bad.

use std::{
    cell::RefCell,
    io,
    net::UdpSocket,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ::http::{StatusCode, Uri};
use quinn::{Connection, ConnectionError, Endpoint, Incoming, Runtime as _, ServerConfig, TokioRuntime};
use tokio::{
    runtime::Runtime,
    sync::{
        mpsc::{Receiver, Sender, error::TrySendError},
        watch,
    },
};

use crate::{
    config::counted_by,
    hub::{AcceptedConnection, CapacityError, ClientTransport, Deadline, Seat, Services, Streams, Worker, millis},
    model::{Disconnect, ErrorCode},
    protocol::{DialectId, Framing, WireFormat},
    transport::webtransport::{
        AddressValidation, AmplificationGuard, ConnectionIdKeys, ConnectionOrigin, DROP_CODE, PendingHandshake,
        Request, Session, ValidatedAddress, close, endpoint_config, pod_in_connection_ids,
    },
};

use super::{
    authorize::{self, Admitted, Asks, AuthorizationError},
    first_packet::{self, FirstPacket},
    neighbours::FleetNeighbours,
    page_origin::PageOrigin,
    phase::{Phase, end_of},
    upgrade::SUBPROTOCOL,
};

/// The path of sessions.
const PATH: &str = "/wt";

/// How many clients may wait for a worker to accept them.
pub const ACCEPT_QUEUE: usize = 512;

/// How long a refused client may take to hear why.
const REFUSAL: Duration = Duration::from_secs(5);

/// A client to be accepted, counted as a handshake under way for as long as this lives.
pub struct IncomingQuic {
    incoming: Incoming,
    underway: Underway,
    handshake: PendingHandshake,
    /// Its address was proved before.
    proved: bool,
}

struct Underway {
    count: Arc<AtomicUsize>,
    services: Arc<Services>,
}

impl Underway {
    fn begin(count: &Arc<AtomicUsize>, services: &Arc<Services>) -> Self {
        count.fetch_add(1, Relaxed);
        services.metrics.pressures.quic_handshakes.add(1, 0);
        Self { count: Arc::clone(count), services: Arc::clone(services) }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
        self.services.metrics.pressures.quic_handshakes.add(0, 1);
    }
}

/// The endpoints of a pod and the event loop that drives them.
pub struct Endpoints {
    runtime: Runtime,
    endpoints: Vec<Endpoint>,
}

impl Endpoints {
    /// Endpoints on these sockets, whose clients go to the workers' queues in turn.
    ///
    /// # Errors
    /// The operating system gives no event loop, or a socket cannot be polled.
    pub fn new(
        sockets: Vec<UdpSocket>,
        server: &ServerConfig,
        keys: &Arc<ConnectionIdKeys>,
        workers: &[Sender<IncomingQuic>],
        services: &Arc<Services>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut endpoints = Vec::new();
        let underway = Arc::new(AtomicUsize::new(0));
        let validation = Arc::new(AddressValidation::default());
        let neighbours = FleetNeighbours::of(services);
        let entered = runtime.enter();
        for (index, socket) in sockets.into_iter().enumerate() {
            // Two with one number could reset each other's connections.
            let endpoint =
                u8::try_from(index).map_err(|_| io::Error::other("WebTransport takes 256 addresses at most"))?;
            let socket =
                Arc::new(AmplificationGuard::new(TokioRuntime.wrap_udp_socket(socket)?, Arc::clone(&validation)));
            let origin = ConnectionOrigin { pod: pod_in_connection_ids(services.pod), endpoint };
            let config = endpoint_config(keys, origin, &neighbours).map_err(io::Error::other)?;
            let (server, runtime) = (Some(server.clone()), Arc::new(TokioRuntime));
            let endpoint = Endpoint::new_with_abstract_socket(config, server, socket, runtime)?;
            let (underway, validation) = (Arc::clone(&underway), Arc::clone(&validation));
            let (workers, services) = (workers.to_vec(), Arc::clone(services));
            tokio::spawn(Spread { workers, next: 0, underway, validation, services }.run(endpoint.clone()));
            endpoints.push(endpoint);
        }
        drop(entered);
        Ok(Self { runtime, endpoints })
    }

    /// Handles to the endpoints.
    #[must_use]
    pub fn handles(&self) -> Vec<Endpoint> {
        self.endpoints.clone()
    }

    /// Runs until the pod ends. The server's configuration stays to the end: without it quinn would answer a first packet for anything
    /// with a stateless reset, also for a living pod's connection.
    pub fn run(self, mut phase: watch::Receiver<Phase>) {
        let Self { runtime, endpoints: _endpoints } = self;
        runtime.block_on(async move {
            end_of(&mut phase).await;
        });
    }
}

/// Waits until the ends of connections have been heard.
pub async fn wait_idle(endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        endpoint.wait_idle().await;
    }
}

/// Spreads an endpoint's clients over the workers, in turn.
struct Spread {
    workers: Vec<Sender<IncomingQuic>>,
    next: usize,
    underway: Arc<AtomicUsize>,
    validation: Arc<AddressValidation>,
    services: Arc<Services>,
}

impl Spread {
    async fn run(mut self, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            self.send(incoming);
        }
    }

    fn send(&mut self, incoming: Incoming) {
        let metrics = &self.services.metrics.handshakes;
        let (address, proved) = (incoming.remote_address(), incoming.remote_address_validated());
        match first_packet::judge(&self.services, address.ip(), proved, self.underway.load(Relaxed)) {
            FirstPacket::Welcome => {}
            FirstPacket::Retry => {
                metrics.quic_retried.increment(1);
                // Cannot fail: a client that has proved nothing was not told yet.
                let _ = incoming.retry();
                return;
            }
            FirstPacket::Refuse => {
                metrics.quic_refused.increment(1);
                return incoming.refuse();
            }
        }
        let handshake = self.validation.begin(address);
        let underway = Underway::begin(&self.underway, &self.services);
        let mut client = IncomingQuic { incoming, underway, handshake, proved };
        for _ in 0..self.workers.len() {
            self.next = (self.next + 1) % self.workers.len();
            match self.workers[self.next].try_send(client) {
                Ok(()) => return,
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => client = back,
            }
        }
        metrics.quic_refused.increment(1);
        client.incoming.refuse();
    }
}

/// Accepts what the endpoints send to this worker.
pub async fn accept(worker: Rc<RefCell<Worker>>, mut clients: Receiver<IncomingQuic>) {
    while let Some(client) = clients.recv().await {
        let mut this = worker.borrow_mut();
        this.services.metrics.handshakes.accepted.increment(1);
        let deadline = Deadline::new(this.timers().now_ms() + millis(this.config().timeouts.tls));
        let task = tokio::task::spawn_local(open_session(Rc::clone(&worker), client, deadline.clone()));
        deadline.ends(task.abort_handle());
        this.timers().watch(deadline);
    }
}

/// Counts a handshake that ends without a request, however it ends.
struct FailedSession(Option<Arc<Services>>);

impl Drop for FailedSession {
    fn drop(&mut self) {
        if let Some(services) = &self.0 {
            services.metrics.handshakes.quic_failed.increment(1);
        }
    }
}

async fn open_session(
    worker: Rc<RefCell<Worker>>,
    IncomingQuic { incoming, underway, handshake, proved }: IncomingQuic,
    deadline: Deadline,
) {
    let services = Arc::clone(&worker.borrow().services);
    let mut failed = FailedSession(Some(Arc::clone(&services)));
    let next_within = |time: Duration| {
        let mut this = worker.borrow_mut();
        let at = this.timers().now_ms() + millis(time);
        this.timers().move_deadline(&deadline, at);
    };
    let Ok((connection, validated)) = connect(incoming, handshake).await else { return };
    if !proved {
        services.addresses.count_proved(connection.remote_address().ip(), &services.config.load().addresses);
    }
    next_within(services.config.load().timeouts.head);
    let Ok(request) = Request::read(connection).await else { return };
    failed.0 = None;
    services.metrics.handshakes.quic.increment(1);
    drop(underway);
    if services.asks_about_clients() {
        let config = services.config.load();
        next_within(config.timeouts.head + config.hooks.timeout);
    }
    let admission = match judge(&worker, &request).await {
        Ok(admission) => admission,
        Err(SessionRefusal::Status(status)) => return request.refuse(status).await,
        Err(SessionRefusal::Close(disconnect)) => {
            next_within(REFUSAL);
            return tell(request, disconnect).await;
        }
    };
    let protocol = request.protocols().iter().find(|offered| *offered == SUBPROTOCOL).map(|_| SUBPROTOCOL);
    let Ok(session) = request.accept(protocol, DROP_CODE).await else { return };
    next_within(services.config.load().timeouts.connect);
    let Ok(commands) = session.commands().await else { return };
    let deflate = matches!(admission.format.framing, Framing::Stream { deflate: true, .. });
    let transport = ClientTransport::WebTransport(Box::new(Streams::new(session, commands, deflate, &services.budget)));
    let task = Worker::adopt(&worker, transport, admission, &[]);
    tokio::task::spawn_local(async move {
        task.await;
        drop(validated);
    });
}

async fn connect(
    incoming: Incoming,
    handshake: PendingHandshake,
) -> Result<(Connection, ValidatedAddress), ConnectionError> {
    let connection = incoming.accept()?.await?;
    // The client has sent what only its address could have received.
    Ok((connection, handshake.succeeded()))
}

/// How a request is refused.
enum SessionRefusal {
    /// With a status, which a page does not see.
    Status(StatusCode),
    /// With a session that is closed at once, which a page understands.
    Close(Disconnect),
}

async fn judge(worker: &Rc<RefCell<Worker>>, request: &Request) -> Result<AcceptedConnection, SessionRefusal> {
    let services = Arc::clone(&worker.borrow().services);
    let upgrades = &services.metrics.handshakes.upgrades;
    let config = services.config.load_full();
    if request.path() != PATH {
        upgrades.malformed.increment(1);
        return Err(SessionRefusal::Status(StatusCode::NOT_FOUND));
    }
    if !config.addresses.may_come(request.address().ip()) {
        services.metrics.pressures.addresses.refused_one(&counted_by(request.address().ip()));
        return Err(SessionRefusal::Status(StatusCode::FORBIDDEN));
    }
    // A foreign page is told nothing.
    if !PageOrigin::over_quic(request.headers(), &request.authority(), &config).may_connect() {
        upgrades.origin.increment(1);
        return Err(SessionRefusal::Status(StatusCode::FORBIDDEN));
    }
    let target = match request.query() {
        Some(query) => format!("{PATH}?{query}").parse().map_err(|_| {
            upgrades.malformed.increment(1);
            SessionRefusal::Status(StatusCode::BAD_REQUEST)
        })?,
        None => Uri::from_static(PATH),
    };
    let (from, dialect) = (Some(request.address()), services.dialects.name(DialectId::NATIVE));
    let asks = Asks { from, transport: "webtransport", dialect, takes_tokens: true, later: false };
    let admitted = authorize::judge(worker, request.headers(), &target, asks).await.map_err(|refusal| {
        refusal.counter(upgrades).increment(1);
        SessionRefusal::Close(match refusal {
            AuthorizationError::Not(error) => match error.code() {
                ErrorCode::Unavailable | ErrorCode::RateLimited => Disconnect::Overloaded,
                ErrorCode::Unauthorized => Disconnect::Unauthorized,
                _ => Disconnect::Disconnected,
            },
            AuthorizationError::Unclear(_) | AuthorizationError::NoToken => Disconnect::Unauthorized,
        })
    })?;
    let Admitted { grant, client_request } = admitted;
    let seat = Seat::take(&services, from.map(|from| from.ip()), upgrades).map_err(|full| {
        SessionRefusal::Close(match full {
            CapacityError::Draining => Disconnect::Restart,
            CapacityError::Connections { .. }
            | CapacityError::Memory { .. }
            | CapacityError::Process { .. }
            | CapacityError::Address(_) => Disconnect::Overloaded,
        })
    })?;
    upgrades.accepted.increment(1);
    let deflate = config.compression.enabled && asks_for_deflate(request.query());
    let keeps_window = services.windows.are_allowed() && !declines_takeover(request.query());
    let framing = Framing::Stream { deflate, keeps_window: false }.keeping_window(keeps_window);
    let format = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing };
    let user_agent = AcceptedConnection::user_agent_of(request.headers());
    Ok(AcceptedConnection { format, grant, seat, target, endpoint: None, client_request, user_agent })
}

/// Whether the query takes compressed streams: `compression=deflate-raw`.
fn asks_for_deflate(query: Option<&str>) -> bool {
    says(query, "compression", "deflate-raw")
}

/// Whether the query wants each frame compressed for itself: `takeover=no`.
fn declines_takeover(query: Option<&str>) -> bool {
    says(query, "takeover", "no")
}

fn says(query: Option<&str>, name: &str, value: &str) -> bool {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|pair| pair == (name.into(), value.into()))
}

/// Accepts a session to close it with the reason, and waits until the client has heard it.
async fn tell(request: Request, disconnect: Disconnect) {
    let protocol = request.protocols().iter().find(|offered| *offered == SUBPROTOCOL).map(|_| SUBPROTOCOL);
    let Ok(mut session) = request.accept(protocol, DROP_CODE).await else { return };
    close(&mut session, disconnect);
    ended(&mut session).await;
}

async fn ended(session: &mut Session) {
    std::future::poll_fn(|cx| session.poll_end(cx)).await;
}
