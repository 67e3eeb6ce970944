//! Centrifugo's client protocol in Protocol Buffers, with deltas: a message has replies one behind the other, each with its length.

use super::utterance::Utterance;

/// The fields of Centrifugo's `client.proto` that a client in one room needs.
mod field {
    pub(super) const ERROR: u64 = 2;
    pub(super) const PUSH: u64 = 4;
    pub(super) const CONNECT: u64 = 5;
    pub(super) const SUBSCRIBE: u64 = 6;
    pub(super) const PUBLICATION: u64 = 4;
    pub(super) const DATA: u64 = 4;
    pub(super) const DELTA: u64 = 8;
}

/// Connects, and joins the room with deltas.
pub(super) fn hello(room: &str) -> String {
    let part = |tag: char, content: String| format!("{tag}{}{content}", char::from(content.len() as u8));
    let subscribe = part('\n', room.to_owned()) + &part('b', "fossil".to_owned());
    let commands = ["\u{8}\u{1}\"\0".to_owned(), "\u{8}\u{2}".to_owned() + &part('*', subscribe)];
    commands.map(|command| format!("{}{command}", char::from(command.len() as u8))).concat()
}

/// What the first reply says.
pub(super) fn first(bytes: &[u8]) -> (usize, Utterance<'_>) {
    let mut rest = bytes;
    let reply = varint(&mut rest).and_then(|length| rest.split_at_checked(usize::try_from(length).ok()?));
    let Some((reply, after)) = reply else { return (bytes.len(), Utterance::Wrong) };
    (bytes.len() - after.len(), hear(reply).unwrap_or(Utterance::Wrong))
}

fn hear(reply: &[u8]) -> Option<Utterance<'_>> {
    if reply.is_empty() {
        // A ping, and its answer: an empty command.
        return Some(Utterance::Answer("\0".to_owned()));
    }
    let fields = fields(reply)?;
    let content = |number| fields.iter().find(|field| field.0 == number).map(|field| field.1);
    if content(field::ERROR).is_some() {
        return None;
    }
    if let Some(push) = content(field::PUSH) {
        return publication(self::fields(push)?.iter().find(|field| field.0 == field::PUBLICATION)?.1);
    }
    match (content(field::SUBSCRIBE), content(field::CONNECT)) {
        (Some(_), _) => Some(Utterance::Joined),
        (None, Some(_)) => Some(Utterance::Nothing),
        (None, None) => None,
    }
}

fn publication(publication: &[u8]) -> Option<Utterance<'_>> {
    let fields = fields(publication)?;
    let data = fields.iter().find(|field| field.0 == field::DATA)?.1;
    if fields.iter().any(|field| field.0 == field::DELTA) {
        return Some(Utterance::Delta(data));
    }
    Some(Utterance::Event(std::str::from_utf8(data).ok()?))
}

/// A message's fields: their numbers, with what is in those that have a length.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let content = match tag & 7 {
            0 => {
                varint(&mut rest)?;
                &[][..]
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (content, after) = rest.split_at_checked(length)?;
                rest = after;
                content
            }
            _ => return None,
        };
        fields.push((tag >> 3, content));
    }
    Some(fields)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&first, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(first & 0x7f) << shift;
        if first < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_are_those_of_the_schema() {
        assert_eq!(hello("a").as_bytes(), b"\x04\x08\x01\"\x00\x0f\x08\x02*\x0b\n\x01ab\x06fossil");
        let event = b"\x0e\"\x0c\x12\x01a\"\x07\"\x03{}\n0\x01";
        assert_eq!(first(event), (event.len(), Utterance::Event("{}\n")));
        let delta = b"\x0e\"\x0c\x12\x01a\"\x07\"\x033\n0@\x01\x00";
        assert_eq!(first(delta), (delta.len() - 1, Utterance::Delta(b"3\n0")));
        assert_eq!(first(&delta[delta.len() - 1..]), (1, Utterance::Answer("\0".to_owned())));
        assert_eq!(first(b"\x04\x08\x02\x32\x00"), (5, Utterance::Joined));
        assert_eq!(first(b"\x04\x08\x01\x2a\x00"), (5, Utterance::Nothing));
        for wrong in [&b"\x04\x08\x02\x12\x00"[..], b"\x09", b"\x02\x08\x01", b"\x01\x0d"] {
            assert_eq!(first(wrong).1, Utterance::Wrong, "{wrong:?}");
        }
    }
}
