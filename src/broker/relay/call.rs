//! What an edge asks its home, and what the home answers. Pure.
//!
//! Each is JSON (RFC 8259): a build that does not know a word refuses the whole message instead of guessing.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    broker::{AckBounds, BrokerError, FleetAnswers, FleetQuestion, History, HistoryQuery, KeptAck, Standing},
    model::{Ack, Deletion, Epoch, Notice, Payload, Position, PresenceList, Publication, Retained, Room, Signal},
};

/// A question of an edge.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeCall {
    /// Publish these, in this order.
    Publish(Vec<(Room, Publication)>),
    /// Deliver an event that enters no log, but not to this user.
    Unlogged(Room, Box<Publication>, Box<str>),
    /// Deliver a signal.
    Signal(Room, Box<Signal>),
    /// Deliver a notice.
    Notify(Room, Box<Notice>),
    /// A part of a log.
    History(Room, HistoryQuery),
    /// The retained values.
    Retained(Room),
    /// At most so many members.
    Members(Room, usize),
    /// Where rooms stand.
    Standings(Vec<(Room, Vec<Epoch>)>),
    /// Keep that users have read so far.
    Keep(Vec<Ack>, AckBounds),
    /// What is kept of a user.
    Kept(Box<str>, AckBounds),
    /// Keep a value.
    Set(Box<str>, Payload, Duration),
    /// A value.
    Get(Box<str>),
    /// A value, which is removed.
    Take(Box<str>),
    /// Keep a value unless there is another.
    Claim(Box<str>, Payload, Duration),
    /// Forget a room.
    ForgetRoom(Room),
    /// Forget a user.
    ForgetUser(Box<str>, Vec<Room>),
    /// Take what an event says out of a room's log.
    DeleteEvent(Room, Box<Deletion>),
    /// A user publishes in a room.
    NoteAuthor(Room, Box<str>),
    /// A room's log has no event any more that a user published longer ago than this.
    ForgetAuthor(Room, Box<str>, Duration),
    /// Ask all other pods, the home included.
    AskOthers(Box<FleetQuestion>, Duration),
    /// Where a pod is.
    Address(String),
}

impl EdgeCall {
    /// Whether asking it again does nothing a second time, also where the first one was carried out and its answer lost.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        match self {
            Self::Publish(all) => all.iter().all(|(_, publication)| publication.idempotency_key.is_some()),
            Self::Take(_) | Self::Unlogged(..) | Self::Signal(..) | Self::Notify(..) | Self::AskOthers(..) => false,
            _ => true,
        }
    }

    /// Whether its answer may be long, and clients ask for it.
    #[must_use]
    pub fn is_long(&self) -> bool {
        matches!(self, Self::History(..) | Self::Retained(_) | Self::Members(..) | Self::Kept(..))
    }

    /// Whether nothing is done by it: an answer that does not come leaves nothing open.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::History(..)
                | Self::Retained(_)
                | Self::Members(..)
                | Self::Standings(_)
                | Self::Kept(..)
                | Self::Get(_)
                | Self::Address(_)
        )
    }
}

/// The answer to a [`EdgeCall`].
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAnswer {
    /// What became of each publication.
    Published(Vec<Result<Position, BrokerError>>),
    /// It is done.
    Done,
    /// A part of a log.
    History(History),
    /// The retained values.
    Retained(Retained),
    /// Members.
    Members(PresenceList),
    /// Where each room stands.
    Standings(Vec<Result<Standing, BrokerError>>),
    /// What became of each ack.
    Acked(Vec<Result<KeptAck, BrokerError>>),
    /// What is kept of a user.
    Kept(Vec<(Room, Vec<Position>)>),
    /// A value.
    Value(Option<Payload>),
    /// Whether there was anything to forget.
    Forgotten(bool),
    /// The rooms in which a user is noted as an author.
    Authored(Vec<Room>),
    /// What other pods said.
    Fleet(FleetAnswers),
    /// Where a pod is.
    Address(Option<String>),
}

/// A value as it travels.
#[must_use]
pub fn sent(value: Bytes) -> Payload {
    Payload::Binary(value)
}

/// The value that came.
#[must_use]
pub fn received(value: Payload) -> Bytes {
    match value {
        Payload::Binary(bytes) => bytes,
        Payload::Json(text) => Bytes::copy_from_slice(text.get().as_bytes()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{Event, IdempotencyKey, Since};

    fn publication(payload: Payload, key: Option<IdempotencyKey>) -> Publication {
        Publication { topic: "t".into(), key: None, payload, user: Some("ann".into()), id: None, idempotency_key: key }
    }

    #[test]
    fn a_publication_travels_as_its_publisher_wrote_it() {
        let room = Room::parse("a").unwrap();
        let json = Payload::Json(RawValue::from_string("{\"n\": 12345678901234567890}".to_owned()).unwrap());
        let mut first = publication(json, Some(IdempotencyKey::of_client("k".into())));
        first.keep_fingerprint();
        let second = publication(Payload::Binary(Bytes::from_static(&[0, 255])), None);
        let all = vec![(room.clone(), first), (room, second)];
        let bytes = serde_json::to_vec(&EdgeCall::Publish(all.clone())).unwrap();
        let EdgeCall::Publish(back) = serde_json::from_slice(&bytes).unwrap() else { panic!("another call") };
        assert_eq!(back, all);
        assert!(!EdgeCall::Publish(all).may_repeat(), "one of them has no idempotency key");
    }

    #[test]
    fn a_part_of_a_log_travels_whole() {
        let payload = Payload::Json(RawValue::from_string("[1]".to_owned()).unwrap());
        let room = Room::parse("part").unwrap();
        let event = Event::from_publication(publication(payload, None), 7, 1_700_000_000_000, Some(room));
        let history = History {
            epoch: Epoch::new("e"),
            after: 6,
            offset: 7,
            end: 9,
            complete: false,
            events: vec![Arc::new(event)],
        };
        let bytes = serde_json::to_vec(&Ok::<_, BrokerError>(CallAnswer::History(history.clone()))).unwrap();
        let back: Result<CallAnswer, BrokerError> = serde_json::from_slice(&bytes).unwrap();
        let Ok(CallAnswer::History(back)) = back else { panic!("another answer") };
        assert_eq!(back, history);
        let query = HistoryQuery {
            since: Some(Since { epoch: Epoch::new("e"), offset: 1 }),
            until: None,
            max_events: usize::MAX,
            max_bytes: usize::MAX,
        };
        let bytes = serde_json::to_vec(&query).unwrap();
        assert_eq!(serde_json::from_slice::<HistoryQuery>(&bytes).unwrap(), query);
    }

    #[test]
    fn errors_travel() {
        for error in [
            BrokerError::Unknown,
            BrokerError::Conflict,
            BrokerError::UnknownTopic,
            BrokerError::Unavailable("full".to_owned()),
            BrokerError::NoToken("ann".into()),
            BrokerError::TooLarge { bytes: 2, limit: 1 },
        ] {
            let bytes = serde_json::to_vec(&error).unwrap();
            assert_eq!(serde_json::from_slice::<BrokerError>(&bytes).unwrap(), error);
        }
    }
}
