//! The events frames of a room as a receiver has already seen them.
//!
//! Every member of a room gets the same bytes: the first connection that receives a frame inflates it, parses it and
//! compares the data of each event with what was published; for all others it is enough that their bytes are the same
//! bytes. So every connection's content is checked, not a sample, at the price of a comparison.

use std::{collections::VecDeque, rc::Rc};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use crate::{
    content::{Recipe, Stamp},
    dialect::room_name,
};

/// An `events` frame, parsed and compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The offset that it continues from.
    pub(super) after: u64,
    /// The last offset that it covers.
    pub(super) offset: u64,
    /// The events: their offsets and what their data say; `None`: the data are not what was published.
    pub(super) events: Vec<(u64, Option<Stamp>)>,
    /// The offsets that it need not have, because it has a newer event about the same.
    pub(super) collapsed: Vec<u64>,
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `events`.
    Batch(Rc<Batch>),
    /// `subscribed`, with the room's position.
    Subscribed(u64),
    /// `gap`.
    Gap {
        /// The last offset that came.
        after: u64,
        /// The last that is missing.
        offset: u64,
    },
    /// Engine.IO opened its session.
    Opened,
    /// Socket.IO connected to the namespace.
    Connected,
    /// Engine.IO wants a sign of life.
    Ping,
    /// So does the preset live-polls, by an event.
    Heartbeat,
    /// `welcome`, `pong` and what else does not concern a receiver.
    Other,
    /// `error`, or something that is no message of the protocol.
    Wrong(String),
}

/// One shape for every message: only `type` is always there.
#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    room: Option<&'a str>,
    after: Option<u64>,
    offset: Option<u64>,
    #[serde(borrow)]
    events: Option<Vec<Event<'a>>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    offset: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The room that a message of the native dialect names.
pub(super) fn room_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        room: Option<String>,
    }
    serde_json::from_str::<Named>(text).ok()?.room
}

/// Parses a message for a member of `room`.
pub(super) fn parse(text: &str, room: u32, recipe: &Recipe) -> Said {
    let inner = match text.as_bytes() {
        [b'{', ..] => text,
        _ if text.starts_with("42[\"event\",") => return poll_event(text, room, recipe),
        // Its session is new: nothing was published there before.
        _ if text.starts_with("42[\"connection:established\",") => return Said::Subscribed(0),
        b"42[\"heartbeat:ping\"]" => return Said::Heartbeat,
        [b'0', ..] => return Said::Opened,
        b"2" => return Said::Ping,
        [b'4', b'0', ..] => return Said::Connected,
        // An event's one argument, or an acknowledgement's: the native message.
        [b'4', b'2' | b'3', ..] => match argument(text) {
            Some(message) => message,
            None => return Said::Wrong(start(text)),
        },
        _ => return Said::Wrong(start(text)),
    };
    let message: Message<'_> = match serde_json::from_str(inner) {
        Ok(message) => message,
        Err(error) => return Said::Wrong(format!("not a message of the protocol ({error}): {}", start(text))),
    };
    if message.room.is_some_and(|name| name != room_name(room)) {
        return Said::Wrong(format!("a message of another room than {room}: {}", start(text)));
    }
    match (message.r#type, message.after, message.offset, message.events) {
        ("events", Some(after), Some(offset), Some(events)) => {
            let checked = events.iter().map(|event| (event.offset, recipe.check(room, event.data.get())));
            let batch = Batch { after, offset, events: checked.collect(), collapsed: Vec::new() };
            Said::Batch(Rc::new(batch))
        }
        ("subscribed", _, Some(offset), _) => Said::Subscribed(offset),
        ("gap", Some(after), Some(offset), _) => Said::Gap { after, offset },
        ("welcome" | "pong" | "unsubscribed", ..) => Said::Other,
        _ => Said::Wrong(start(text)),
    }
}

/// An event of the preset live-polls. Its id says where it stands; it is the only one of its message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PollEvent<'a> {
    event_id: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

