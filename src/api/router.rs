//! The table of the API's calls. `openapi.json` describes the same ones; a test compares the two.

use http::Method;

use super::answer::ApiCode;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Health,
    Accepting,
    Ready,
    Metrics,
    Status,
    CertificateHashes,
    Edges,
    PublicDocument,
    Document,
    Publish,
    Broadcast,
    Rooms,
    Room,
    ForgetRoom,
    History,
    DeleteEvent,
    Presence,
    Connections,
    Connection,
    DisconnectConnection,
    SubscribeConnection,
    UnsubscribeConnection,
    RefreshConnection,
    User,
    EraseUser,
    Unread,
    DisconnectUser,
    SubscribeUser,
    UnsubscribeUser,
    RefreshUser,
    UserPresence,
    ChangeUserPresence,
    Stats,
}

/// Whether a call reads a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// It does not look at one.
    Nothing,
    /// An empty body stands for `{}`.
    OptionalBody,
    /// It cannot do without.
    Body,
}

/// A call. Every one can also fail for its query (`bad_request`), every one that takes a body for that body's encoding, and every one
/// below `/api/` for its key.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// As OpenAPI spells it: one segment at most is a name in braces, and stands for any text that is not empty.
    pub(super) path: &'static str,
    pub(super) operation: Operation,
    pub(super) takes: Takes,
    /// The parameters of the query.
    pub(super) query: &'static [&'static str],
    /// What else it can fail with.
    pub(super) errors: &'static [ApiCode],
}

/// Where the description of the API is; open, like the probes.
pub(super) const DOCUMENT: &str = "/api/openapi.json";

use ApiCode::{BadRoom, Conflict, LimitExceeded, NotAvailable, NotFound, RequestTimeout, Unavailable, Unknown};

const fn get(
    path: &'static str,
    operation: Operation,
    query: &'static [&'static str],
    errors: &'static [ApiCode],
) -> Route {
    Route { method: Method::GET, path, operation, takes: Takes::Nothing, query, errors }
}

const fn post(path: &'static str, operation: Operation, takes: Takes, errors: &'static [ApiCode]) -> Route {
    Route { method: Method::POST, path, operation, takes, query: &[], errors }
}

const fn delete(path: &'static str, operation: Operation, errors: &'static [ApiCode]) -> Route {
    Route { method: Method::DELETE, path, operation, takes: Takes::Nothing, query: &[], errors }
}

