//! Policies: how a room behaves.

use std::time::Duration;

use super::{AckMode, DELETED, DeleteMode, EraseMode, Room, pattern::among};

/// Which of the events inside one batch survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflate {
    /// All.
    #[default]
    None,
    /// The newest of each topic.
    Topic,
    /// The newest of each (topic, key); an event without a key always survives.
    Key,
}

/// Which values a room keeps for new subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retain {
    /// None.
    #[default]
    None,
    /// The newest event.
    Room,
    /// The newest event of each topic.
    Topic,
    /// The newest event of each key; an event without a key is not kept.
    Key,
}

/// Whether a room has presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceMode {
    /// No presence; asking is an error.
    #[default]
    Off,
    /// Members can be listed.
    List,
    /// Members can be listed, and are told of joins and leaves.
    Events,
}

/// The connections that may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Every connection, the anonymous included.
    #[default]
    Anyone,
    /// Connections with a verified token.
    User,
    /// Connections whose token's `rooms` claim names the room with that right.
    Claim,
    /// Only the user whose personal room it is.
    Owner,
    /// No connection; backends still can, over the API.
    Nobody,
}

/// What happens to a receiver that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlowReceiver {
    /// The oldest queued events are dropped, and a `gap` names the range.
    #[default]
    Gap,
    /// The connection keeps only its position. It catches up with a shared, conflated frame, or gets a `gap` if the log no
    /// longer reaches back to its position.
    Conflate,
    /// The connection is closed with code 4008.
    Close,
}

/// The promise of a room about delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Every event or an explicit gap.
    #[default]
    Every,
    /// Order only: the newest event matters, missed ones do not.
    Latest,
}

/// Where an event must be stored before its publish succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the log. A Redis master that dies at that moment may lose it; subscribers then get a gap.
    #[default]
    Log,
    /// On a replica of the Redis master as well; until then the outcome is unknown. The embedded broker has no replicas: it
    /// acts as for [`Durability::Log`].
    Replica,
}

/// Where events are kept beyond the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveMode {
    /// Nowhere.
    #[default]
    Off,
    /// In PostgreSQL.
    Postgres,
}