fn poll_event(text: &str, room: u32, recipe: &Recipe) -> Said {
    let event = argument(text).and_then(|event| serde_json::from_str::<PollEvent<'_>>(event).ok());
    let offset = event.as_ref().and_then(|event| event.event_id.rsplit_once(':')?.1.parse::<u64>().ok());
    match (event, offset) {
        (Some(event), Some(offset @ 1..)) => {
            let events = vec![(offset, recipe.check(room, event.payload.get()))];
            Said::Batch(Rc::new(Batch { after: offset - 1, offset, events, collapsed: Vec::new() }))
        }
        _ => Said::Wrong(start(text)),
    }
}

fn argument(text: &str) -> Option<&str> {
    let array: Vec<&RawValue> = serde_json::from_str(text.get(text.find('[')?..)?).ok()?;
    array.into_iter().map(RawValue::get).find(|argument| argument.starts_with('{'))
}

pub(super) fn start(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The last few frames of one room, as bytes, with their meaning.
#[derive(Debug, Default)]
pub(super) struct Known {
    frames: VecDeque<(Box<[u8]>, Rc<Batch>)>,
    /// The data of events to which deltas refer, by their offsets.
    data: VecDeque<(u64, Box<str>)>,
}

impl Known {
    /// How many frames a connection may be behind the newest and still be recognised cheaply.
    const KEPT: usize = 16;

    /// The frame that `plaintext` begins with, if it is one of those, and its length.
    pub(super) fn recognise(&self, plaintext: &[u8]) -> Option<(usize, Rc<Batch>)> {
        let mut newest_first = self.frames.iter();
        let (bytes, batch) = newest_first.find(|(bytes, _)| plaintext.starts_with(bytes))?;
        Some((bytes.len(), Rc::clone(batch)))
    }

    /// Keeps a frame in place of the oldest.
    pub(super) fn remember(&mut self, bytes: &[u8], batch: &Rc<Batch>) {
        self.frames.truncate(Self::KEPT - 1);
        self.frames.push_front((bytes.into(), Rc::clone(batch)));
    }

    /// The data of the event with this offset, if it is one of the last.
    pub(super) fn data(&self, offset: u64) -> Option<&str> {
        self.data.iter().find(|(known, _)| *known == offset).map(|(_, data)| &**data)
    }

    /// Keeps an event's data in place of the oldest.
    pub(super) fn remember_data(&mut self, offset: u64, data: &str) {
        self.data.truncate(Self::KEPT - 1);
        self.data.push_front((offset, data.into()));
    }
}

/// The length of the whole frame that `plaintext` begins with; `None`: it is not all there.
pub(super) fn whole_frame(plaintext: &[u8]) -> Option<usize> {
    let mut cursor = std::io::Cursor::new(plaintext);
    let (_, length) = FrameHeader::parse(&mut cursor).ok()??;
    let total = usize::try_from(cursor.position().checked_add(length)?).ok()?;
    (plaintext.len() >= total).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe { seed: 1, size: 200 };

    fn events(data: &str) -> String {
        format!(
            r#"{{"type":"events","room":"bench:2","epoch":"e","after":4,"offset":5,"events":[{{"offset":5,"topic":"trip","data":{data},"time":1}}]}}"#
        )
    }

    #[test]
    fn events_are_compared_with_what_was_published() {
        let stamp = Stamp { n: 3, t: 99 };
        let data = RECIPE.data(2, stamp);
        let good = Batch { after: 4, offset: 5, events: vec![(5, Some(stamp))], collapsed: Vec::new() };
        assert_eq!(parse(&events(&data), 2, &RECIPE), Said::Batch(Rc::new(good)));
        let bad = Batch { after: 4, offset: 5, events: vec![(5, None)], collapsed: Vec::new() };
        let wrong = data.replace(r#""n":3"#, r#""n":4"#);
        assert_eq!(parse(&events(&wrong), 2, &RECIPE), Said::Batch(Rc::new(bad)));
        assert!(matches!(parse(&events(&data), 3, &RECIPE), Said::Wrong(_)), "another room's");
        assert!(matches!(parse("{", 3, &RECIPE), Said::Wrong(_)));
        assert_eq!(room_of(&events(&data)).as_deref(), Some("bench:2"));
        assert_eq!(room_of(r#"{"type":"welcome"}"#), None);
        assert!(matches!(parse(r#"{"type":"error","code":"forbidden","message":""}"#, 3, &RECIPE), Said::Wrong(_)));
    }

    #[test]
    fn events_of_live_polls_are_compared_as_well() {
        let stamp = Stamp { n: 3, t: 99 };
        let data = RECIPE.data(0, stamp);
        let event = |id: &str, payload: &str| {
            format!(
                r#"42["event",{{"eventId":"{id}","eventType":"trip","timestamp":"t","sessionId":"bench-0","payload":{payload}}},"o"]"#
            )
        };
        let good = Batch { after: 4, offset: 5, events: vec![(5, Some(stamp))], collapsed: Vec::new() };
        assert_eq!(parse(&event("a.b:5", &data), 0, &RECIPE), Said::Batch(Rc::new(good)));
        let wrong = data.replace(r#""n":3"#, r#""n":4"#);
        let bad = Batch { after: 4, offset: 5, events: vec![(5, None)], collapsed: Vec::new() };
        assert_eq!(parse(&event("a.b:5", &wrong), 0, &RECIPE), Said::Batch(Rc::new(bad)));
        for odd in [event("5", &data), event("a:0", &data), event("a:x", &data), r#"42["event",7]"#.to_owned()] {
            assert!(matches!(parse(&odd, 0, &RECIPE), Said::Wrong(_)), "{odd}");
        }
        assert_eq!(parse(r#"42["connection:established",{"replayed":false}]"#, 0, &RECIPE), Said::Subscribed(0));
        assert_eq!(parse(r#"42["heartbeat:ping"]"#, 0, &RECIPE), Said::Heartbeat);
        assert!(matches!(parse(r#"42["connection:error",{"code":"x"}]"#, 0, &RECIPE), Said::Wrong(_)));
    }

    #[test]
    fn only_the_same_bytes_are_recognised() {
        let batch = Rc::new(Batch { after: 0, offset: 1, events: Vec::new(), collapsed: Vec::new() });
        let mut known = Known::default();
        known.remember(b"\x81\x03abc", &batch);
        assert_eq!(known.recognise(b"\x81\x03abcmore").map(|(length, _)| length), Some(5));
        assert!(known.recognise(b"\x81\x03abd").is_none());
        assert!(known.recognise(b"\x81\x03ab").is_none());
        for _ in 0..Known::KEPT {
            known.remember(b"\x81\x03xyz", &batch);
        }
        assert!(known.recognise(b"\x81\x03abc").is_none(), "forgotten");
    }

    #[test]
    fn frames_are_cut_at_their_ends() {
        assert_eq!(whole_frame(b"\x81\x03abcmore"), Some(5));
        assert_eq!(whole_frame(b"\x81\x03ab"), None);
        assert_eq!(whole_frame(b"\x81"), None);
    }
}
