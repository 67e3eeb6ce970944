//! What is said to a page before its request over HTTP is looked into: whether its origin may ask, and by which methods.
//!
//! Always holds: a page whose origin is not allowed gets no answer that its script can read.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::{
    page_origin::PageOrigin,
    refusal::{Refused, refuse, refused},
};
use crate::{hub::Worker, metrics::Upgrades, protocol::DialectId};

/// The longest list of headers that a page may ask for, in bytes.
const MAX_WANTED_BYTES: usize = 1024;

/// By which methods a place is asked.
pub(super) struct Methods {
    /// They, as `Allow` and a preflight name them.
    names: &'static str,
    allow: &'static str,
    /// What one that comes by another method is told.
    others: &'static str,
}

impl Methods {
    /// Of what is only read.
    pub(super) const READS: Self = Self { names: "GET", allow: "GET, OPTIONS", others: "this is only to be read: GET" };
    /// Of what takes commands.
    pub(super) const TAKES: Self = Self { names: "POST", allow: "POST, OPTIONS", others: "this takes commands: POST" };
    /// Of what takes commands of a described dialect.
    pub(super) const TAKES_OR_PUTS: Self =
        Self { names: "POST, PUT", allow: "POST, PUT, OPTIONS", others: "this takes commands: POST" };

    fn has(&self, method: &Method) -> bool {
        self.names.split(", ").any(|name| name == method.as_str())
    }
}

/// The headers that belong on every answer to a request.
///
/// # Errors
/// The answer, where it has one already: a page of another origin, a page that asks before it asks, another method.
pub(super) fn headers_for<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    dialect: DialectId,
    methods: &Methods,
    counted: &Upgrades,
) -> Result<HeaderMap, Box<Response<Full<Bytes>>>> {
    let refuse = |refusal: Refused, headers| Box::new(refuse(&worker.borrow().services, dialect, *refusal, headers));
    let mut headers = allowed_origin(worker, request.headers()).map_err(|refusal| {
        counted.origin.increment(1);
        refuse(refusal, HeaderMap::new())
    })?;
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if request.method() == Method::OPTIONS {
        return Err(Box::new(preflight(headers, request.headers(), methods.names)));
    }
    if !methods.has(request.method()) {
        let mut refusal = refused(StatusCode::METHOD_NOT_ALLOWED, methods.others);
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods.allow));
        return Err(refuse(refusal, headers));
    }
    Ok(headers)
}

/// The answer to a page that asks before it asks (Fetch, section 3.2.4).
fn preflight(mut headers: HeaderMap, asked: &HeaderMap, methods: &'static str) -> Response<Full<Bytes>> {
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(asked));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.append(header::VARY, HeaderValue::from_static("access-control-request-headers"));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response
}

/// The headers that the page of an allowed origin may send: those that it asks for, because what watches its requests adds its own
/// (`traceparent`, `baggage`); a star would not stand for them beside cookies (Fetch, section 3.2.2).
pub(super) fn allowed_headers(asked: &HeaderMap) -> HeaderValue {
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|wanted| wanted.len() <= MAX_WANTED_BYTES);
    wanted.cloned().unwrap_or(HeaderValue::from_static("authorization, content-type, last-event-id, cache-control"))
}

/// What lets the page of an allowed origin read the answer. A request without an origin does not come from a browser's
/// foreign page.
fn allowed_origin(worker: &Rc<RefCell<Worker>>, asked: &HeaderMap) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    match PageOrigin::of(asked, None, worker.borrow().config()) {
        PageOrigin::Unnamed => {}
        PageOrigin::Foreign => {
            return Err(refused(StatusCode::FORBIDDEN, "pages of this origin may not connect here"));
        }
        PageOrigin::Allowed(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // A backend may decide by a cookie, which a page of another origin may send only then (Fetch, section 3.2.3).
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        }
    }
    Ok(headers)
}
