//! Centrifugo's client protocol in JSON: a message has one reply or push a line.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::utterance::Utterance;

/// Connects, and joins the room.
pub(super) fn hello(room: &str) -> String {
    format!("{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{room}\"}}}}")
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    connect: Option<&'a RawValue>,
    #[serde(borrow)]
    subscribe: Option<&'a RawValue>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What the first line says.
pub(super) fn first(bytes: &[u8]) -> (usize, Utterance<'_>) {
    let length = bytes.iter().position(|&byte| byte == b'\n');
    let (line, taken) = length.map_or((bytes, bytes.len()), |length| (&bytes[..length], length + 1));
    (taken, hear(line))
}

fn hear(line: &[u8]) -> Utterance<'_> {
    if line.is_empty() {
        return Utterance::Nothing;
    }
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return Utterance::Wrong };
    match line {
        Line { error: Some(_), .. } => Utterance::Wrong,
        Line { push: Some(Push { publication: Some(publication) }), .. } => Utterance::Event(publication.data.get()),
        Line { subscribe: Some(_), .. } => Utterance::Joined,
        Line { connect: Some(_), .. } => Utterance::Nothing,
        // A ping is an empty message, and so is its answer.
        Line { push: None, .. } => Utterance::Answer("{}".to_owned()),
        Line { .. } => Utterance::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_one_by_one() {
        let said = b"{\"id\":1,\"connect\":{\"client\":\"x\"}}\n{\"id\":2,\"subscribe\":{\"epoch\":\"x\"}}";
        assert_eq!(first(said), (34, Utterance::Nothing));
        assert_eq!(first(&said[34..]), (said.len() - 34, Utterance::Joined));
        let event = br#"{"push":{"channel":"a","pub":{"data":{"n":7,"t":9},"offset":1}}}"#;
        assert_eq!(first(event), (event.len(), Utterance::Event(r#"{"n":7,"t":9}"#)));
        assert_eq!(first(b"{}"), (2, Utterance::Answer("{}".to_owned())));
        assert_eq!(first(b"\n{}"), (1, Utterance::Nothing));
        for wrong in [&br#"{"id":2,"error":{"code":103}}"#[..], b"no JSON", br#"{"push":{"channel":"a"}}"#] {
            assert_eq!(first(wrong).1, Utterance::Wrong);
        }
    }
}
