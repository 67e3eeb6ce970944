//! `POST /send`: commands of clients that have no WebSocket, beside the polls and event streams by which they listen.
//!
//! The same judge as for WebSockets decides about origin, token and room for one more. Always holds: a body that is no command is refused
//! as a whole before anything of it is done; each command has its reply, in the order of the commands; a refusal is JSON with one of the
//! protocol's error codes.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::value::RawValue;

use super::{
    authorize::{Admitted, Asks, authorize},
    fetching::{Origin, as_json, cross_origin, preflight},
    refusal::{Refused, by_code, come_back, refused},
    request_body::read_body,
    visit::{Stage, Visit},
};
use crate::{
    hub::{Principal, Seat, Worker},
    model::{ErrorCode, RawArray},
    protocol::DialectId,
};

/// The most commands of one request.
const MAX_COMMANDS: usize = 64;

/// Where commands go.
pub(super) const PATH: &str = "/send";

/// What carries them, as the backend and the metrics know it.
const TRANSPORT: &str = "send";

/// Answers a request.
pub(super) async fn answer(
    worker: &Rc<RefCell<Worker>>,
    request: Request<Incoming>,
    from: Origin,
    visit: &Visit,
) -> Response<Full<Bytes>> {
    let services = Arc::clone(&worker.borrow().services);
    let mut headers = match cross_origin(worker, request.headers()) {
        Ok(headers) => headers,
        Err(refusal) => {
            services.metrics.handshakes.sends.origin.increment(1);
            return as_json(*refusal, HeaderMap::new());
        }
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if request.method() == Method::OPTIONS {
        return preflight(headers, "POST");
    }
    if request.method() != Method::POST {
        let mut refusal = refused(StatusCode::METHOD_NOT_ALLOWED, "this takes commands: POST");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
        return as_json(*refusal, headers);
    }
    let answered = serve(worker, request, from, visit).await;
    // The next request comes over another connection, which a balancer sends to another pod.
    if services.gate.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    match answered {
        Ok(mut replies) => {
            replies.pop();
            let body = [&b"{\"messages\":["[..], &replies, b"]}"].concat();
            let mut response = Response::new(Full::from(body));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => as_json(*refusal, headers),
    }
}

async fn serve(
    worker: &Rc<RefCell<Worker>>,
    request: Request<Incoming>,
    from: Origin,
    visit: &Visit,
) -> Result<Vec<u8>, Refused> {
    let (services, limits, max_bytes) = {
        let this = worker.borrow();
        (Arc::clone(&this.services), this.session_limits(), this.config().limits.max_message)
    };
    let counted = &services.metrics.handshakes.sends;
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    only_a_token(request.uri().query()).inspect_err(|_| counted.malformed.increment(1))?;
    let dialect = services.dialects.name(DialectId::NATIVE);
    let asks = Asks { from: from.address, transport: TRANSPORT, dialect, takes_tokens: false, later: false };
    let Admitted { grant, .. } = authorize(worker, &request, asks, counted).await?;
    let grant = grant.ok_or_else(|| {
        counted.token.increment(1);
        refused(StatusCode::UNAUTHORIZED, "a token is required here, and the request has none")
    })?;
    let address = from.address.map(|from| from.ip());
    let _seat = Seat::take(&services, address).map_err(|full| {
        counted.full.increment(1);
        come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()))
    })?;
    let broken = || bad("the body did not come whole");
    let (body, _held) = read_body(request.headers(), body, max_bytes, &services, visit, broken)
        .await
        .inspect_err(|_| counted.malformed.increment(1))?;
    visit.enter(Stage::Serving);
    let commands = commands(&body).inspect_err(|_| counted.malformed.increment(1))?;
    let texts: Vec<&str> = commands.iter().map(|command| command.get()).collect();
    counted.accepted.increment(1);
    let principal = Principal { connection: None, grant, transport: TRANSPORT, dialect: Arc::clone(dialect) };
    // Until the answer is whole, and its body holds it.
    let mut held = visit.hold(0);
    services
        .carry_out(&principal, address, &texts, &limits, |bytes| held.grow(bytes))
        .await
        .map_err(|disconnect| by_code(ErrorCode::RateLimited, disconnect.reason()))
}

/// Checks that the query has nothing but a token, which `authorize` judges.
fn only_a_token(query: Option<&str>) -> Result<(), Refused> {
    let mut names = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).map(|(name, _)| name);
    match names.find(|name| name != "token") {
        None => Ok(()),
        Some(name) => {
            let shown: String = name.chars().take(80).collect();
            Err(bad(&format!("there is no parameter {shown:?}; this takes `token`, and commands in the body")))
        }
    }
}

/// The commands of a body: one object, or an array of them.
fn commands(body: &[u8]) -> Result<Vec<&RawValue>, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
    let not_json = |error: serde_json::Error| bad(&format!("the body is not JSON: {error}"));
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => {
            let RawArray::<MAX_COMMANDS>(commands) = serde_json::from_str(text).map_err(not_json)?;
            match commands.len() {
                0 => Err(bad("the body has no command")),
                1..=MAX_COMMANDS => Ok(commands),
                _ => {
                    let message = format!("at most {MAX_COMMANDS} commands in one request");
                    Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &message))
                }
            }
        }
        Some(b'{') => Ok(vec![serde_json::from_str(text).map_err(not_json)?]),
        _ => Err(bad("the body must be a command, a JSON object, or an array of commands")),
    }
}

fn bad(message: &str) -> Refused {
    refused(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_command_or_several() {
        let texts = |body: &str| -> Vec<String> {
            commands(body.as_bytes()).unwrap().iter().map(|command| command.get().to_owned()).collect()
        };
        assert_eq!(texts(" {\"type\": \"ping\"} "), ["{\"type\": \"ping\"}"]);
        assert_eq!(texts("[{\"a\":1},5]"), ["{\"a\":1}", "5"]);
        let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(texts(&many(MAX_COMMANDS)).len(), MAX_COMMANDS);
        for (body, status) in [
            ("", 400),
            ("7", 400),
            ("[]", 400),
            ("{", 400),
            ("{}{}", 400),
            ("[{}]x", 400),
            (&*many(MAX_COMMANDS + 1), 413),
            (&*many(10 * MAX_COMMANDS), 413),
        ] {
            assert_eq!(commands(body.as_bytes()).unwrap_err().status(), status, "{body}");
        }
        assert_eq!(commands(b"{\"a\":\"\xff\"}").unwrap_err().status(), 400);
    }

    #[test]
    fn a_query_has_a_token_or_nothing() {
        for (query, is_good) in
            [(None, true), (Some("token=x"), true), (Some("room=a"), false), (Some("token=x&b"), false)]
        {
            assert_eq!(only_a_token(query).is_ok(), is_good, "{query:?}");
        }
    }
}
