//! What `GET /poll` and `GET /events` have in common: what a request asks for, whether its client may ask, and how it is refused.
//!
//! The same judge as for WebSockets decides about origin, token and room for one more. Always holds: nothing is entered
//! before the whole request was understood and allowed; a refusal is JSON with one of the protocol's error codes; a page
//! whose origin is not allowed gets no answer that its script can read.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::{
    authorize::{Admitted, Asks, authorize},
    refusal::{Refused, by_code, come_back, refused},
};
use crate::{
    auth::Grant,
    hub::{AT_ONCE, AcceptedConnection, ClientTransport, ConnectionTask, Mailbox, Principal, Seat, Worker},
    metrics::Upgrades,
    model::{Cursor, ErrorCode, Room, Since, SubscribeTo},
    protocol::{DialectId, Framing, WireFormat},
};

/// What a browser's EventSource brings along when it comes back (HTML, section 9.2.4).
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The longest cursor that an answer may have: it comes back in a request's head.
const MAX_CURSOR: usize = 8 * 1024;

/// Where requests come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The client's address.
    pub address: Option<SocketAddr>,
    /// Whether TLS ends at this pod.
    pub tls: bool,
}

/// How a request fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// One answer.
    Poll,
    /// An answer that goes on.
    EventStream,
}

impl Fallback {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/poll" => Some(Self::Poll),
            "/events" => Some(Self::EventStream),
            _ => None,
        }
    }

    fn counted(self, handshakes: &crate::metrics::Handshakes) -> &Upgrades {
        match self {
            Self::Poll => &handshakes.polls,
            Self::EventStream => &handshakes.event_streams,
        }
    }

    /// Its name among what carries connections.
    fn transport(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::EventStream => "sse",
        }
    }

    fn framing(self) -> Framing {
        match self {
            Self::Poll => Framing::Elements,
            Self::EventStream => Framing::EventStream,
        }
    }

    fn mailbox(self, from: Origin) -> Mailbox {
        match self {
            Self::Poll => Mailbox::poll(from.address, from.tls),
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
    let fallback = Fallback::of(request.uri().path())?;
    let services = Arc::clone(&worker.borrow().services);
    let counted = fallback.counted(&services.metrics.handshakes);
    let mut headers = match cross_origin(worker, request.headers()) {
        Ok(headers) => headers,
        Err(refusal) => {
            counted.origin.increment(1);
            return Some(Opened::Answered(as_json(*refusal, HeaderMap::new())));
        }
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if request.method() == Method::OPTIONS {
        return Some(Opened::Answered(preflight(headers)));
    }
    if request.method() != Method::GET {
        let mut refusal = refused(StatusCode::METHOD_NOT_ALLOWED, "this is only to be read: GET");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, OPTIONS"));
        return Some(Opened::Answered(as_json(*refusal, headers)));
    }
    Some(match connect(worker, request, from, fallback, counted).await {
        Ok(task) => Opened::Connected(fallback, task, headers),
        Err(refusal) => {
            if services.gate.is_draining() {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Opened::Answered(as_json(*refusal, headers))
        }
    })
}

async fn connect<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Origin,
    fallback: Fallback,
    counted: &Upgrades,
) -> Result<ConnectionTask, Refused> {
    let asked = Asked::read(request.uri().query(), request.headers())
        .and_then(|asked| asked.bounded(worker.borrow().session_limits().told.max_rooms))
        .inspect_err(|_| counted.malformed.increment(1))?;
    let services = Arc::clone(&worker.borrow().services);
    let dialect = services.dialects.name(DialectId::NATIVE);
    // A connection that presents its token later is a WebSocket's matter.
    let asks = Asks { from: from.address, transport: fallback.transport(), dialect, takes_tokens: false, later: false };
    let Admitted { grant, told } = authorize(worker, request, asks, counted).await?;
    let grant = grant.ok_or_else(|| {
        counted.token.increment(1);
        refused(StatusCode::UNAUTHORIZED, "a token is required here, and the request has none")
    })?;
    let rooms = asked.rooms_of(&grant).inspect_err(|_| counted.malformed.increment(1))?;
    let mut asking = Vec::new();
    for SubscribeTo { room, .. } in &rooms {
        let policy = services.policy(room);
        if !grant.may_join(room, policy.join) {
            counted.token.increment(1);
            return Err(refused(StatusCode::FORBIDDEN, &format!("this connection may not join {room}")));
        }
        asking.push(policy.subscribe_hook);
    }
    let principal =
        Principal { connection: None, grant, transport: fallback.transport(), dialect: Arc::clone(dialect) };
    let leaves = rooms.iter().zip(&asking).map(async |(SubscribeTo { room, .. }, asks)| match asks {
        true => services.may_join(&principal, room).await.map(Some),
        false => Ok(None),
    });
    let leaves: Vec<_> = stream::iter(leaves).buffered(AT_ONCE).try_collect().await.map_err(|(code, message)| {
        counted.hook.increment(1);
        by_code(code, &message)
    })?;
    let grant = principal.grant;
    let seat = Seat::take(&services).map_err(|full| {
        counted.full.increment(1);
        come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()))
    })?;
    counted.accepted.increment(1);
    let format = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing: fallback.framing() };
    let transport = ClientTransport::Mailbox(Box::new(fallback.mailbox(from)));
    let task = Worker::adopt(
        worker,
        transport,
        AcceptedConnection { format, grant: Some(grant), seat, target: request.uri().clone(), endpoint: None, told },
        &[],
    );
    task.enter(rooms.into_iter().zip(leaves).collect());
    Ok(task)
}

