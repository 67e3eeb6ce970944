//! What the server says in a described dialect, and the fields that each message can name.

/// A message of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerMessage {
    /// The first message.
    Welcome,
    /// The connection is refused and closed.
    Refused,
    /// A room was joined.
    Subscribed,
    /// A room was left.
    Unsubscribed,
    /// An event is in the log.
    Published,
    /// The events of a batch in one message. Without it each event is a message of its own.
    Events,
    /// The retained values of a room, for a new member. Without it they are written like `events`.
    Retained,
    /// Some events of a room are missing.
    Gap,
    /// The members of a room.
    Presence,
    /// Past events of a room.
    History,
    /// Members joined.
    Joined,
    /// Members left.
    Left,
    /// A signal of another member.
    Signal,
    /// Such a signal is over. Without it that is written like `signal`, with the `ttl` 0.
    SignalEnd,
    /// How much of a room the user has not read: its answer, or because the user has read on some device.
    Unread,
    /// A user has read what the user of the connection wrote.
    Receipt,
    /// A device of a user has got what the user of the connection wrote.
    Delivered,
    /// A command was carried out.
    Done,
    /// What the backend answered to a call.
    Result,
    /// The answer to a ping.
    Pong,
    /// The connection needs a newer token.
    Refresh,
    /// The pod stops: the client should connect again.
    Reconnect,
    /// A command was refused.
    Error,
    /// A sign of life.
    Heartbeat,
    /// The body of the answer to a poll.
    Polled,
    /// The body of the answer to commands over HTTP.
    Sent,
}

/// The fields that the text of an event can name.
pub const EVENT_FIELDS: &[&str] =
    &["topic", "data", "key", "time", "room", "offset", "epoch", "position", "since", "event_id", "user", "now"];

impl ServerMessage {
    /// The words for them in a description.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("welcome", Self::Welcome),
        ("refused", Self::Refused),
        ("subscribed", Self::Subscribed),
        ("unsubscribed", Self::Unsubscribed),
        ("published", Self::Published),
        ("events", Self::Events),
        ("retained", Self::Retained),
        ("gap", Self::Gap),
        ("presence", Self::Presence),
        ("history", Self::History),
        ("joined", Self::Joined),
        ("left", Self::Left),
        ("signal", Self::Signal),
        ("signal_end", Self::SignalEnd),
        ("unread", Self::Unread),
        ("receipt", Self::Receipt),
        ("delivered", Self::Delivered),
        ("done", Self::Done),
        ("result", Self::Result),
        ("pong", Self::Pong),
        ("refresh", Self::Refresh),
        ("reconnect", Self::Reconnect),
        ("error", Self::Error),
        ("heartbeat", Self::Heartbeat),
        ("polled", Self::Polled),
        ("sent", Self::Sent),
    ];

    /// The fields that its text can name.
    #[must_use]
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Welcome => &["now", "connection", "user", "claim", "ping_interval", "query", "replayed"],
            Self::Refused => &["now", "code", "message", "query"],
            Self::Heartbeat => &["now"],
            Self::Subscribed => &["now", "id", "room", "epoch", "offset", "position", "recovered"],
            Self::Unsubscribed => &["now", "id", "room", "code"],
            Self::Published => &["now", "id", "epoch", "offset", "position"],
            Self::Events | Self::Retained => &["now", "events", "room", "epoch", "after", "offset", "position"],
            Self::Gap => &["now", "room", "epoch", "after", "offset", "position"],
            Self::Presence => &["now", "id", "room", "members", "total"],
            Self::History => &["now", "id", "events", "room", "epoch", "after", "offset", "position", "complete"],
            Self::Joined | Self::Left => &["now", "room", "members", "total"],
            Self::Signal | Self::SignalEnd => &["now", "room", "topic", "data", "user", "connection", "ttl", "time"],
            Self::Unread => &["now", "id", "room", "epoch", "offset", "end", "unread"],
            Self::Receipt | Self::Delivered => &["now", "room", "epoch", "offset", "user"],
            Self::Done => &["now", "id", "expires_at"],
            Self::Result => &["now", "id", "data"],
            Self::Pong => &["now", "id"],
            Self::Refresh => &["now", "expires_at"],
            Self::Reconnect => &["now", "after_ms"],
            Self::Error => &["now", "id", "code", "message", "room"],
            Self::Polled => &["now", "messages", "cursor", "code", "message"],
            Self::Sent => &["now", "messages"],
        }
    }
}
