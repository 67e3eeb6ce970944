//! The server's side of the opening handshake (RFC 6455 section 4.2), on heads that were already read.
//!
//! Owns what is agreed there: subprotocol and compression. The checks of the request are tungstenite's. Never judges
//! origin, path or token: that is done before.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use tungstenite::{Error, error::ProtocolError, handshake::server::create_response_with_body};

use super::extension::{self, Deflate};

/// A handshake that a server accepted.
#[derive(Debug)]
pub struct Accepted<'p> {
    /// The answer: 101 with everything that was agreed.
    pub response: Response<()>,
    /// The subprotocol, one of those that the client offered.
    pub protocol: Option<&'p str>,
    /// The compression.
    pub deflate: Option<Deflate>,
}

/// Why a request does not become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The method is not GET.
    #[error("A WebSocket is opened with GET.")]
    Method,
    /// The request asks for no upgrade.
    #[error(
        "This is a WebSocket endpoint: ask for an upgrade with \"Connection: Upgrade\" and \"Upgrade: websocket\"."
    )]
    NoUpgrade,
    /// The version of the WebSocket protocol is not 13.
    #[error("Only version 13 of the WebSocket protocol is spoken here: send \"Sec-WebSocket-Version: 13\".")]
    Version,
    /// HTTP/1.0 or older.
    #[error("A WebSocket is opened with HTTP/1.1.")]
    HttpVersion,
    /// The key is missing, repeated or not 16 bytes of base64.
    #[error("The request needs one \"Sec-WebSocket-Key\" header: 16 random bytes in base64.")]
    Key,
    /// Anything else.
    #[error("The WebSocket handshake is malformed (RFC 6455 section 4.2.1).")]
    Malformed,
}

impl RequestError {
    /// The HTTP answer: a status and a sentence. The connection is to be closed after it.
    #[must_use]
    pub fn response(self) -> Response<String> {
        let (status, header): (_, Option<(HeaderName, &str)>) = match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, "GET"))),
            Self::NoUpgrade => (StatusCode::UPGRADE_REQUIRED, Some((UPGRADE, "websocket"))),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, Some((SEC_WEBSOCKET_VERSION, "13"))),
            Self::HttpVersion | Self::Key | Self::Malformed => (StatusCode::BAD_REQUEST, None),
        };
        let body = format!("{self}\n");
        let mut response = Response::new(String::new());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.extend(header.map(|(name, value)| (name, HeaderValue::from_static(value))));
        *response.body_mut() = body;
        response
    }
}

/// The server's side: judges the request and agrees on the client's first subprotocol that is in `protocols` and, if
/// `deflate`, on compression. A client that offers only unknown subprotocols gets none, and decides for itself.
///
/// # Errors
/// [`RequestError`], with the HTTP answer to send.
pub fn accept<'p, T>(request: &Request<T>, protocols: &[&'p str], deflate: bool) -> Result<Accepted<'p>, RequestError> {
    if request.method() != Method::GET {
        return Err(RequestError::Method);
    }
    let headers = request.headers();
    // At most one of each (RFC 6455 sections 11.3.1 and 11.3.5).
    if headers.get_all(SEC_WEBSOCKET_KEY).iter().count() > 1 {
        return Err(RequestError::Key);
    }
    if headers.get_all(SEC_WEBSOCKET_VERSION).iter().count() > 1 {
        return Err(RequestError::Version);
    }
    let created = if [CONNECTION, UPGRADE].iter().any(|name| is_list(headers, name)) {
        let mut joined = Request::new(());
        (*joined.version_mut(), *joined.headers_mut()) = (request.version(), headers.clone());
        for (name, token) in [(CONNECTION, "Upgrade"), (UPGRADE, "websocket")] {
            if has_token(headers, &name, token) {
                joined.headers_mut().insert(name, HeaderValue::from_static(token));
            }
        }
        create_response_with_body(&joined, || ())
    } else {
        create_response_with_body(request, || ())
    };
    let mut response = created.map_err(|error| match error {
        Error::Protocol(error) => match error {
            ProtocolError::WrongHttpMethod => RequestError::Method,
            ProtocolError::WrongHttpVersion => RequestError::HttpVersion,
            ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader => {
                RequestError::NoUpgrade
            }
            ProtocolError::MissingSecWebSocketVersionHeader => RequestError::Version,
            ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey => RequestError::Key,
            _ => RequestError::Malformed,
        },
        _ => RequestError::Malformed,
    })?;
    let protocol = offered_protocols(headers).find_map(|offered| protocols.iter().find(|p| **p == offered).copied());
    if let Some(value) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let agreed = if deflate { extension::answer(headers) } else { None };
    let deflate = agreed.map(|(deflate, value)| {
        response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, value);
        deflate
    });
    Ok(Accepted { response, protocol, deflate })
}

