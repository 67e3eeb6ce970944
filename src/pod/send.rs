//! `POST /send`, and the paths of described dialects: commands of clients that have no WebSocket, beside the polls and event streams by
//! which they listen.
//!
//! The same judge as for WebSockets decides about origin, token and room for one more. Always holds: a body that is no command is refused
//! as a whole before anything of it is done; each command has its reply, in the order of the commands; a refusal is JSON with one of the
//! protocol's error codes.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::value::RawValue;

use super::{
    authorize::{Admitted, Asks, authorize},
    cross_origin::{Methods, headers_for},
    entrance::{Stage, Visit},
    fetching::Origin,
    refusal::{Refused, by_code, come_back, refuse, refused, status_of},
    request_body::read_body,
};
use crate::{
    hub::{CarriedOut, Principal, Seat, Worker, unix_millis},
    metrics::Upgrades,
    model::{ErrorCode, RawArray},
    protocol::{DialectId, HttpAnswer},
};

/// The most commands of one request.
const MAX_COMMANDS: usize = 64;

/// What carries them, as the backend and the metrics know it.
const TRANSPORT: &str = "send";

/// Answers a request with commands in a dialect.
pub(super) async fn answer(
    worker: &Rc<RefCell<Worker>>,
    request: Request<Incoming>,
    from: Origin,
    visit: &Visit,
    dialect: DialectId,
) -> Response<Full<Bytes>> {
    let services = Arc::clone(&worker.borrow().services);
    let counted = &services.metrics.handshakes.sends;
    let is_native = dialect == DialectId::NATIVE;
    let methods = if is_native { Methods::TAKES } else { Methods::TAKES_OR_PUTS };
    let mut headers = match headers_for(worker, &request, dialect, &methods, counted) {
        Ok(headers) => headers,
        Err(answer) => return *answer,
    };
    let answered = serve(worker, request, from, visit, dialect).await;
    // The next request comes over another connection, which a balancer sends to another pod.
    if services.gate.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    match answered {
        Ok(CarriedOut { mut replies, refused }) => {
            // Each has a comma behind it.
            replies.pop();
            let answer = HttpAnswer { messages: &replies, cursor: None, closed: None };
            let body = services.dialects.get(dialect).http_answer(&answer, unix_millis());
            let mut response = Response::new(Full::from(body));
            if let Some(code) = refused.filter(|_| !is_native) {
                *response.status_mut() = status_of(code);
            }
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => refuse(&services, dialect, *refusal, headers),
    }
}

async fn serve(
    worker: &Rc<RefCell<Worker>>,
    request: Request<Incoming>,
    from: Origin,
    visit: &Visit,
    dialect: DialectId,
) -> Result<CarriedOut, Refused> {
    let (services, limits, max_bytes) = {
        let this = worker.borrow();
        (Arc::clone(&this.services), this.session_limits(), this.config().limits.max_message)
    };
    let counted = &services.metrics.handshakes.sends;
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    if dialect == DialectId::NATIVE {
        only_a_token(request.uri().query()).inspect_err(|_| counted.malformed.increment(1))?;
    }
    let (principal, _seat) = admit(worker, &request, from, dialect, counted).await?;
    let broken = || bad("the body did not come whole");
    let (body, _held) = read_body(request.headers(), body, max_bytes, &services, visit, broken)
        .await
        .inspect_err(|_| counted.malformed.increment(1))?;
    visit.enter(Stage::Serving);
    let commands = commands(&body).inspect_err(|_| counted.malformed.increment(1))?;
    let texts: Vec<&str> = commands.iter().map(|command| command.get()).collect();
    counted.accepted.increment(1);
    let address = from.address.map(|from| from.ip());
    // Until the answer is whole, and its body holds it.
    let mut held = visit.hold(0);
    services
        .carry_out(&principal, address, dialect, &texts, &limits, |bytes| held.grow(bytes))
        .await
        .map_err(|disconnect| by_code(ErrorCode::RateLimited, disconnect.reason()))
}

/// Lets the client of a request in: what it may do, and its place for as long as the request lasts.
pub(super) async fn admit<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Origin,
    dialect: DialectId,
    counted: &Upgrades,
) -> Result<(Principal, Seat), Refused> {
    let services = Arc::clone(&worker.borrow().services);
    let dialect = services.dialects.name(dialect);
    let asks = Asks { from: from.address, transport: TRANSPORT, dialect, takes_tokens: false, later: false };
    let Admitted { grant, .. } = authorize(worker, request, asks, counted).await?;
    let grant = grant.ok_or_else(|| {
        counted.token.increment(1);
        refused(StatusCode::UNAUTHORIZED, "a token is required here, and the request has none")
    })?;
    let seat = Seat::take(&services, from.address.map(|from| from.ip()), counted)
        .map_err(|full| come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string())))?;
    Ok((Principal { connection: None, grant, transport: TRANSPORT, dialect: Arc::clone(dialect) }, seat))
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