/// What a request asks for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    rooms: Vec<SubscribeTo>,
    cursor: Cursor,
}

impl Asked {
    /// Reads the query. `since` is of the `room` before it; `cursor`, or the header that a browser's EventSource sends
    /// when it comes back, is newer than what stands in the query.
    fn read(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Refused> {
        let mut asked = Self::default();
        let mut cursor = None;
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "room" => {
                    let room = Room::parse(&value).map_err(|error| bad(error.to_string()))?;
                    if asked.rooms.iter().any(|other| other.room == room) {
                        return Err(bad(format!("the room {room} is asked for twice")));
                    }
                    asked.rooms.push(SubscribeTo { room, since: None, spelling: 0 });
                }
                "since" => {
                    let since = Since::parse(&value).map_err(|error| bad(error.to_string()))?;
                    match asked.rooms.last_mut() {
                        Some(SubscribeTo { since: none @ None, .. }) => *none = Some(since),
                        _ => return Err(bad("each `since` belongs behind its `room`: ?room=a&since=…&room=b".into())),
                    }
                }
                "cursor" if cursor.is_some() => return Err(bad("`cursor` is given twice".to_owned())),
                "cursor" => cursor = Some(value.into_owned()),
                // `authorize` judges it.
                "token" => {}
                _ => {
                    let shown: String = name.chars().take(80).collect();
                    let takes = "this takes `room`, `since`, `cursor` and `token`";
                    return Err(bad(format!("there is no parameter {shown:?}; {takes}")));
                }
            }
        }
        match headers.get(LAST_EVENT_ID).map(|value| value.to_str()) {
            None | Some(Ok("")) => {}
            Some(Ok(text)) => cursor = Some(text.to_owned()),
            Some(Err(_)) => return Err(bad("Last-Event-ID is none of this server's: it is not ASCII".to_owned())),
        }
        asked.cursor = Cursor::parse(&cursor.unwrap_or_default()).map_err(|error| bad(format!("cursor: {error}")))?;
        Ok(asked)
    }

    /// Checks that there are not too many rooms for a connection, and none too many for a cursor.
    fn bounded(self, max_rooms: usize) -> Result<Self, Refused> {
        if self.rooms.len() > max_rooms {
            return Err(too_much(format!("at most {max_rooms} rooms in one request")));
        }
        let cursor: usize = self.rooms.iter().map(|asked| Cursor::most_bytes(&asked.room)).sum();
        if cursor > MAX_CURSOR {
            let message = "so many rooms, or rooms of such long names, are too much for one request: use a WebSocket";
            return Err(too_much(message.to_owned()));
        }
        Ok(self)
    }

    /// The rooms to enter: those asked for and the user's own, each from where the client stands.
    fn rooms_of(mut self, grant: &Grant) -> Result<Vec<SubscribeTo>, Refused> {
        let own = grant.claims().and_then(|claims| claims.personal_room.clone());
        if let Some(room) = own.filter(|own| self.rooms.iter().all(|asked| asked.room != *own)) {
            self.rooms.push(SubscribeTo { room, since: None, spelling: 0 });
        }
        if self.rooms.is_empty() {
            return Err(bad("no room is asked for: ?room=trip:123".to_owned()));
        }
        for asked in &mut self.rooms {
            if let Some(position) = self.cursor.of(&asked.room) {
                asked.since = Some(Since { epoch: position.epoch.clone(), offset: position.offset });
            }
        }
        Ok(self.rooms)
    }
}

