//! What a dialect can say, and what each of its messages can be made of.

/// What a dialect can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// The first message.
    Welcome,
    /// The connection is refused, and closed.
    Refused,
    /// A room was joined.
    Subscribed,
    /// A room was left.
    Unsubscribed,
    /// An event is in the log.
    Published,
    /// Events of a room, all of a batch in one message. Without it each is a message of its own.
    Events,
    /// The newest values of a room, to who joins. Without it like `events`.
    Retained,
    /// Events will not come.
    Gap,
    /// Who is in a room.
    Presence,
    /// Who came.
    Joined,
    /// Who went.
    Left,
    /// A command was carried out.
    Done,
    /// The answer to a ping.
    Pong,
    /// A newer token must come.
    Refresh,
    /// The pod goes away.
    Reconnect,
    /// A command was refused.
    Error,
    /// A sign of life.
    Heartbeat,
}

/// The words for them in a description.
pub(super) const SAYINGS: &[(&str, Saying)] = &[
    ("welcome", Saying::Welcome),
    ("refused", Saying::Refused),
    ("subscribed", Saying::Subscribed),
    ("unsubscribed", Saying::Unsubscribed),
    ("published", Saying::Published),
    ("events", Saying::Events),
    ("retained", Saying::Retained),
    ("gap", Saying::Gap),
    ("presence", Saying::Presence),
    ("joined", Saying::Joined),
    ("left", Saying::Left),
    ("done", Saying::Done),
    ("pong", Saying::Pong),
    ("refresh", Saying::Refresh),
    ("reconnect", Saying::Reconnect),
    ("error", Saying::Error),
    ("heartbeat", Saying::Heartbeat),
];

/// What an event can be made of.
pub(super) const EVENT_NAMES: &[&str] =
    &["topic", "data", "key", "time", "room", "offset", "epoch", "position", "event_id", "user", "now"];

impl Saying {
    /// What its message can be made of.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Welcome => &["now", "connection", "user", "claim", "ping_interval", "query", "replayed"],
            Self::Refused => &["now", "code", "message", "query"],
            Self::Heartbeat => &["now"],
            Self::Subscribed => &["now", "id", "room", "epoch", "offset", "recovered"],
            Self::Unsubscribed => &["now", "id", "room", "code"],
            Self::Published => &["now", "id", "epoch", "offset"],
            Self::Events | Self::Retained => &["now", "events", "room", "epoch", "after", "offset"],
            Self::Gap => &["now", "room", "epoch", "after", "offset"],
            Self::Presence => &["now", "id", "room", "members", "total"],
            Self::Joined | Self::Left => &["now", "room", "members", "total"],
            Self::Done => &["now", "id", "expires_at"],
            Self::Pong => &["now", "id"],
            Self::Refresh => &["now", "expires_at"],
            Self::Reconnect => &["now", "after_ms"],
            Self::Error => &["now", "id", "code", "message", "room"],
        }
    }
}
