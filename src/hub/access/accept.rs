//! A connection whose handshake is over: what is decided of it, and the first things said to it.
//!
//! Always holds: what a dialect says first leaves first, and the rooms that a connection begins with are entered under
//! the same rules as those that it asks for.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use http::{HeaderMap, Uri, header};

use crate::{
    auth::Grant,
    hooks::ClientRequest,
    hub::{
        connection::{Connection, state::ColdState, task::ConnectionTask, transport::ClientTransport},
        worker::{Worker, seat::Seat},
    },
    protocol::{WireFormat, engineio::Endpoint},
    session::{Link, Session},
};

/// What is decided of a connection before it is one.
pub struct AcceptedConnection {
    /// What it speaks.
    pub format: WireFormat,
    /// What it may do; `None`: its token is still to come.
    pub grant: Option<Grant>,
    /// Its place among the pod's connections.
    pub seat: Seat,
    /// What its request asked for.
    pub target: Uri,
    /// Where it came in, if it speaks Engine.IO.
    pub endpoint: Option<Arc<Endpoint>>,
    /// What the backend is told of its request; `None`: it is not asked.
    pub client_request: Option<Arc<ClientRequest>>,
    /// What its client calls itself.
    pub user_agent: Option<Box<str>>,
}

impl AcceptedConnection {
    /// What a client calls itself by these headers.
    #[must_use]
    pub fn user_agent_of(headers: &HeaderMap) -> Option<Box<str>> {
        headers.get(header::USER_AGENT)?.to_str().ok().map(Into::into)
    }
}

impl Worker {
    /// Takes a connection in, and says what its dialect says first. `early` came behind the handshake.
    pub fn adopt(
        this: &Rc<RefCell<Self>>,
        transport: ClientTransport,
        accepted: AcceptedConnection,
        early: &[u8],
    ) -> ConnectionTask {
        let mut worker = this.borrow_mut();
        let AcceptedConnection { format, grant, seat, target, endpoint, client_request, user_agent } = accepted;
        let clients = &mut worker.core.clients;
        let now_ms = clients.timers.now_ms();
        let (key, id) = clients.connections.announce();
        let session = Session::new(id, grant, &clients.settings.limits, now_ms);
        let mut connection = Connection::new(transport, format, session, seat, &clients.services.budget, now_ms);
        connection.user_agent = user_agent.and_then(|text| clients.user_agents.intern(&text));
        let link = endpoint.map(|endpoint| Link::new(endpoint, target.clone(), now_ms));
        if link.is_some() || client_request.is_some() {
            connection.cold = Some(Box::new(ColdState { link, client_request, ..ColdState::default() }));
        }
        let transport = connection.transport.name();
        clients.connections.insert(connection);
        clients.services.metrics.connections.of(transport, format.dialect.index()).increment(1);
        worker.begin_protocol(key, id, &target);
        if !early.is_empty() {
            worker.buffers().plain.extend_from_slice(early);
            worker.received(key);
        }
        drop(worker);
        ConnectionTask::new(Rc::clone(this), key)
    }
}