/// Whether a header says more than one thing: tungstenite looks at the first line of `Connection`, and wants `Upgrade` to say nothing
/// else.
fn is_list(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut lines = headers.get_all(name).iter();
    lines.next().is_some_and(|first| first.as_bytes().contains(&b',')) || lines.next().is_some()
}

/// Whether a list has a token, on whichever of its lines (RFC 9110 section 5.3).
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// The subprotocols that a request offers, in the order in which its client prefers them (RFC 6455 section 11.3.4).
pub fn offered_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty())
}

/// Appends a response's head as HTTP/1.1 (RFC 9112 section 4).
pub fn write_head<T>(response: &Response<T>, out: &mut Vec<u8>) {
    let status = response.status();
    out.extend_from_slice(format!("HTTP/1.1 {} ", status.as_str()).as_bytes());
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in response.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The request of RFC 6455 section 1.2.
    fn request() -> Request<()> {
        Request::get("/chat")
            .header("Host", "server.example.com")
            .header("Upgrade", "websocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", "chat, superchat")
            .header("Sec-WebSocket-Version", "13")
            .body(())
            .unwrap()
    }

    #[test]
    fn lists_may_stand_on_several_lines() {
        for (name, more) in [("connection", "keep-alive"), ("upgrade", "h2c")] {
            for first in [true, false] {
                let mut request = request();
                let (own, other) = (request.headers()[name].clone(), HeaderValue::from_static(more));
                let lines = if first { [own, other] } else { [other, own] };
                request.headers_mut().remove(name);
                for line in lines {
                    request.headers_mut().append(HeaderName::from_static(name), line);
                }
                assert!(accept(&request, &["chat"], true).is_ok(), "{name} {first}");
            }
        }
        let mut request = request();
        request.headers_mut().insert("connection", HeaderValue::from_static("keep-alive"));
        request.headers_mut().append("connection", HeaderValue::from_static("close"));
        assert_eq!(accept(&request, &["chat"], true).unwrap_err(), RequestError::NoUpgrade);
    }

    #[test]
    fn the_rfcs_request_is_accepted() {
        let accepted = accept(&request(), &["superchat", "chat"], true).unwrap();
        assert_eq!(accepted.protocol, Some("chat"), "the client's order");
        assert_eq!(accepted.deflate, None);
        let mut head = Vec::new();
        write_head(&accepted.response, &mut head);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn nothing_is_echoed_that_was_not_offered() {
        let accepted = accept(&request(), &["roomcast.v1", "Chat"], true).unwrap();
        assert_eq!(accepted.protocol, None);
        assert!(!accepted.response.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
        assert!(!accepted.response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS));
        let mut several = request();
        several.headers_mut().append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("x ,roomcast.v1"));
        assert_eq!(accept(&several, &["roomcast.v1"], true).unwrap().protocol, Some("roomcast.v1"));
    }

    #[test]
    fn what_is_wrong_gets_an_http_answer_that_says_so() {
        let change = |name: HeaderName, value: Option<&'static str>| {
            let mut request = request();
            match value {
                Some(value) => request.headers_mut().insert(name, HeaderValue::from_static(value)),
                None => request.headers_mut().remove(name),
            };
            request
        };
        let twice = |name: HeaderName, value: &'static str| {
            let mut request = request();
            request.headers_mut().append(name, HeaderValue::from_static(value));
            request
        };
        let mut post = request();
        *post.method_mut() = Method::POST;
        let mut old = request();
        *old.version_mut() = http::Version::HTTP_10;
        for (request, refusal, status) in [
            (post, RequestError::Method, 405),
            (old, RequestError::HttpVersion, 400),
            (change(UPGRADE, None), RequestError::NoUpgrade, 426),
            (change(UPGRADE, Some("h2c")), RequestError::NoUpgrade, 426),
            (change(CONNECTION, Some("keep-alive")), RequestError::NoUpgrade, 426),
            (change(SEC_WEBSOCKET_VERSION, None), RequestError::Version, 426),
            (change(SEC_WEBSOCKET_VERSION, Some("8")), RequestError::Version, 426),
            (twice(SEC_WEBSOCKET_VERSION, "13"), RequestError::Version, 426),
            (change(SEC_WEBSOCKET_KEY, None), RequestError::Key, 400),
            (change(SEC_WEBSOCKET_KEY, Some("short")), RequestError::Key, 400),
            (twice(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="), RequestError::Key, 400),
        ] {
            assert_eq!(accept(&request, &[], true).unwrap_err(), refusal);
            let response = refusal.response();
            assert_eq!(response.status(), status, "{refusal}");
            assert_eq!(response.headers()[CONTENT_LENGTH], response.body().len().to_string().as_str());
        }
        assert_eq!(RequestError::Version.response().headers()[SEC_WEBSOCKET_VERSION], "13");
    }
}
