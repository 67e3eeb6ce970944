//! Publications, and the events that they become in a log.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Offset, Room, UnixMillis};

/// An event's data. JSON stays as its publisher wrote it: it is checked once, and never rebuilt.
#[derive(Debug, Clone)]
pub enum Payload {
    /// Valid JSON text (RFC 8259); `data` on the wire.
    Json(Box<RawValue>),
    /// Opaque bytes; `data64` (base64, RFC 4648 section 4) on the wire.
    Binary(Bytes),
}

impl Payload {
    /// The bytes that the payload holds in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(raw) => raw.get().len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => a.get() == b.get(),
            (Self::Binary(a), Self::Binary(b)) => a == b,
            _ => false,
        }
    }
}

/// An event before the broker has given it an offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The kind of the event.
    pub topic: Box<str>,
    /// The subject of the event. Conflation and retained values can go by it.
    pub key: Option<Box<str>>,
    /// The data.
    pub payload: Payload,
    /// The user that publishes, from the token; never from the body.
    pub user: Option<Box<str>>,
    /// The publisher's own id of the event.
    pub id: Option<Box<str>>,
    /// A repeated publish with the same key in the same room is one event.
    pub idempotency_key: Option<Box<str>>,
}

/// One event of a room's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The offset.
    pub offset: Offset,
    /// When the broker accepted it.
    pub time: UnixMillis,
    /// The room that it was published to, if rooms share its log.
    pub room: Option<Room>,
    /// The kind of the event.
    pub topic: Box<str>,
    /// The subject of the event.
    pub key: Option<Box<str>>,
    /// The data.
    pub payload: Payload,
    /// The user that published it, if a client did.
    pub user: Option<Box<str>>,
    /// The publisher's own id.
    pub id: Option<Box<str>>,
}

impl Event {
    /// The event that a publication becomes at `offset`. `room` is the room that it was published to, if its log is shared.
    #[must_use]
    pub fn from_publication(publication: Publication, offset: Offset, time: UnixMillis, room: Option<Room>) -> Self {
        let Publication { topic, key, payload, user, id, idempotency_key: _ } = publication;
        Self { offset, time, room, topic, key, payload, user, id }
    }

    /// The publication, without the fields that the log added.
    #[must_use]
    pub fn into_publication(self) -> Publication {
        let Self { offset: _, time: _, room: _, topic, key, payload, user, id } = self;
        Publication { topic, key, payload, user, id, idempotency_key: None }
    }

    /// Whether it was published to `room`, whose log it is in, and not to another room that shares this log.
    #[must_use]
    pub fn is_of(&self, room: &Room) -> bool {
        self.room.as_ref().is_none_or(|own| own == room)
    }

    /// The bytes of memory that the event takes, headers included. Bounded logs count these.
    #[must_use]
    pub fn cost(&self) -> usize {
        cost(&self.topic, &self.payload, [&self.key, &self.user, &self.id])
    }
}

impl Publication {
    /// [`Event::cost`] of the event that it becomes.
    #[must_use]
    pub fn cost(&self) -> usize {
        cost(&self.topic, &self.payload, [&self.key, &self.user, &self.id])
    }
}

fn cost(topic: &str, payload: &Payload, texts: [&Option<Box<str>>; 3]) -> usize {
    let texts: usize = texts.iter().map(|text| text.as_ref().map_or(0, |text| text.len())).sum();
    size_of::<Event>() + topic.len() + payload.len() + texts
}
