//! What carries events between pods and keeps history, retained values and presence.
//!
//! A broker owns the rooms' logs: offsets, epochs, idempotency. It never knows a receiver: it hands each event of a
//! subscribed room to one [`Deliver`], in the order of the log. Always holds: within an epoch no offset names two
//! events, and what [`Broker::publish`] answered with success is in the log.
//!
//! A new broker is a module here that passes the contract suite in `tests/redis/contract/`.

mod acks;
mod control;
mod erasure;
mod key_memory;
mod key_value;
pub mod legacy;
mod log_key;
pub mod memory;
mod place_table;
pub mod redis;
pub mod relay;
mod token_witness;
pub mod upstream;
mod user_places;
mod user_records;

use std::{future::Future, pin::Pin, sync::Arc};

pub use acks::{AckBounds, Acks, EachOf, KeptAck, MAX_EPOCHS, MAX_UNTOLD, Standing, UNTOLD_AGE, UntoldAck, advance};
pub use control::{Control, FleetAnswer, FleetAnswers, FleetQuestion, Respond};
pub use erasure::Erasure;
pub use key_memory::{KeyMemory, KeysBesideLog};
pub use key_value::{KeyValue, LookUp};
pub use legacy::PlainMessageSink;
pub use token_witness::TokenWitness;
pub use user_places::{DisplacedConnection, PlaceClaim, PlaceVerdict, UserPlaces, Verdicts};
pub use user_records::{GonePod, LeaseLapses, StoredUser, UserRecords, UserWrite};

use crate::model::{
    DELETED, Epoch, Event, Member, Notice, Offset, Policy, Position, PresenceList, Publication, Retained, Room, Signal,
    Since, among,
};

/// An answer that may take a round trip. The memory broker's is ready at once.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BrokerError>> + Send + 'a>>;

/// What became of each publication.
pub type EachAnswer<'a> = Pin<Box<dyn Future<Output = Vec<Result<Position, BrokerError>>> + Send + 'a>>;

/// Why a broker did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerError {
    /// It cannot be reached or is full; nothing was done.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// It did not answer in time: the command may or may not have been carried out.
    #[error("the broker did not answer in time; the outcome is unknown")]
    Unknown,
    /// The idempotency key is that of another event; nothing was done.
    #[error(
        "the idempotency key belongs to another event of this room: a retry has the same topic, key, id and data, a new event another \
         idempotency key"
    )]
    Conflict,
    /// The room's policy does not know the topic.
    #[error("the room takes no event with this topic: the `topics` of its policy do not name it")]
    UnknownTopic,
    /// A home was shown no good token of the user in whose name an edge asked; nothing was done.
    #[error(
        "the home of this edge was shown no good token of the user {0:?}, and takes nothing in a user's name without one (its \
         `relay.verify_users`)"
    )]
    NoToken(Box<str>),
    /// The event alone exceeds what a room's log may hold.
    #[error("the event has {bytes} bytes, a room's log holds {limit}")]
    TooLarge {
        /// What it costs.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
}

impl BrokerError {
    /// Whether a room's policy takes events with this topic.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`].
    pub fn check_topic(policy: &Policy, topic: &str) -> Result<(), Self> {
        if topic == DELETED || among(&policy.topics, topic) { Ok(()) } else { Err(Self::UnknownTopic) }
    }
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HistoryQuery {
    /// Continue from here; `None`: the newest events.
    pub since: Option<Since>,
    /// Stop at this offset; `None`: the end of the log.
    pub until: Option<Offset>,
    /// The most events.
    pub max_events: usize,
    /// The most bytes of payload.
    pub max_bytes: usize,
}

impl HistoryQuery {
    /// The most events of a shared log that are looked at for those of one of its rooms.
    const LOOKED_AT: usize = 10_000;
    /// And their most bytes of payload.
    const LOOKED_AT_BYTES: usize = 16 * 1024 * 1024;

