//! A request's head (RFC 9112 sections 2 to 5), read by the worker itself so that its limits hold before anything else
//! runs.
//!
//! Never reads a body. Always holds: a head is at most as long as the limit, and the bytes behind it are left untouched for the
//! code that serves the request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// The most header lines of a request.
pub const MAX_HEADERS: usize = 100;

/// A parsed head.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// The header lines.
    pub headers: HeaderMap,
    /// Bytes that the head takes, the empty line included.
    pub len: usize,
    /// The minor version of HTTP/1.
    pub version: u8,
}

/// Why the bytes are no head. The answer is plain HTTP, also to a client that meant another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("this is not an HTTP/1.1 request")]
    NotHttp,
    /// Longer than the limit.
    #[error("the request head is too long")]
    TooLong,
    /// Not exactly one `Host`.
    #[error("an HTTP/1.1 request has one Host header")]
    Host,
}

impl HeadError {
    /// The answer's status (RFC 9110 section 15, RFC 6585 section 5).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotHttp | Self::Host => 400,
            Self::TooLong => 431,
        }
    }
}

impl Head {
    /// Parses `bytes`; `None`: more is needed.
    ///
    /// # Errors
    /// [`HeadError`] for anything that can never become a request.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<Self>, HeadError> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut lines);
        let len = match request.parse(&bytes[..bytes.len().min(limit)]) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() >= limit => return Err(HeadError::TooLong),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLong),
            Err(_) => return Err(HeadError::NotHttp),
        };
        let method = request.method.and_then(|m| Method::from_bytes(m.as_bytes()).ok());
        let uri = request.path.and_then(|p| p.parse().ok());
        let (Some(method), Some(uri), Some(version)) = (method, uri, request.version) else {
            return Err(HeadError::NotHttp);
        };
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for line in request.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| HeadError::NotHttp)?;
            let value = HeaderValue::from_bytes(line.value).map_err(|_| HeadError::NotHttp)?;
            headers.append(name, value);
        }
        if version == 1 && !names_one_host(&headers) {
            return Err(HeadError::Host);
        }
        Ok(Some(Self { method, uri, headers, len, version }))
    }

    /// The head as a request without a body.
    #[must_use]
    pub fn into_request(self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        *request.version_mut() = if self.version == 1 { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
        request
    }

    /// Whether the client asks for a WebSocket (RFC 6455 section 4.1).
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.version == 1 && self.method == Method::GET && asks_for_websocket(&self.headers)
    }
}

/// Whether a request of HTTP/1.1 says which host it is for, and says it once (RFC 9112 section 3.2).
#[must_use]
pub fn names_one_host(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::HOST).iter().count() == 1
}

/// Whether these headers ask for a WebSocket.
#[must_use]
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(http::header::UPGRADE).iter().filter_map(|v| v.to_str().ok());
    upgrades.any(|v| v.split(',').any(|token| token.trim().eq_ignore_ascii_case("websocket")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_with_limits() {
        let text = b"GET /ws?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\r\nrest";
        let head = Head::parse(text, 1024).unwrap().unwrap();
        assert_eq!((head.uri.path(), head.len), ("/ws", text.len() - 4));
        assert!(head.is_websocket());
        assert!(Head::parse(&text[..20], 1024).unwrap().is_none());
        assert_eq!(Head::parse(text, 20).unwrap_err(), HeadError::TooLong);
        assert_eq!(Head::parse(b"\x16\x03\x01\x02\x00", 1024).unwrap_err(), HeadError::NotHttp);
        for (head, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], None),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", Some(0)),
            (b"GET / HTTP/1.0\r\n\r\n", Some(0)),
        ] {
            let read = Head::parse(head, 1024).map(|head| head.map_or(1, |_| 0));
            assert_eq!(read.ok(), expected, "{}", String::from_utf8_lossy(head));
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(Head::parse(many.as_bytes(), 16_384).unwrap_err(), HeadError::TooLong);
    }
}
