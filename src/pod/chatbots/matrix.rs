//! The two calls of a Matrix server that a chatbot needs (client-server API r0.6.1): a room by its alias, a message into it.

use std::time::Duration;

use http::Request;
use serde::Deserialize;

use super::{AccessToken, Chatbots, Fault};

impl Chatbots {
    /// Sends a message into a room. `transaction`: the server takes one message of that name.
    pub(super) async fn matrix(
        &self,
        base: &str,
        token: &AccessToken,
        room: &str,
        content: &str,
        transaction: &str,
    ) -> Result<(), Fault> {
        let id = if room.starts_with('!') { room.to_owned() } else { self.room_of(base, token, room).await? };
        let url = format!("{base}/_matrix/client/r0/rooms/{}/send/m.room.message/{transaction}", encoded(&id));
        self.call(Request::put(url), Some(token), content.to_owned()).await.map(drop)
    }

    /// The room that has an alias. Asked each time: an alias may be given to another room.
    async fn room_of(&self, base: &str, token: &AccessToken, alias: &str) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Room {
            room_id: String,
        }
        let url = format!("{base}/_matrix/client/r0/directory/room/{}", encoded(alias));
        let answer = self.call(Request::get(url), Some(token), String::new()).await?;
        serde_json::from_slice(&answer).map(|Room { room_id }| room_id).map_err(|_| Fault::Answer)
    }
}

/// For how long a server that is busy wants to be left alone (`M_LIMIT_EXCEEDED`).
pub(super) fn wait(answer: &[u8]) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Limited {
        retry_after_ms: u64,
    }
    let Limited { retry_after_ms } = serde_json::from_slice(answer).ok()?;
    Some(Duration::from_millis(retry_after_ms))
}

/// A text as one segment of a path (RFC 3986 section 3.3).
fn encoded(segment: &str) -> String {
    let mut out = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_one_segment() {
        assert_eq!(encoded("#a/../b:matrix.org?x=é"), "%23a%2F..%2Fb%3Amatrix.org%3Fx%3D%C3%A9");
        assert_eq!(wait(br#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2000}"#), Some(Duration::from_secs(2)));
        assert_eq!(wait(b"busy"), None);
    }
}