    /// What is read of a shared log for an answer about one of its rooms.
    fn of_a_part(&self) -> Self {
        // A query for no events asks where the log ends.
        let max_events = if self.max_events == 0 { 0 } else { Self::LOOKED_AT };
        Self { max_events, max_bytes: Self::LOOKED_AT_BYTES, ..self.clone() }
    }
}

impl History {
    /// What of a shared log is one room's, within the limits of the question. The positions are the log's.
    fn of(mut self, room: &Room, query: &HistoryQuery) -> Self {
        self.events.retain(|event| event.room.as_ref() == Some(room));
        let newest = query.since.is_none();
        if newest {
            self.events.reverse();
        }
        let mut bytes = 0;
        let fits = |event: &&Arc<Event>| {
            bytes += event.payload.len();
            bytes <= query.max_bytes
        };
        let kept = self.events.iter().take(query.max_events).take_while(fits).count();
        if let Some(first_left_out) = self.events.get(kept).map(|event| event.offset) {
            self.complete = false;
            if newest {
                self.after = first_left_out;
            } else {
                self.offset = first_left_out.saturating_sub(1);
            }
            self.events.truncate(kept);
        }
        if newest {
            self.events.reverse();
        }
        self
    }
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct History {
    /// The log's epoch now.
    pub epoch: Epoch,
    /// The offset that `events` continue from.
    pub after: Offset,
    /// The last offset that `events` cover.
    pub offset: Offset,
    /// The last offset of the log.
    pub end: Offset,
    /// Whether `events` are exactly (`since`, `until`] (or the log's end): the epoch continues, nothing was trimmed,
    /// nothing cut by the limits.
    pub complete: bool,
    /// The events, oldest first, without holes between `after` and `offset`.
    pub events: Vec<Arc<Event>>,
}

/// What happens in a subscribed room, in the order of the log.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The subscription stands: the first delivery after `subscribe`; events continue from here.
    Started(Position),
    /// The next event. A room's first one may have another epoch than the offset 0 before it: the log says that it follows.
    Event {
        /// The epoch of its offset.
        epoch: Epoch,
        /// The event.
        event: Arc<Event>,
    },
    /// An event that is in no log. It has no position, and comes at most once.
    Unlogged {
        /// The event.
        publication: Box<Publication>,
        /// The user whose connections do not get it.
        except: Option<Box<str>>,
    },
    /// A signal: it comes at most once.
    Signal(Box<Signal>),
    /// Something for the connections of the user whose personal room it is: it comes at most once.
    Notice(Box<Notice>),
    /// A member joined (presence mode `events` only).
    Joined(Member),
    /// A member left (presence mode `events` only).
    Left(Member),
}

/// Takes what happens in subscribed rooms. Never blocks: a full queue marks the room as behind, and the hub recovers it from
/// history.
pub trait Deliver: Send + Sync {
    /// Takes the next delivery of `room`.
    fn deliver(&self, room: &Room, delivery: Delivery);
}

/// The condition of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It could not be used since the start.
    Starting,
    /// All is well.
    Well,
    /// A part of it cannot be used or relied on now.
    Degraded,
    /// Its home cannot be reached now: members stay, and what they missed is read when it can be.
    Cut,
}

/// Rooms and positions; history lives here because append and publish must be one step.
pub trait Broker: Send + Sync {
    /// Appends to the log and delivers, in one step: to the log of the room that `room` shares one with, if it does, and as
    /// that room's event. A repeated idempotency key gets the first position back, or [`BrokerError::Conflict`] if it comes with
    /// another event.
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position>;
    /// Publishes each of these as [`publish`](Self::publish) does; what became of each. Those of one log keep their order there; of
    /// several logs they may be published at the same time.
    fn publish_all<'a>(&'a self, publications: Vec<(Room, Publication)>) -> EachAnswer<'a> {
        Box::pin(async move {
            let mut results = Vec::with_capacity(publications.len());
            for (room, publication) in publications {
                results.push(self.publish(&room, publication).await);
            }
            results
        })
    }
    /// Delivers an unlogged event to every member of `room` except the connections of user `except`. At most once; it is not
    /// stored.
    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()>;
    /// Delivers a signal on every pod that has members of `room`. At most once; it is not stored.
    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()>;
    /// Delivers a notice on every pod that has members of `room`, a personal one. At most once; it is not stored.
    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()>;
    /// Starts delivery of `room`: [`Delivery::Started`] first, then every later event. Repeating it is harmless and
    /// delivers `Started` again.
    fn subscribe(&self, room: &Room);
    /// Ends delivery of `room`.
    fn unsubscribe(&self, room: &Room);
    /// Reads a part of the log; of a log that rooms share, the events of `room` in it, if `room` is not the log's own.
    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History>;
    /// Reads the retained values.
    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained>;
}

/// The members of rooms.
pub trait Presence: Send + Sync {
    /// Adds a member. A repeated join of the same connection changes nothing.
    fn join(&self, room: &Room, member: &Member);
    /// Removes it.
    fn leave(&self, room: &Room, member: &Member);
    /// Adds a member of an edge. Another pod of the home may have it already: an edge that tells of its members over another link is told as
    /// neither come nor gone.
    fn join_of_edge(&self, room: &Room, member: &Member) {
        self.join(room, member);
    }
    /// Removes it.
    fn leave_of_edge(&self, room: &Room, member: &Member) {
        self.leave(room, member);
    }
    /// At most `limit` members, and how many there are.
    fn list<'a>(&'a self, room: &'a Room, limit: usize) -> Answer<'a, PresenceList>;
}
