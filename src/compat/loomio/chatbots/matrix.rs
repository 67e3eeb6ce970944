//! The two calls of a Matrix server that a chatbot needs (client-server API r0.6.1): a room by its alias, a message into it.

use http::Request;
use serde::Deserialize;

use super::{
    call::{CallError, Caller},
    message::AccessToken,
};

/// Sends a message into a room. `transaction`: the server takes one message of that name.
pub(super) async fn send(
    caller: &Caller,
    base: &str,
    token: &AccessToken,
    room: &str,
    content: &str,
    transaction: &str,
) -> Result<(), CallError> {
    let id = if room.starts_with('!') { room.to_owned() } else { room_of(caller, base, token, room).await? };
    let url = format!("{base}/_matrix/client/r0/rooms/{}/send/m.room.message/{transaction}", encoded(&id));
    caller.call(Request::put(url), Some(token), content.to_owned()).await.map(drop)
}

/// The room that has an alias. Asked each time: an alias may be given to another room.
async fn room_of(caller: &Caller, base: &str, token: &AccessToken, alias: &str) -> Result<String, CallError> {
    #[derive(Deserialize)]
    struct Room {
        room_id: String,
    }
    let url = format!("{base}/_matrix/client/r0/directory/room/{}", encoded(alias));
    let answer = caller.call(Request::get(url), Some(token), String::new()).await?;
    serde_json::from_slice(&answer).map(|Room { room_id }| room_id).map_err(|_| CallError::Answer)
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
    }
}
