//! A described dialect, compiled: which messages mean which command, and how everything is written.
//!
//! Pure data. `config::dialect` makes it from a `[[dialect]]`; `protocol::described` reads and writes messages by it.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use super::{
    condition::Condition,
    message::{Field, MessageTemplate},
    pointer::Pointer,
    server_message::ServerMessage,
    template::{Source, Template},
};
use crate::model::{Progress, matches};

/// A described dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Its name, in metrics and the API.
    pub name: String,
    /// The paths or namespaces at which it is spoken.
    pub paths: Vec<String>,
    /// The paths at which its clients poll.
    pub poll_paths: Vec<String>,
    /// The paths to which they send commands over HTTP.
    pub send_paths: Vec<String>,
    /// The parameter of a poll that says where the client stands.
    pub poll_cursor: String,
    /// The parameters of a poll that name rooms.
    pub poll_room: String,
    /// The subprotocols that its clients may be answered; none: the first that they offer.
    pub subprotocols: Vec<String>,
    /// The envelope around its messages.
    pub envelope: Envelope,
    /// Prefixes that clients may write before a room's id, and that the room's name does not have.
    pub prefixes: Vec<String>,
    /// The rooms that a new connection joins.
    pub rooms: Vec<Template>,
    /// The parameters that the query of a connection's request must have.
    pub required_query: Vec<String>,
    /// When a connection is greeted.
    pub greet: Greet,
    /// The id of the event behind which the first of the rooms continues.
    pub continue_after: Option<Template>,
    /// The cursor in whose rooms, and behind whose positions, a connection goes on.
    pub resume: Option<Template>,
    /// The interval of heartbeats.
    pub heartbeat: Option<Duration>,
    /// Where a command's id is.
    pub id: Option<Pointer>,
    /// Whether joining a room again, and leaving one that it is not in, is no error for a client.
    pub idempotent: bool,
    /// The meanings of messages; the first rule that fits counts.
    pub commands: Vec<CommandRule>,
    /// The texts of what the server says: one for each of [`ServerMessage::ALL`], in that order.
    pub messages: Vec<Option<MessageTemplate>>,
    /// The arguments of acknowledgements, in the same order, where they differ from `messages`.
    pub acks: Vec<Option<MessageTemplate>>,
    /// The texts of events; the first rule that fits counts.
    pub events: Vec<EventRule>,
    /// What clients may ask for by `GET`.
    pub requests: Vec<RequestRule>,
}

/// The envelope around the messages of a described dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// None: a message is JSON text.
    Json,
    /// Socket.IO: a message is an array of an event's name and its arguments.
    Socketio,
}

/// When a connection is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greet {
    /// Before everything else.
    First,
    /// After it has joined the first of its rooms, before the events of that room.
    InRoom,
}

/// One `[[dialect.command]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRule {
    /// The conditions that a message must meet.
    pub when: Vec<Condition>,
    /// What such a message does.
    pub does: Action,
}

/// What a message of a client does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Joins a room.
    Subscribe {
        /// The room.
        room: Template,
        /// The position behind which it goes on.
        since: Option<Template>,
    },
    /// Leaves a room.
    Unsubscribe(Template),
    /// Publishes an event.
    Publish {
        /// The room.
        room: Template,
        /// The topic.
        topic: Template,
        /// The key.
        key: Option<Template>,
        /// The client's own id of the event.
        event_id: Option<Template>,
        /// What makes a repeated publish one event.
        idempotency_key: Option<Template>,
        /// The data.
        data: Pointer,
    },
    /// Sends a signal.
    Signal {
        /// The room.
        room: Template,
        /// The topic.
        topic: Template,
        /// The data; the whole message is none.
        data: Pointer,
        /// For how many milliseconds it is shown; `None`: as the room's policy says.
        ttl: Option<Template>,
    },
    /// Says how far its user has read, or its device has got events.
    Ack {
        /// The room.
        room: Template,
        /// The offset of the last of these events.
        offset: Template,
        /// The epoch of the offset; `None`: the log's own.
        epoch: Option<Template>,
        /// Which of the two.
        progress: Progress,
    },
    /// Deletes an event.
    Delete {
        /// The room.
        room: Template,
        /// Its offset.
        offset: Template,
        /// The epoch of the offset; `None`: the log's own.
        epoch: Option<Template>,
    },
    /// Asks for the members of a room.
    Presence(Template),
    /// Asks for past events of a room.
    History {
        /// The room.
        room: Template,
        /// The position behind which they begin; `None`: the newest.
        since: Option<Template>,
        /// The position before which they end, instead.
        before: Option<Template>,
        /// The most events.
        limit: Option<Template>,
    },
    /// Asks what the user has not read, in this room too.
    Unread(Option<Template>),
    /// Changes the status of the user.
    Status(Template),
    /// Asks the backend to do something.
    Call {
        /// The method.
        method: Template,
        /// The data; the whole message is all of it.
        data: Pointer,
        /// By which the backend knows a call that it is sent again.
        idempotency_key: Option<Template>,
    },
    /// Presents or replaces a token.
    Connect(Pointer),
    /// Replaces the token that came with the request.
    Refresh(Pointer),
    /// Asks for a sign of life.
    Ping,
    /// Nothing: a sign of life that needs no answer.
    Nothing,
}

