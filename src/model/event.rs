//! What a publisher sends, and what it becomes once it is in a room's log.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Offset, Room, UnixMillis};

/// An event's data. JSON passes through as the publisher's own bytes: checked at the edge, never rebuilt.
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

    /// Whether there are none.
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

/// What a publisher sends to a room, before the broker gave it an offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// What kind of event this is.
    pub topic: Box<str>,
    /// What it is about; conflation and retained values can go by it.
    pub key: Option<Box<str>>,
    /// The data.
    pub payload: Payload,
    /// The publishing user, from its token; never from the body.
    pub user: Option<Box<str>>,
    /// The publisher's own id of the event, passed through.
    pub id: Option<Box<str>>,
    /// A repeated publish with the same key in the same room is one event.
    pub idempotency_key: Option<Box<str>>,
}

/// One event of a room's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The number in the room's epoch.
    pub offset: Offset,
    /// When the broker took it in.
    pub time: UnixMillis,
    /// The room that it was published to, where rooms share the log that it is in.
    pub room: Option<Room>,
    /// What kind of event this is.
    pub topic: Box<str>,
    /// What it is about.
    pub key: Option<Box<str>>,
    /// The data.
    pub payload: Payload,
    /// The user that published it from a client.
    pub user: Option<Box<str>>,
    /// The publisher's own id.
    pub id: Option<Box<str>>,
}

impl Event {
    /// The event that a publication becomes at `offset`. `room`: the one that it was published to, if its log is shared.
    #[must_use]
    pub fn from_publication(publication: Publication, offset: Offset, time: UnixMillis, room: Option<Room>) -> Self {
        let Publication { topic, key, payload, user, id, idempotency_key: _ } = publication;
        Self { offset, time, room, topic, key, payload, user, id }
    }

    /// What was published, without what the log made of it.
    #[must_use]
    pub fn into_publication(self) -> Publication {
        let Self { offset: _, time: _, room: _, topic, key, payload, user, id } = self;
        Publication { topic, key, payload, user, id, idempotency_key: None }
    }

    /// Whether it is one of `room`, in whose log it is: not of another room that shares it.
    #[must_use]
    pub fn is_of(&self, room: &Room) -> bool {
        self.room.as_ref().is_none_or(|own| own == room)
    }

    /// The bytes of memory that the event holds, headers included: what bounded logs count.
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
