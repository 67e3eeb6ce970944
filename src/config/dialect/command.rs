//! `[[dialect.command]]`: what a message of a client means.
//!
//! Pure. Owns its keys and the rules between them. Always holds: a command that is read has all that what it does needs.

use crate::{
    config::{
        error::Problem,
        item::Item,
        section::section,
        value::{Choice, ConditionsKind, Maybe, PointerKind, TemplateKind},
    },
    dialect::{Action, CommandRule, Condition, Expected, Offers, Pointer, Template},
    model::{Progress, Room, check_topic},
};

/// The name of an action in a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Subscribe,
    Unsubscribe,
    Publish,
    Signal,
    Ack,
    Delivered,
    Delete,
    Status,
    Presence,
    History,
    Unread,
    Rpc,
    Connect,
    Refresh,
    Ping,
    Nothing,
}

section! {
    /// What a message of a client means: the first `[[dialect.command]]` that fits counts.
    pub struct CommandTable in "dialect.command" {
        /// The conditions that the message must meet: JSON pointers with the text of the value there, or `*` for any but `null`.
        when: Vec<Condition> = Vec::new(), ConditionsKind, restart, unset("every message", "{ \"/type\" = \"join\" }");
        /// What it does: it joins a room, leaves it, publishes to it, sends it a signal, says how far its user has read or its device has got
        /// events, deletes an event, asks for its members or for past events, asks what the user has not read, changes the status of the
        /// user, calls the backend, presents a token, replaces it, asks for a sign of life, or does nothing.
        does: Option<Verb> = None, Maybe(Choice(&[
            ("subscribe", Verb::Subscribe), ("unsubscribe", Verb::Unsubscribe), ("publish", Verb::Publish),
            ("signal", Verb::Signal), ("ack", Verb::Ack), ("delivered", Verb::Delivered), ("delete", Verb::Delete),
            ("presence", Verb::Presence), ("history", Verb::History), ("unread", Verb::Unread), ("status", Verb::Status),
            ("rpc", Verb::Rpc), ("connect", Verb::Connect), ("refresh", Verb::Refresh), ("ping", Verb::Ping),
            ("nothing", Verb::Nothing),
        ])), restart, unset("must be set", "\"subscribe\"");
        /// The room: text with `{/json/pointer}`.
        room: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("must be set but for `unread`, `status`, `rpc`, `connect`, `refresh`, `ping` and `nothing`", "\"chat:{/room}\"");
        /// The position behind which a subscription or a history goes on, written like `room`: the text of `{position}`.
        since: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("a subscription begins with what comes next, a history with the newest events", "\"{/epoch}:{/offset}\"");
        /// The position before which a history ends, instead of `since`, written like it: the newest events before that one.
        before: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart, unset("a history ends with the log", "\"{/before}\"");
        /// The most events of a history, written like `room`.
        limit: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart, unset("1000", "\"{/limit}\"");
        /// The topic of what is published or signalled, written like `room`.
        topic: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("must be set for `publish` and `signal`", "\"{/type}\"");
        /// The method of the backend that is called, written like `room`.
        method: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart, unset("must be set for `rpc`", "\"{/method}\"");
        /// Its key, written like `room`.
        key: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart, unset("no key", "\"{/entity}\"");
        /// The client's own id of what is published, written like `room`; receivers get it as the event's id.
        event_id: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart, unset("no id", "\"{/messageId}\"");
        /// What makes a repeated publish one event, or a repeated call of the backend one call, written like `room`: the client's key of
        /// it, often the same as `event_id`.
        idempotency_key: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("each is an event of its own", "\"{/messageId}\"");
        /// Where its data is; empty: the whole message, and for `signal` none.
        data: Pointer = Pointer::default(), PointerKind, restart;
        /// For how many milliseconds a signal is shown, written like `room`; `0` takes it back.
        ttl: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("as `signal_ttl` of the room's policy says", "\"{/ttl}\"");
        /// The offset of the last event that the user has read or its device has got, or of the one that is deleted, written like `room`.
        offset: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("must be set for `ack`, `delivered` and `delete`", "\"{/offset}\"");
        /// The epoch of that offset, written like `room`.
        epoch: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart, unset("the log's own", "\"{/epoch}\"");
        /// The status that the user chooses (`online`, `away`, `busy`, `offline`), written like `room`.
        status: Option<Template> = None, Maybe(TemplateKind(Offers::Message)), restart,
            unset("must be set for `status`", "\"{/status}\"");
        /// Where the token is.
        token: Option<Pointer> = None, Maybe(PointerKind), restart, unset("must be set for `connect` and `refresh`", "\"/token\"");
    }
}

/// Reads one `[[dialect.command]]`.
pub(super) fn command(item: &Item) -> Result<CommandRule, Vec<Problem>> {
    let mut table = CommandTable::default();
    let mut problems = item.fill(&mut table, &[]);
    let CommandTable {
        when,
        does,
        room,
        since,
        before,
        limit,
        topic,
        method,
        key,
        event_id,
        idempotency_key,
        data,
        ttl,
        offset,
        epoch,
        status,
        token,
    } = table;
    if when.iter().any(|condition| condition.is == Expected::Topic) {
        problems.push(item.problem("when", "a message of a client has no topic: `{topic}` is for events".to_owned()));
    }
    if let Some(Err(error)) = room.as_ref().map(|room| Room::parse(&room.example())) {
        problems.push(item.problem("room", format!("it makes no room names: {error}")));
    }
    if let Some(Err(error)) = topic.as_ref().map(|topic| check_topic(&topic.example())) {
        problems.push(item.problem("topic", format!("it makes no topics: {error}")));
    }
    let Some(does) = does.filter(|_| problems.is_empty()) else { return Err(problems) };
    let missing = |name: &str| vec![item.problem(name, format!("a command that does this needs `{name}`"))];
    let room = || room.ok_or_else(|| missing("room"));
    let does = match does {
        Verb::Subscribe => Action::Subscribe { room: room()?, since },
        Verb::Unsubscribe => Action::Unsubscribe(room()?),
        Verb::Presence => Action::Presence(room()?),
        Verb::History => Action::History { room: room()?, since, before, limit },
        Verb::Unread => Action::Unread(room().ok()),
        Verb::Publish => {
            let (room, topic) = (room()?, topic.ok_or_else(|| missing("topic"))?);
            Action::Publish { room, topic, key, event_id, idempotency_key, data }
        }
        Verb::Signal => Action::Signal { room: room()?, topic: topic.ok_or_else(|| missing("topic"))?, data, ttl },
        Verb::Ack | Verb::Delivered | Verb::Delete => {
            let (room, offset) = (room()?, offset.ok_or_else(|| missing("offset"))?);
            match does {
                Verb::Delete => Action::Delete { room, offset, epoch },
                Verb::Delivered => Action::Ack { room, offset, epoch, progress: Progress::Delivered },
                _ => Action::Ack { room, offset, epoch, progress: Progress::Read },
            }
        }
        Verb::Status => Action::Status(status.ok_or_else(|| missing("status"))?),
        Verb::Rpc => Action::Call { method: method.ok_or_else(|| missing("method"))?, data, idempotency_key },
        Verb::Connect => Action::Connect(token.ok_or_else(|| missing("token"))?),
        Verb::Refresh => Action::Refresh(token.ok_or_else(|| missing("token"))?),
        Verb::Ping => Action::Ping,
        Verb::Nothing => Action::Nothing,
    };
    Ok(CommandRule { when, does })
}
