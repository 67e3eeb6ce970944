//! The body of an answer to a client that fetches or sends over HTTP.
//!
//! Pure. Always holds: as the native protocol has it, it is one JSON object.

use crate::model::Disconnect;

/// What a client is answered over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct HttpAnswer<'a> {
    /// What was said to it: messages with a comma between them.
    pub messages: &'a [u8],
    /// Where it stands once it has read them; `None`: it did not ask for what is new.
    pub cursor: Option<&'a str>,
    /// Why nothing more is said to it.
    pub closed: Option<Disconnect>,
}

impl HttpAnswer<'_> {
    /// Why nothing more is said, where the client should know. One that polls comes back anyway, so a pod that goes away says nothing.
    #[must_use]
    pub fn close(&self) -> Option<Disconnect> {
        self.closed.filter(|closed| *closed != Disconnect::Restart)
    }

    /// The body in the native protocol.
    #[must_use]
    pub fn native(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.messages.len() + self.cursor.map_or(0, str::len) + 96);
        body.extend_from_slice(b"{\"messages\":[");
        body.extend_from_slice(self.messages);
        body.push(b']');
        if let Some(cursor) = self.cursor {
            // A cursor has no character that JSON escapes.
            body.extend_from_slice(format!(",\"cursor\":\"{cursor}\"").as_bytes());
        }
        if let Some(closed) = self.close() {
            let (code, reason) = (closed.code(), closed.reason());
            body.extend_from_slice(format!(",\"close\":{{\"code\":{code},\"reason\":\"{reason}\"}}").as_bytes());
        }
        body.push(b'}');
        body
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn answers_are_json() {
        let read = |messages: &[u8], cursor, closed| -> Value {
            serde_json::from_slice(&HttpAnswer { messages, cursor, closed }.native()).unwrap()
        };
        let cursor = Some("a=e:1");
        assert_eq!(read(b"", cursor, None), json!({"messages": [], "cursor": "a=e:1"}));
        assert_eq!(read(b"{\"a\":1},2", cursor, None), json!({"messages": [{"a": 1}, 2], "cursor": "a=e:1"}));
        assert_eq!(read(b"1", None, None), json!({"messages": [1]}));
        assert_eq!(read(b"", cursor, Some(Disconnect::Restart)), json!({"messages": [], "cursor": "a=e:1"}));
        for disconnect in Disconnect::ALL.into_iter().filter(|d| *d != Disconnect::Restart) {
            let close = json!({"code": disconnect.code(), "reason": disconnect.reason()});
            assert_eq!(read(b"1", cursor, Some(disconnect))["close"], close);
        }
    }
}
