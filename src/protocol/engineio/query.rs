//! The query of a request to an Engine.IO path, and its refusals.

use http::{Method, StatusCode};

/// The transport of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Long polling.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    /// Its name on the wire, in metrics and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// A refusal: the answer is its status and `{"code":N,"message":"…"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// 0
    #[error("Transport unknown")]
    UnknownTransport,
    /// 1
    #[error("Session ID unknown")]
    UnknownSession,
    /// 2
    #[error("Bad handshake method")]
    BadMethod,
    /// 3
    #[error("Bad request")]
    BadRequest,
    /// 4
    #[error("Forbidden")]
    Forbidden,
    /// 5
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
}

impl EngineError {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The answer's status (RFC 9110 section 15.5).
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer's body.
    #[must_use]
    pub fn body(self) -> String {
        format!("{{\"code\":{},\"message\":\"{self}\"}}", self.code())
    }
}

/// Whether a client takes no binary messages over a WebSocket, by the query of the request that opened its session.
#[must_use]
pub fn wants_base64(query: Option<&str>) -> bool {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|(name, value)| name == "b64" && !value.is_empty())
}

/// The parts of a query that Engine.IO defines. The application's own parameters are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The transport.
    pub transport: Transport,
    /// The session; `None`: a new one.
    pub sid: Option<String>,
}

impl Asked {
    /// Reads a request's query. `upgrade`: the request asks for a WebSocket.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn parse(method: &Method, query: Option<&str>, upgrade: bool) -> Result<Self, EngineError> {
        let (mut version, mut transport, mut sid) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "EIO" => version = Some(value),
                "transport" => transport = Some(value),
                // An empty one is what a client writes that has none yet.
                "sid" => sid = Some(value.into_owned()).filter(|sid| !sid.is_empty()),
                _ => {}
            }
        }
        let transport = match transport.as_deref() {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(EngineError::UnknownTransport),
        };
        if upgrade != (transport == Transport::WebSocket) {
            return Err(EngineError::BadRequest);
        }
        match &sid {
            // The request that opened the session stated the version.
            Some(_) => {}
            None if *method != Method::GET => return Err(EngineError::BadMethod),
            None if version.as_deref() != Some("4") => return Err(EngineError::UnsupportedVersion),
            None => {}
        }
        Ok(Self { transport, sid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_judged_as_the_reference_does() {
        let get = |query, upgrade| Asked::parse(&Method::GET, Some(query), upgrade);
        let asked = |transport, sid: Option<&str>| Ok(Asked { transport, sid: sid.map(str::to_owned) });
        assert_eq!(get("EIO=4&transport=polling&t=abc&user=x", false), asked(Transport::Polling, None));
        assert_eq!(get("EIO=4&transport=websocket", true), asked(Transport::WebSocket, None));
        assert_eq!(get("EIO=4&transport=polling&sid=x", false), asked(Transport::Polling, Some("x")));
        assert_eq!(get("EIO=4&transport=polling&sid=", false), asked(Transport::Polling, None), "none yet");
        for (query, upgrade, error) in [
            ("EIO=3&transport=polling", false, EngineError::UnsupportedVersion),
            ("transport=polling", false, EngineError::UnsupportedVersion),
            ("EIO=4", false, EngineError::UnknownTransport),
            ("EIO=4&transport=abc", false, EngineError::UnknownTransport),
            ("EIO=4&transport=websocket", false, EngineError::BadRequest),
            ("EIO=4&transport=polling", true, EngineError::BadRequest),
            ("EIO=abc&transport=websocket", true, EngineError::UnsupportedVersion),
        ] {
            assert_eq!(get(query, upgrade), Err(error), "{query}");
        }
        let post = Asked::parse(&Method::POST, Some("EIO=4&transport=polling"), false);
        assert_eq!(post, Err(EngineError::BadMethod));
        assert_eq!(EngineError::UnknownSession.body(), "{\"code\":1,\"message\":\"Session ID unknown\"}");
    }
}
