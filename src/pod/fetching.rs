//! What polls (`GET /poll`, and the paths of described dialects) and `GET /events` have in common: what a request asks for, whether its
//! client may ask, and how it is refused.
//!
//! The same judge as for WebSockets decides about origin, token and room for one more. Always holds: nothing is entered
//! before the whole request was understood and allowed; a refusal is JSON with one of the protocol's error codes; a page
//! whose origin is not allowed gets no answer that its script can read.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;

use super::{
    authorize::{Admitted, Asks, authorize},
    cross_origin::{Methods, headers_for},
    refusal::{Refused, by_code, come_back, refuse, refused},
    requested_rooms::{EPOCH, REDIS_EPOCH, RequestedRooms},
};
use crate::{
    auth::Grant,
    hub::{AT_ONCE, AcceptedConnection, ClientTransport, ConnectionTask, Mailbox, Principal, Seat, Services, Worker},
    metrics::Upgrades,
    model::{Limits, SubscribeTo},
    protocol::{DialectId, Dialects, Framing, HttpMount, Messages, OpenOutcome, Opening, PollParameters, WireFormat},
};

/// Where requests come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The client's address.
    pub address: Option<SocketAddr>,
    /// Whether TLS ends at this pod.
    pub tls: bool,
}

/// How a request fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// One answer, in this dialect.
    Poll(DialectId, PollParameters),
    /// An answer that goes on, in the native protocol.
    EventStream,
}

impl Fallback {
    fn of(path: &str, dialects: &Dialects) -> Option<Self> {
        match dialects.http_at(path) {
            Some(HttpMount::Poll(dialect, names)) => Some(Self::Poll(*dialect, names.clone())),
            None if path == "/events" => Some(Self::EventStream),
            _ => None,
        }
    }

    fn rooms_asked_for<T>(&self, request: &Request<T>) -> Result<RequestedRooms, Refused> {
        let (query, headers) = (request.uri().query(), request.headers());
        match self {
            Self::Poll(_, names) => RequestedRooms::read(query, headers, names),
            Self::EventStream => RequestedRooms::read(query, headers, &PollParameters::default()),
        }
    }

    /// What its client speaks.
    pub(super) fn dialect(&self) -> DialectId {
        match self {
            Self::Poll(dialect, _) => *dialect,
            Self::EventStream => DialectId::NATIVE,
        }
    }

    fn counted<'a>(&self, handshakes: &'a crate::metrics::Handshakes) -> &'a Upgrades {
        match self {
            Self::Poll(..) => &handshakes.polls,
            Self::EventStream => &handshakes.event_streams,
        }
    }

    /// Its name among what carries connections.
    fn transport(&self) -> &'static str {
        match self {
            Self::Poll(..) => "poll",
            Self::EventStream => "sse",
        }
    }

    fn framing(&self) -> Framing {
        match self {
            Self::Poll(..) => Framing::Elements,
            Self::EventStream => Framing::EventStream,
        }
    }

    fn mailbox(&self, from: Origin) -> Mailbox {
        match self {
            Self::Poll(..) => Mailbox::poll(from.address, from.tls),
            Self::EventStream => Mailbox::event_stream(from.address, from.tls),
        }
    }
}

/// What becomes of a request.
pub enum Opened {
    /// It is answered already.
    Answered(Response<Full<Bytes>>),
    /// Its connection is in its rooms. The headers belong on every answer.
    Connected(Fallback, ConnectionTask, HeaderMap),
}

