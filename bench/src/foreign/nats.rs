//! The client protocol of NATS: a stream of operations, whose cuts into WebSocket messages mean nothing.

use super::utterance::Utterance;

/// Connects and subscribes. The server answers the ping once it has done both.
pub(super) fn hello(room: &str) -> String {
    let connect = r#"{"verbose":false,"pedantic":false,"lang":"rust","version":"1","protocol":1}"#;
    format!("CONNECT {connect}\r\nSUB {room} 1\r\nPING\r\n")
}

/// What the first operation says; `None`: it is not all there.
pub(super) fn first(bytes: &[u8]) -> Option<(usize, Utterance<'_>)> {
    let length = bytes.windows(2).position(|window| window == b"\r\n")?;
    let after = length + 2;
    let Ok(line) = std::str::from_utf8(&bytes[..length]) else { return Some((after, Utterance::Wrong)) };
    let mut words = line.split(' ');
    let said = match words.next() {
        Some("MSG") => {
            let Some(size) = words.next_back().and_then(|size| size.parse::<usize>().ok()) else {
                return Some((after, Utterance::Wrong));
            };
            let end = after.checked_add(size)?;
            let taken = end.checked_add(2)?;
            if bytes.len() < taken {
                return None;
            }
            let data = std::str::from_utf8(&bytes[after..end]);
            return Some((taken, data.map_or(Utterance::Wrong, Utterance::Event)));
        }
        Some("PING") => Utterance::Answer("PONG\r\n".to_owned()),
        Some("PONG") => Utterance::Joined,
        Some("INFO" | "+OK") => Utterance::Nothing,
        _ => Utterance::Wrong,
    };
    Some((after, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_cut_at_their_ends() {
        let said = b"INFO {\"server_id\":\"x\"}\r\nPONG\r\nMSG a 1 7\r\n{\"n\":7}\r\nPING\r\nMSG";
        let mut rest = &said[..];
        let mut heard = Vec::new();
        while let Some((taken, utterance)) = first(rest) {
            heard.push(utterance);
            rest = &rest[taken..];
        }
        let pong = || Utterance::Answer("PONG\r\n".to_owned());
        assert_eq!(heard, [Utterance::Nothing, Utterance::Joined, Utterance::Event(r#"{"n":7}"#), pong()]);
        assert_eq!(rest, b"MSG");
        let event = b"MSG a 1 7\r\n{\"n\":7}\r\n";
        assert!((0..event.len()).all(|end| first(&event[..end]).is_none()));
        for wrong in [&b"-ERR 'x'\r\n"[..], b"MSG a 1 x\r\n", b"\xff\r\n"] {
            assert_eq!(first(wrong).map(|(_, said)| said), Some(Utterance::Wrong));
        }
    }
}