fn bad(message: String) -> Refused {
    refused(StatusCode::BAD_REQUEST, &message)
}

fn too_much(message: String) -> Refused {
    refused(StatusCode::PAYLOAD_TOO_LARGE, &message)
}

/// The answer to a page that asks before it asks (Fetch, section 3.2.4).
fn preflight(mut headers: HeaderMap) -> Response<Full<Bytes>> {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, last-event-id, cache-control"),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response
}

/// What lets the page of an allowed origin read the answer. A request without an origin does not come from a browser's
/// foreign page.
fn cross_origin(worker: &Rc<RefCell<Worker>>, asked: &HeaderMap) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = asked.get(header::ORIGIN) {
        if !worker.borrow().config().origins.allow(origin.as_bytes()) {
            return Err(refused(StatusCode::FORBIDDEN, "pages of this origin may not connect here"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
    Ok(headers)
}

/// A refusal in the API's shape, `{"error":{"code":…,"message":…}}`.
fn as_json(refusal: Response<String>, headers: HeaderMap) -> Response<Full<Bytes>> {
    let (mut parts, message) = refusal.into_parts();
    let code = match parts.status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized.as_str(),
        StatusCode::FORBIDDEN => ErrorCode::Forbidden.as_str(),
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::LimitExceeded.as_str(),
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited.as_str(),
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable.as_str(),
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        _ => ErrorCode::BadRequest.as_str(),
    };
    let body = serde_json::json!({ "error": { "code": code, "message": message.trim_end() } });
    parts.headers.extend(headers);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Full::new(body.to_string().into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(query: &str, last: Option<&str>) -> Result<Asked, String> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_bytes(last.as_bytes()).unwrap());
        }
        let query = (!query.is_empty()).then_some(query);
        Asked::read(query, &headers).and_then(|asked| asked.bounded(128)).map_err(|refusal| refusal.into_body())
    }

    fn rooms(query: &str, last: Option<&str>) -> Vec<(String, Option<u64>)> {
        let rooms = read(query, last).unwrap().rooms_of(&Grant::default()).unwrap();
        rooms.into_iter().map(|asked| (asked.room.to_string(), asked.since.map(|since| since.offset))).collect()
    }

    #[test]
    fn rooms_and_positions_are_read() {
        assert_eq!(
            rooms("room=a&since=e:4&room=b%3A1&token=x&room=c&since=f:0", None),
            [("a".into(), Some(4)), ("b:1".into(), None), ("c".into(), Some(0))]
        );
        assert_eq!(rooms("room=a&since=e:4&cursor=a%3De:7%26z%3De:1", None), [("a".into(), Some(7))]);
        assert_eq!(rooms("room=a&cursor=a%3De:7", Some("a=e:9")), [("a".into(), Some(9))], "a browser keeps its URL");
        assert_eq!(rooms("room=a&since=e:4", Some("")), [("a".into(), Some(4))]);
        assert!(read("", None).unwrap().rooms_of(&Grant::default()).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let many: String = (0..129).map(|n| format!("&room=r{n}")).collect();
        let long: String = (0..20).map(|n| format!("&room={}{n}", "x".repeat(250))).collect();
        for (query, last, complaint) in [
            ("room=", None, "a room name must not be empty"),
            ("room=a%20b", None, "must not contain ' '"),
            ("room=a&room=a", None, "the room a is asked for twice"),
            ("since=e:1", None, "belongs behind its `room`"),
            ("room=a&since=e:1&since=e:2", None, "belongs behind its `room`"),
            ("room=a&since=4", None, "\"4\" is not a position"),
            ("room=a&cursor=x", None, "cursor: \"\" is not a position"),
            ("room=a&cursor=&cursor=", None, "`cursor` is given twice"),
            ("rooms=a", None, "there is no parameter \"rooms\""),
            ("room=a", Some("17"), "cursor: \"\" is not a position"),
            ("room=a", Some("é"), "not ASCII"),
            (&many, None, "at most 128 rooms"),
            (&long, None, "use a WebSocket"),
        ] {
            let error = read(query, last).unwrap_err();
            assert!(error.contains(complaint), "{query}: {error}");
        }
    }
}