/// One `[[dialect.event]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRule {
    /// The pattern of the names of its rooms; `None`: all.
    pub room: Option<Box<str>>,
    /// The pattern of its topics; `None`: all.
    pub topic: Option<Box<str>>,
    /// The conditions that the event's data must meet.
    pub when: Vec<Condition>,
    /// The text of such an event.
    pub message: MessageTemplate,
}

/// One `[[dialect.request]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRule {
    /// The pattern of its path.
    pub path: String,
    /// The message that it stands for.
    pub message: MessageTemplate,
}

impl RequestRule {
    /// The parameters of its address.
    #[must_use]
    pub fn parameters(&self) -> BTreeSet<Box<str>> {
        let found = RefCell::new(BTreeSet::new());
        self.message.any(&|field| {
            if let Field::Query(name) = field {
                found.borrow_mut().insert(name.clone());
            }
            false
        });
        found.into_inner()
    }
}

impl EventRule {
    /// Whether it is for events of this topic in this room, as far as these say.
    #[must_use]
    pub fn is_for(&self, room: &str, topic: &str) -> bool {
        let fits = |pattern: &Option<Box<str>>, name| pattern.as_ref().is_none_or(|pattern| matches(pattern, name));
        fits(&self.room, room) && fits(&self.topic, topic)
    }
}

impl Description {
    /// Whether it is spoken in a namespace of Socket.IO.
    #[must_use]
    pub fn is_for(&self, namespace: &str) -> bool {
        if self.paths.is_empty() { namespace == "/" } else { self.paths.iter().any(|path| path == namespace) }
    }

    /// The text of a message, if the dialect has one.
    #[must_use]
    pub fn says(&self, message: ServerMessage) -> Option<&MessageTemplate> {
        self.messages.get(message as usize)?.as_ref()
    }

    /// The arguments of the acknowledgement that a client asked for.
    #[must_use]
    pub fn acknowledges(&self, message: ServerMessage) -> Option<&MessageTemplate> {
        self.acks.get(message as usize)?.as_ref().or_else(|| self.says(message))
    }

    /// The parameters of an address by which a client is in rooms; `connects`: of a connection, which also goes on by some. Of each whether it
    /// must be there.
    #[must_use]
    pub fn parameters(&self, connects: bool) -> Vec<(&str, bool)> {
        let going_on = self.continue_after.iter().chain(&self.resume).filter(|_| connects);
        let named = self.rooms.iter().chain(going_on).flat_map(Template::sources);
        let named = named.filter_map(|source| if let Source::Query(name) = source { Some(&**name) } else { None });
        let needed: BTreeSet<&str> = self.required_query.iter().map(String::as_str).collect();
        let all: BTreeSet<&str> = named.chain(needed.iter().copied()).collect();
        all.into_iter().map(|name| (name, needed.contains(name))).collect()
    }

    /// Whether a part of it is made from the claims of a token.
    #[must_use]
    pub fn names_claims(&self) -> bool {
        let templates = self.rooms.iter().chain(&self.continue_after).chain(&self.resume).flat_map(Template::sources);
        templates.into_iter().any(|source| matches!(source, Source::Claim(_)))
            || self.messages.iter().flatten().any(|message| message.any(&|field| matches!(field, Field::Claim(_))))
    }
}
