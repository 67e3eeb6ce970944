//! The client's side of the opening handshake (RFC 6455 section 4.1): a request, and the check of its answer.
//!
//! Never does I/O: the request is bytes to send, and the answer is bytes that came. Always holds: nothing is agreed that the request
//! did not offer.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::extension::{Deflate, ExtensionError, Offer};

/// The most headers that a server's answer may have.
const MAX_HEADERS: usize = 64;

/// The client's side: a request, and the check of its answer.
#[derive(Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    key: String,
    protocols: Vec<String>,
    offer: Option<Offer>,
}

/// What a server agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The subprotocol.
    pub protocol: Option<String>,
    /// The compression.
    pub deflate: Option<Deflate>,
    /// The length of the answer's head: what follows are frames.
    pub head_bytes: usize,
}

/// Why a server's answer opens no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The answer is no HTTP/1.1 response.
    #[error("the server's answer is no HTTP response: {0}")]
    Http(#[from] httparse::Error),
    /// The server did not switch protocols.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// A header is missing or wrong.
    #[error("the server's {0} header is missing or wrong")]
    Header(HeaderName),
    /// The compression that the server answers with does not fit the offer.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

impl ClientHandshake {
    /// A request for `target` (path and query) at `host` (with the port, if it is not the scheme's), offering
    /// `protocols` and compression, with more `headers` (`Origin`, say). None of the texts may contain control
    /// characters: they come from the caller, not from a peer.
    #[must_use]
    pub fn new(host: &str, target: &str, protocols: &[&str], offer: Option<Offer>, headers: &[(&str, &str)]) -> Self {
        let key = generate_key();
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        if !protocols.is_empty() {
            request += &format!("Sec-WebSocket-Protocol: {}\r\n", protocols.join(", "));
        }
        if let Some(offer) = offer {
            request += &format!("Sec-WebSocket-Extensions: {}\r\n", offer.header());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        let protocols = protocols.iter().map(|&protocol| protocol.to_owned()).collect();
        Self { request: request.into_bytes(), key, protocols, offer }
    }

    /// The request to send.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Checks what the server has sent so far; `None`: the head is incomplete.
    ///
    /// # Errors
    /// [`AnswerError`] if the answer is not the one to this request (RFC 6455 section 4.1).
    pub fn answer(&self, input: &[u8]) -> Result<Option<Agreed>, AnswerError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head_bytes) = response.parse(input)? else { return Ok(None) };
        match response.code {
            Some(101) => {}
            code => return Err(AnswerError::Status(code.unwrap_or_default())),
        }
        let mut headers = HeaderMap::new();
        for header in &*response.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(header.name), HeaderValue::from_bytes(header.value)) {
                headers.append(name, value);
            }
        }
        let has = |name: HeaderName, wanted: &str| {
            let found = headers.get(&name).and_then(|value| value.to_str().ok());
            let fits = found.is_some_and(|value| value.split(',').any(|v| v.trim().eq_ignore_ascii_case(wanted)));
            if fits { Ok(()) } else { Err(AnswerError::Header(name)) }
        };
        has(CONNECTION, "upgrade")?;
        has(UPGRADE, "websocket")?;
        let accept = derive_accept_key(self.key.as_bytes());
        if headers.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value != &accept) {
            return Err(AnswerError::Header(SEC_WEBSOCKET_ACCEPT));
        }
        let protocol = match headers.get(SEC_WEBSOCKET_PROTOCOL) {
            None => None,
            Some(chosen) => match self.protocols.iter().find(|offered| chosen == offered.as_str()) {
                Some(protocol) => Some(protocol.clone()),
                None => return Err(AnswerError::Header(SEC_WEBSOCKET_PROTOCOL)),
            },
        };
        let deflate = match self.offer {
            Some(offer) => offer.agreed(&headers)?,
            None if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) => return Err(ExtensionError::NotOffered.into()),
            None => None,
        };
        Ok(Some(Agreed { protocol, deflate, head_bytes }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::Request;

    use super::*;
    use crate::server_handshake::{accept, write_head};

    fn parse(bytes: &[u8]) -> Request<()> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Request::new(&mut headers);
        assert_eq!(parsed.parse(bytes).unwrap(), httparse::Status::Complete(bytes.len()));
        let mut request = Request::builder().method(parsed.method.unwrap()).uri(parsed.path.unwrap());
        for header in parsed.headers {
            request = request.header(header.name, header.value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn both_sides_agree() {
        for (switch, offer) in [(true, Some(Offer::default())), (false, Some(Offer::default())), (true, None)] {
            let client = ClientHandshake::new("localhost", "/ws?x=1", &["roomcast.v1"], offer, &[("Origin", "null")]);
            let request = parse(client.request());
            assert_eq!(request.headers()["origin"], "null");
            let accepted = accept(&request, &["roomcast.v1"], switch).unwrap();
            assert_eq!(accepted.deflate.is_some(), switch && offer.is_some());
            let mut head = Vec::new();
            write_head(&accepted.response, &mut head);
            let length = head.len();
            assert_eq!(client.answer(&head[..length - 1]), Ok(None));
            head.extend_from_slice(b"\x81\x00");
            let agreed = client.answer(&head).unwrap().unwrap();
            assert_eq!(agreed.protocol.as_deref(), Some("roomcast.v1"));
            assert_eq!(agreed.deflate, accepted.deflate);
            assert_eq!(agreed.head_bytes, length);
        }
    }

    #[test]
    fn a_client_refuses_what_it_did_not_ask_for() {
        let client = ClientHandshake::new("localhost", "/ws", &["a"], None, &[]);
        let good = {
            let mut head = Vec::new();
            write_head(&accept(&parse(client.request()), &["a"], true).unwrap().response, &mut head);
            String::from_utf8(head).unwrap()
        };
        assert!(client.answer(good.as_bytes()).is_ok());
        let other = ClientHandshake::new("localhost", "/ws", &["a"], None, &[]);
        assert_eq!(other.answer(good.as_bytes()), Err(AnswerError::Header(SEC_WEBSOCKET_ACCEPT)));
        for (from, to, error) in [
            ("101 Switching Protocols", "503 Service Unavailable", AnswerError::Status(503)),
            ("protocol: a", "protocol: b", AnswerError::Header(SEC_WEBSOCKET_PROTOCOL)),
            ("upgrade: websocket", "upgrade: h2c", AnswerError::Header(UPGRADE)),
            ("connection: Upgrade", "connection: close", AnswerError::Header(CONNECTION)),
            ("\r\n\r\n", "\r\nsec-websocket-extensions: x\r\n\r\n", ExtensionError::NotOffered.into()),
        ] {
            assert_eq!(client.answer(good.replace(from, to).as_bytes()), Err(error), "{to}");
        }
        assert!(matches!(client.answer(b"garbage\r\n\r\n"), Err(AnswerError::Http(_))));
    }
}