/// Takes a request for a poll or an event stream; `None`: it is for something else.
pub async fn open<T>(worker: &Rc<RefCell<Worker>>, request: &Request<T>, from: Origin) -> Option<Opened> {
    let services = Arc::clone(&worker.borrow().services);
    let fallback = Fallback::of(request.uri().path(), &services.dialects)?;
    let dialect = fallback.dialect();
    let counted = fallback.counted(&services.metrics.handshakes);
    let mut headers = match headers_for(worker, request, dialect, &Methods::READS, counted) {
        Ok(headers) => headers,
        Err(answer) => return Some(Opened::Answered(*answer)),
    };
    Some(match connect(worker, request, from, &fallback, counted).await {
        Ok(task) => Opened::Connected(fallback, task, headers),
        Err(refusal) => {
            if services.gate.is_draining() {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Opened::Answered(refuse(&services, dialect, *refusal, headers))
        }
    })
}

async fn connect<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Origin,
    fallback: &Fallback,
    counted: &Upgrades,
) -> Result<ConnectionTask, Refused> {
    let asked = fallback
        .rooms_asked_for(request)
        .and_then(|asked| {
            let this = worker.borrow();
            let config = this.config();
            let epoch = if config.redis.is_some() { REDIS_EPOCH } else { EPOCH };
            asked.bounded(this.session_limits().in_welcome.max_rooms, config.limits.max_head, epoch)
        })
        .inspect_err(|_| counted.malformed.increment(1))?;
    let services = Arc::clone(&worker.borrow().services);
    let dialect = services.dialects.name(fallback.dialect());
    // A connection that presents its token later is a WebSocket's matter.
    let asks = Asks { from: from.address, transport: fallback.transport(), dialect, takes_tokens: false, later: false };
    let Admitted { grant, client_request } = authorize(worker, request, asks, counted).await?;
    let grant = grant.ok_or_else(|| {
        counted.token.increment(1);
        refused(StatusCode::UNAUTHORIZED, "a token is required here, and the request has none")
    })?;
    let limits = worker.borrow().session_limits().in_welcome;
    let rooms = rooms_of_dialect(&services, fallback.dialect(), request.uri(), &grant, limits)
        .and_then(|of_dialect| asked.rooms_of(&grant, of_dialect))
        .inspect_err(|_| counted.malformed.increment(1))?;
    let mut asking = Vec::new();
    for SubscribeTo { room, .. } in &rooms {
        let policy = services.policy(room);
        if policy.log_of(room).is_some() && fallback.dialect() != DialectId::NATIVE {
            counted.malformed.increment(1);
            let why =
                format!("{room} shares its log with other rooms, and has no positions of its own as polls need them");
            return Err(refused(StatusCode::FORBIDDEN, &why));
        }
        if !grant.may_join(room, policy.join) {
            counted.token.increment(1);
            return Err(refused(StatusCode::FORBIDDEN, &format!("this connection may not join {room}")));
        }
        asking.push(policy.subscribe_hook);
    }
    let principal =
        Principal { connection: None, grant, transport: fallback.transport(), dialect: Arc::clone(dialect) };
    let permits = rooms.iter().zip(&asking).map(async |(SubscribeTo { room, .. }, asks)| match asks {
        true => services.may_join(&principal, room).await.map(Some),
        false => Ok(None),
    });
    let permits: Vec<_> = stream::iter(permits).buffered(AT_ONCE).try_collect().await.map_err(|(code, message)| {
        counted.hook.increment(1);
        by_code(code, &message)
    })?;
    let grant = principal.grant;
    let seat = Seat::take(&services, from.address.map(|from| from.ip()), counted)
        .map_err(|full| come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string())))?;
    counted.accepted.increment(1);
    let format = WireFormat { dialect: fallback.dialect(), spelling: 0, framing: fallback.framing() };
    let transport = ClientTransport::Mailbox(Box::new(fallback.mailbox(from)));
    let user_agent = AcceptedConnection::user_agent_of(request.headers());
    let (grant, target) = (Some(grant), request.uri().clone());
    let accepted = AcceptedConnection { format, grant, seat, target, endpoint: None, client_request, user_agent };
    let task = Worker::adopt(worker, transport, accepted, &[]);
    task.enter(rooms.into_iter().zip(permits).collect());
    Ok(task)
}

/// The rooms that a dialect names for a request, beside those that the request asks for.
fn rooms_of_dialect(
    services: &Services,
    dialect: DialectId,
    target: &Uri,
    grant: &Grant,
    limits: Limits,
) -> Result<Vec<SubscribeTo>, Refused> {
    let opening = Opening { connection: "", target, grant, auth: None, ping_interval_ms: 0, limits, resumes: false };
    // What it says first is not said to a client that comes and goes.
    match services.dialects.get(dialect).open(&opening, &mut Messages::default()) {
        Ok(OpenOutcome { rooms, .. }) => Ok(rooms),
        Err(_) => {
            let why = "the address lacks a parameter that is needed here, or one that makes the name of a room";
            Err(refused(StatusCode::BAD_REQUEST, why))
        }
    }
}
