//! Publications, and the events that they become in a log.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Fingerprint, IdempotencyKey, Offset, Room, UnixMillis};

/// An event's data. JSON stays as its publisher wrote it: it is checked once, and never rebuilt.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Valid JSON text (RFC 8259); `data` on the wire.
    Json(Box<RawValue>),
    /// Opaque bytes; `data64` (base64, RFC 4648 section 4) on the wire.
    Binary(#[serde(with = "base64_bytes")] Bytes),
}

/// Bytes inside JSON text.
mod base64_bytes {
    use std::borrow::Cow;

    use base64::{Engine, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
    }
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
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
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
    /// What makes a repeated publish one event.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// One event of a room's log.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
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
        size_of::<Self>() + bytes_of(&self.topic, &self.payload, [&self.key, &self.user, &self.id])
    }
}

impl Publication {
    /// What a retry of it must be the same in: topic, key, id and data, as they are written.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let asked = self.idempotency_key.as_ref().and_then(IdempotencyKey::asked);
        asked.unwrap_or_else(|| {
            let (json, binary) = match &self.payload {
                Payload::Json(raw) => (Some(raw.get().as_bytes()), None),
                Payload::Binary(bytes) => (None, Some(&bytes[..])),
            };
            let [key, id] = [&self.key, &self.id].map(|text| text.as_deref().map(str::as_bytes));
            Fingerprint::of([Some(self.topic.as_bytes()), key, id, json, binary])
        })
    }

    /// Keeps the fingerprint as it is now: a backend may put another event in the place of this one, and another one still in that
    /// of its retry.
    pub fn keep_fingerprint(&mut self) {
        let asked = self.idempotency_key.is_some().then(|| self.fingerprint());
        if let (Some(key), Some(asked)) = (&mut self.idempotency_key, asked) {
            key.go_by(asked);
        }
    }

    /// [`Event::cost`] of the event that it becomes.
    #[must_use]
    pub fn cost(&self) -> usize {
        size_of::<Event>() + bytes_of(&self.topic, &self.payload, [&self.key, &self.user, &self.id])
    }

    /// The bytes of memory that it takes before it is an event.
    #[must_use]
    pub fn held(&self) -> usize {
        let texts = bytes_of(&self.topic, &self.payload, [&self.key, &self.user, &self.id]);
        size_of::<Self>() + texts + self.idempotency_key.as_ref().map_or(0, |key| key.text().len())
    }
}

fn bytes_of(topic: &str, payload: &Payload, texts: [&Option<Box<str>>; 3]) -> usize {
    let texts: usize = texts.iter().map(|text| text.as_ref().map_or(0, |text| text.len())).sum();
    topic.len() + payload.len() + texts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn publication() -> Publication {
        let payload = Payload::Json(RawValue::from_string("[1]".to_owned()).unwrap());
        let (key, id, idempotency_key) = (Some("k".into()), Some("i".into()), Some("once".into()));
        Publication { topic: "t".into(), key, payload, user: None, id, idempotency_key }
    }

    #[test]
    fn another_event_has_another_fingerprint() {
        let first = publication().fingerprint();
        assert_eq!(publication().fingerprint(), first);
        assert_eq!(Publication { user: Some("ann".into()), ..publication() }.fingerprint(), first);
        let data = |json: &str| Payload::Json(RawValue::from_string(json.to_owned()).unwrap());
        for other in [
            Publication { topic: "u".into(), ..publication() },
            Publication { key: None, ..publication() },
            Publication { key: Some("i".into()), id: Some("k".into()), ..publication() },
            Publication { id: Some("j".into()), ..publication() },
            Publication { payload: data("[2]"), ..publication() },
            Publication { payload: data("[ 1]"), ..publication() },
            Publication { payload: Payload::Binary(Bytes::from_static(b"[1]")), ..publication() },
        ] {
            assert_ne!(other.fingerprint(), first, "{other:?}");
        }
    }

    #[test]
    fn a_fingerprint_that_is_kept_outlives_a_change() {
        let mut changed = publication();
        changed.keep_fingerprint();
        changed.topic = "u".into();
        assert_eq!(changed.fingerprint(), publication().fingerprint());
        let mut without = Publication { idempotency_key: None, ..publication() };
        without.keep_fingerprint();
        assert_eq!(without.idempotency_key, None);
    }
}