/// Every call; the frequent ones first.
pub(super) static ROUTES: [Route; 33] = [
    post(
        "/api/publish",
        Operation::Publish,
        Takes::Body,
        &[BadRoom, Conflict, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post("/api/broadcast", Operation::Broadcast, Takes::Body, &[BadRoom, LimitExceeded, RequestTimeout]),
    get("/health", Operation::Health, &[], &[]),
    get("/accepting", Operation::Accepting, &[], &[]),
    get("/ready", Operation::Ready, &[], &[]),
    get("/metrics", Operation::Metrics, &[], &[NotFound]),
    get("/status.json", Operation::Status, &["scope", "after"], &[NotFound, Unavailable, Unknown]),
    get("/certificate-hashes", Operation::CertificateHashes, &[], &[]),
    get("/edges", Operation::Edges, &[], &[]),
    get("/openapi.json", Operation::PublicDocument, &[], &[]),
    get(DOCUMENT, Operation::Document, &[], &[]),
    get("/api/stats", Operation::Stats, &["scope"], &[Unavailable, Unknown]),
    get("/api/rooms", Operation::Rooms, &["prefix", "after", "limit", "scope"], &[Unavailable, Unknown]),
    get("/api/rooms/{room}", Operation::Room, &["scope"], &[BadRoom, Unavailable, Unknown]),
    delete("/api/rooms/{room}", Operation::ForgetRoom, &[BadRoom, NotAvailable, Unavailable, Unknown]),
    get(
        "/api/rooms/{room}/history",
        Operation::History,
        &["epoch", "offset", "limit"],
        &[BadRoom, NotAvailable, Unavailable, Unknown],
    ),
    post(
        "/api/rooms/{room}/delete",
        Operation::DeleteEvent,
        Takes::Body,
        &[BadRoom, NotFound, LimitExceeded, NotAvailable, RequestTimeout, Unavailable, Unknown],
    ),
    get("/api/rooms/{room}/presence", Operation::Presence, &["limit"], &[BadRoom, NotAvailable, Unavailable, Unknown]),
    get(
        "/api/connections",
        Operation::Connections,
        &["user", "room", "after", "limit", "scope"],
        &[BadRoom, Unavailable, Unknown],
    ),
    get("/api/connections/{id}", Operation::Connection, &["scope"], &[NotFound, Unavailable, Unknown]),
    post(
        "/api/connections/{id}/disconnect",
        Operation::DisconnectConnection,
        Takes::OptionalBody,
        &[NotFound, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post(
        "/api/connections/{id}/subscribe",
        Operation::SubscribeConnection,
        Takes::Body,
        &[BadRoom, NotFound, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post(
        "/api/connections/{id}/unsubscribe",
        Operation::UnsubscribeConnection,
        Takes::Body,
        &[BadRoom, NotFound, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post(
        "/api/connections/{id}/refresh",
        Operation::RefreshConnection,
        Takes::OptionalBody,
        &[NotFound, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    get("/api/users/{user}", Operation::User, &["after", "limit", "scope"], &[Unavailable, Unknown]),
    delete("/api/users/{user}", Operation::EraseUser, &[NotAvailable, Unavailable, Unknown]),
    get(
        "/api/users/{user}/unread",
        Operation::Unread,
        &["rooms"],
        &[BadRoom, NotAvailable, LimitExceeded, Unavailable, Unknown],
    ),
    post(
        "/api/users/{user}/disconnect",
        Operation::DisconnectUser,
        Takes::OptionalBody,
        &[LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post(
        "/api/users/{user}/subscribe",
        Operation::SubscribeUser,
        Takes::Body,
        &[BadRoom, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post(
        "/api/users/{user}/unsubscribe",
        Operation::UnsubscribeUser,
        Takes::Body,
        &[BadRoom, LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    post(
        "/api/users/{user}/refresh",
        Operation::RefreshUser,
        Takes::OptionalBody,
        &[LimitExceeded, RequestTimeout, Unavailable, Unknown],
    ),
    get("/api/v1/presence", Operation::UserPresence, &["users"], &[NotAvailable, Unavailable, Unknown]),
    Route {
        method: Method::PUT,
        path: "/api/v1/presence",
        operation: Operation::ChangeUserPresence,
        takes: Takes::Body,
        query: &[],
        errors: &[LimitExceeded, NotAvailable, RequestTimeout, Unavailable, Unknown],
    },
];

/// What a request's method and path lead to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A call, and the segment that stands for the name in braces, not decoded.
    Route(&'static Route, &'a str),
    /// The path exists, for these methods.
    Methods(String),
    /// Nothing.
    Nothing,
}

/// Whether a request is a probe's. Balancers ask by `OPTIONS` as well (`option httpchk` of HAProxy, for one).
#[must_use]
pub fn is_probe(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && matches!(path, "/health" | "/accepting" | "/ready")
}

/// Finds a call. `HEAD` is `GET` without its body, and so is `OPTIONS` of a probe.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let reads = *method == Method::HEAD || is_probe(method, path);
    let method = if reads { &Method::GET } else { method };
    let mut others = Vec::new();
    for route in &ROUTES {
        let Some(segment) = route.fits(path) else { continue };
        if route.method == *method {
            return Found::Route(route, segment);
        }
        others.push(route.method.as_str());
        if route.method == Method::GET {
            others.push("HEAD");
        }
    }
    if others.is_empty() { Found::Nothing } else { Found::Methods(others.join(", ")) }
}

/// Whether a path is answered only with an API key. Depends on nothing else, so that a caller without one cannot learn
/// what there is.
pub(super) fn is_guarded(path: &str) -> bool {
    path.starts_with("/api/") && path != DOCUMENT
}

impl Route {
    /// The segment that stands for the name in braces, empty if there is no such name.
    fn fits<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some((before, rest)) = self.path.split_once('{') else { return (self.path == path).then_some("") };
        let after = rest.split_once('}')?.1;
        let segment = path.strip_prefix(before)?.strip_suffix(after)?;
        (!segment.is_empty() && !segment.contains('/')).then_some(segment)
    }

    /// Every code that it may answer with.
    pub(super) fn errors(&self) -> impl Iterator<Item = ApiCode> {
        let key = is_guarded(self.path).then_some(ApiCode::Unauthorized);
        let body = (self.takes != Takes::Nothing).then_some(ApiCode::UnsupportedEncoding);
        self.errors.iter().copied().chain([ApiCode::BadRequest]).chain(body).chain(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> String {
        match find(method, path) {
            Found::Route(route, segment) => format!("{:?} {segment}", route.operation),
            Found::Methods(methods) => methods,
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn paths_lead_to_calls() {
        let (get, post) = (&Method::GET, &Method::POST);
        for (method, path, leads_to) in [
            (post, "/api/publish", "Publish "),
            (get, "/api/publish", "POST"),
            (get, "/api/publish/", "nothing"),
            (get, "/api/rooms", "Rooms "),
            (&Method::HEAD, "/api/rooms", "Rooms "),
            (&Method::DELETE, "/api/rooms", "GET, HEAD"),
            (get, "/api/rooms/", "nothing"),
            (get, "/api/rooms/a:1", "Room a:1"),
            (get, "/api/rooms/a%2Fb/history", "History a%2Fb"),
            (get, "/api/rooms/a/b/history", "nothing"),
            (get, "/api/rooms//history", "nothing"),
            (get, "/api/rooms/history", "Room history"),
            (get, "/api/rooms/presence/presence", "Presence presence"),
            (post, "/api/users/ann/subscribe", "SubscribeUser ann"),
            (get, "/api/users/ann/subscribe", "POST"),
            (get, "/api", "nothing"),
            (&Method::OPTIONS, "/health", "Health "),
            (&Method::OPTIONS, "/accepting", "Accepting "),
            (&Method::OPTIONS, "/ready", "Ready "),
            (&Method::POST, "/ready", "GET, HEAD"),
            (&Method::OPTIONS, "/api/rooms", "GET, HEAD"),
            (get, "/%61pi/rooms", "nothing"),
        ] {
            assert_eq!(found(method, path), leads_to, "{method} {path}");
        }
    }

    #[test]
    fn keys_guard_all_but_the_document() {
        assert!(is_guarded("/api/publish") && is_guarded("/api/nothing") && is_guarded("/api/"));
        assert!(!is_guarded(DOCUMENT) && !is_guarded("/health") && !is_guarded("/nothing"));
    }
}