/// How a room behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long events wait for company, 0 to 60 s; 0 sends at once.
    pub batch_window: Duration,
    /// A batch leaves early when it holds this many events.
    pub batch_max_events: usize,
    /// A batch leaves early when its payloads hold this many bytes.
    pub batch_max_bytes: usize,
    /// Which events of a batch survive.
    pub conflate: Conflate,
    /// The topics whose events conflate, `*` for any characters; none: all. The others' always survive.
    pub conflate_topics: Vec<String>,
    /// Which values are kept for new subscribers.
    pub retain: Retain,
    /// The topics whose events can become such values, `*` for any characters; none: all.
    pub retain_topics: Vec<String>,
    /// How many values are kept; the oldest go first.
    pub retain_max: usize,
    /// Topics whose event removes the retained value of the same key (or topic, or room) instead of becoming one.
    pub retain_remove_topics: Vec<String>,
    /// The topics that events may have, `*` for any characters; none: any.
    pub topics: Vec<String>,
    /// The room whose log these rooms share; `None`: each has its own. What is kept, and when batches leave, is that room's
    /// policy then.
    pub log: Option<Room>,
    /// How many events the log keeps; 0 keeps none.
    pub history_size: usize,
    /// How many bytes the log keeps.
    pub history_bytes: usize,
    /// How long the log keeps an event.
    pub history_age: Duration,
    /// Whether members are tracked.
    pub presence: PresenceMode,
    /// The connections that may join.
    pub join: Access,
    /// Which connections may publish.
    pub publish: Access,
    /// Whether the backend is asked about each connection that wants to join.
    pub subscribe_hook: bool,
    /// Whether the backend is asked about each event that a connection publishes.
    pub publish_hook: bool,
    /// Whether the backend is told of events whose user has no connection.
    pub absent_hook: bool,
    /// How many events a second one connection may publish for long.
    pub publish_per_second: u32,
    /// How many events one connection may publish at once.
    pub publish_burst: u32,
    /// Which members may send signals.
    pub signal: Access,
    /// The shortest time between two signals of a member with the same topic.
    pub signal_every: Duration,
    /// How long a signal is shown that does not say it itself.
    pub signal_ttl: Duration,
    /// How many signals a second are shown in one room for long.
    pub signals_per_second: u32,
    /// Whether it is kept how far users have read.
    pub acks: AckMode,
    /// Which clients may delete events.
    pub delete: DeleteMode,
    /// What becomes of what an erased user published.
    pub erase: EraseMode,
    /// Where events are kept beyond the log.
    pub archive: ArchiveMode,
    /// Frames of at least this many bytes are compressed; `None`: never (secrets beside attacker-chosen text).
    pub compress_from: Option<usize>,
    /// Whether a compressed frame may refer to the text of earlier ones of the room.
    pub shared_window: bool,
    /// What happens to a receiver that does not keep up.
    pub slow: SlowReceiver,
    /// The rooms with the highest number are sent first where a connection has a stream for each room; 0 to 9.
    pub priority: u8,
    /// What is promised.
    pub delivery: Delivery,
    /// When a publish is answered.
    pub durability: Durability,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            batch_window: Duration::ZERO,
            batch_max_events: 256,
            batch_max_bytes: 64 * 1024,
            conflate: Conflate::None,
            conflate_topics: Vec::new(),
            retain: Retain::None,
            retain_topics: Vec::new(),
            retain_max: 100,
            retain_remove_topics: Vec::new(),
            topics: Vec::new(),
            log: None,
            history_size: 1_000,
            history_bytes: 1024 * 1024,
            history_age: Duration::from_secs(300),
            presence: PresenceMode::Off,
            join: Access::Anyone,
            publish: Access::Nobody,
            subscribe_hook: false,
            publish_hook: false,
            absent_hook: false,
            publish_per_second: 10,
            publish_burst: 50,
            signal: Access::Nobody,
            signal_every: Duration::from_secs(2),
            signal_ttl: Duration::from_secs(5),
            signals_per_second: 20,
            acks: AckMode::Off,
            delete: DeleteMode::Off,
            erase: EraseMode::Keep,
            archive: ArchiveMode::Off,
            compress_from: Some(256),
            shared_window: true,
            slow: SlowReceiver::Gap,
            priority: 5,
            delivery: Delivery::Every,
            durability: Durability::Log,
        }
    }
}

impl Policy {
    /// Whether a frame may be compressed behind others of other rooms, where that is switched on.
    #[must_use]
    pub fn shares_window(&self) -> bool {
        self.shared_window && self.compress_from.is_some()
    }

    /// Whether an event stays somewhere once it was delivered: in the log, or as a retained value.
    #[must_use]
    pub fn keeps_events(&self) -> bool {
        self.history_size > 0 || self.retain != Retain::None
    }

    /// The room whose log an event of `room` enters, unless that is `room` itself.
    #[must_use]
    pub fn log_of(&self, room: &Room) -> Option<&Room> {
        self.log.as_ref().filter(|log| *log != room)
    }

    /// The policy of rooms that share the log of a room with the policy `log`: what is kept, and how it leaves, is that one's.
    #[must_use]
    pub fn in_log(&self, log: &Self) -> Self {
        Self {
            batch_window: log.batch_window,
            batch_max_events: log.batch_max_events,
            batch_max_bytes: log.batch_max_bytes,
            history_size: log.history_size,
            history_bytes: log.history_bytes,
            history_age: log.history_age,
            compress_from: log.compress_from,
            shared_window: log.shared_window,
            priority: log.priority,
            durability: log.durability,
            ..self.clone()
        }
    }

    /// Whether an event with this topic can become a retained value, or remove one.
    #[must_use]
    pub fn retains_topic(&self, topic: &str) -> bool {
        topic != DELETED && (among(&self.retain_topics, topic) || self.removes_retained(topic))
    }

    /// Whether an event with this topic removes a retained value.
    #[must_use]
    pub fn removes_retained(&self, topic: &str) -> bool {
        self.retain_remove_topics.iter().any(|removing| removing == topic)
    }
}
