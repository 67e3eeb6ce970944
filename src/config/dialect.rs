//! `[[dialect]]`: a client wire format that is JSON, described: which messages mean which command, and how everything is
//! said. `docs/DIALECTS.md` teaches it.
//!
//! Pure. Everything is compiled here, so that a client's message can fail to fit, but a description cannot fail to be
//! understood.

use std::time::Duration;

use super::{
    condition::{Condition, Conditions, Expected},
    error::Problem,
    file::Item,
    message::{MessageTemplate, Name},
    pointer::{Path, Pointer},
    saying::{EVENT_NAMES, SAYINGS, Saying},
    section::section,
    template::{Offers, Source, Template, Written},
    value::{Choice, Kind, List, Maybe, Raw, Text, Time, quoted},
};
use crate::model::{Room, check_topic};

/// One `[[dialect]]` of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Its name, in metrics and the API.
    pub name: String,
    /// Where it is spoken.
    pub paths: Vec<String>,
    /// What surrounds its messages.
    pub envelope: Envelope,
    /// What clients may write before a room's id, and the room does not have.
    pub prefixes: Vec<String>,
    /// The rooms that a connection enters when it comes.
    pub rooms: Vec<Template>,
    /// What the query of a connection's request must have.
    pub required_query: Vec<String>,
    /// When it is greeted.
    pub greet: Greet,
    /// The id of the event behind which the first of the rooms goes on.
    pub continue_after: Option<Template>,
    /// How often it is given a sign of life.
    pub heartbeat: Option<Duration>,
    /// Where a command's id is.
    pub id: Option<Pointer>,
    /// What messages mean; the first that fits counts.
    pub commands: Vec<CommandRule>,
    /// What is said, in words: one for each of [`Saying::ALL`], in that order.
    pub messages: Vec<Option<MessageTemplate>>,
    /// The same where a client asked for an acknowledgement, if that is said otherwise.
    pub acks: Vec<Option<MessageTemplate>>,
    /// What an event is; the first that fits counts.
    pub events: Vec<EventRule>,
}

/// What surrounds the messages of a described dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing: a message is JSON text.
    Json,
    /// Socket.IO: a message is an array of an event's name and its arguments.
    Socketio,
}

/// When a connection is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greet {
    /// First of all.
    First,
    /// Once the first of its rooms was entered, ahead of what comes there.
    InRoom,
}

/// One `[[dialect.command]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRule {
    /// What a message must have.
    pub when: Vec<Condition>,
    /// What it means then.
    pub does: Does,
}

/// What a message means.
#[derive(Debug, Clone, PartialEq)]
pub enum Does {
    /// Joins a room.
    Subscribe(Template),
    /// Leaves it.
    Unsubscribe(Template),
    /// Sends an event.
    Publish {
        /// The room.
        room: Template,
        /// The topic.
        topic: Template,
        /// The key.
        key: Option<Template>,
        /// The data.
        data: Pointer,
    },
    /// Asks who is in a room.
    Presence(Template),
    /// Presents or replaces a token.
    Connect(Pointer),
    /// Asks for a sign of life.
    Ping,
    /// Nothing: a sign of life that wants no answer.
    Nothing,
}

/// One `[[dialect.event]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRule {
    /// What its data must have.
    pub when: Vec<Condition>,
    /// How it is written.
    pub message: MessageTemplate,
}

/// The word for what a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Subscribe,
    Unsubscribe,
    Publish,
    Presence,
    Connect,
    Ping,
    Nothing,
}

section! {
    /// A client wire format of JSON messages, so that existing clients connect as they are. `docs/DIALECTS.md` teaches it.
    pub struct DialectTable in "dialect" {
        /// Its name, in metrics and the API.
        name: Option<String> = None, Maybe(Text), restart, unset("must be set", "\"chat\"");
        /// The paths at which WebSockets speak it, unless they offer `roomcast.v1`. With `envelope = "socketio"` the namespaces
        /// of `[socketio]` in which it is spoken instead of roomcast's own events; none: `/`.
        paths: Vec<String> = Vec::new(), List(MountPath), restart, unset("none", "[\"/chat\"]");
        /// What surrounds its messages: nothing, or Socket.IO, where each is an array of an event's name and its arguments.
        envelope: Envelope = Envelope::Json,
            Choice(&[("json", Envelope::Json), ("socketio", Envelope::Socketio)]), restart;
        /// What clients may write before a room's id (what stands behind the first colon of its name). One such prefix is
        /// left out of the name, and `{room:id}` has it again for those who wrote it.
        prefixes: Vec<String> = Vec::new(), List(Text), restart;
        /// The rooms that a connection enters when it comes, under the rules of their policies: text with `{query:name}`,
        /// `{user}` and, if `tokens.keep_claims` is set, `{claim:name}`. One of which a part is missing is left out.
        rooms: Vec<Template> = Vec::new(), List(Written(Offers::Request)), restart;
        /// What the query of a connection's request must have; without it the client is told `refused` and closed with 1008.
        required_query: Vec<String> = Vec::new(), List(Text), restart;
        /// When `welcome` is said: `first`, or `in_room`, once the first of `rooms` was entered, ahead of all that comes there;
        /// then also whenever a Socket.IO session has come back, and a connection that cannot enter that room is told
        /// `refused` and closed.
        greet: Greet = Greet::First, Choice(&[("first", Greet::First), ("in_room", Greet::InRoom)]), restart;
        /// The id of the event behind which a connection goes on in the first of `rooms`, written like these: the publisher's
        /// own (`id`), or what `{position}` said. Looked for among the room's newest 1,000 events and 1 MiB. One that is not
        /// there counts as none: nothing is replayed.
        continue_after: Option<Template> = None, Maybe(Written(Offers::Request)), restart,
            unset("nothing is replayed", "\"{query:after}\"");
        /// How often `heartbeat` is said to each client.
        heartbeat: Option<Duration> = None, Maybe(Time(Duration::from_secs(1)..=Duration::from_secs(3_600))), restart,
            unset("never", "\"30s\"");
        /// Where a command has an id that its answer repeats: a JSON pointer to a string or number.
        id: Option<Pointer> = None, Maybe(Path), restart, unset("commands have none", "\"/id\"");
    }
}

section! {
    /// What a message of a client means: the first `[[dialect.command]]` that fits counts.
    pub struct CommandTable in "dialect.command" {
        /// What the message must have: JSON pointers with the text of the value there, or `*` for any but `null`.
        when: Vec<Condition> = Vec::new(), Conditions, restart, unset("every message", "{ \"/type\" = \"join\" }");
        /// What it means: join a room, leave it, publish to it, ask who is there, present a token, ask for a sign of life, or
        /// nothing.
        does: Option<Verb> = None, Maybe(Choice(&[
            ("subscribe", Verb::Subscribe), ("unsubscribe", Verb::Unsubscribe), ("publish", Verb::Publish),
            ("presence", Verb::Presence), ("connect", Verb::Connect), ("ping", Verb::Ping), ("nothing", Verb::Nothing),
        ])), restart, unset("must be set", "\"subscribe\"");
        /// The room: text with `{/json/pointer}`.
        room: Option<Template> = None, Maybe(Written(Offers::Message)), restart,
            unset("must be set for `subscribe`, `unsubscribe`, `publish` and `presence`", "\"chat:{/room}\"");
        /// The topic of what is published, written like `room`.
        topic: Option<Template> = None, Maybe(Written(Offers::Message)), restart,
            unset("must be set for `publish`", "\"{/type}\"");
        /// Its key, written like `room`.
        key: Option<Template> = None, Maybe(Written(Offers::Message)), restart, unset("no key", "\"{/entity}\"");
        /// Where its data is; empty: the whole message.
        data: Pointer = Pointer::default(), Path, restart;
        /// Where the token is.
        token: Option<Pointer> = None, Maybe(Path), restart, unset("must be set for `connect`", "\"/token\"");
    }
}

section! {
    /// How something is said. What no `[[dialect.message]]` is for is not said.
    pub struct MessageTable in "dialect.message" {
        /// What is said.
        on: Option<Saying> = None, Maybe(Choice(SAYINGS)), restart, unset("must be set", "\"pong\"");
        /// The message: JSON with places in its strings.
        write: Option<String> = None, Maybe(Text), restart,
            unset("must be set, unless `ack` is", "'{\"type\": \"pong\", \"at\": \"{now}\"}'");
        /// In Socket.IO, the arguments of the acknowledgement that a client asked for: an array, written like `write`. Where only
        /// this is set, nothing is said to who asked for none.
        ack: Option<String> = None, Maybe(Text), restart, unset("as `write`", "'[{\"ok\": true}]'");
    }
}

section! {
    /// What an event looks like, in `{events}` or as a message of its own: the first `[[dialect.event]]` that fits counts.
    pub struct EventTable in "dialect.event" {
        /// What its data must have, written like the `when` of a command; `{topic}` is the event's own topic.
        when: Vec<Condition> = Vec::new(), Conditions, restart, unset("every event", "{ \"/text\" = \"*\" }");
        /// The event: JSON with places in its strings.
        write: Option<String> = None, Maybe(Text), restart,
            unset("must be set", "'{\"type\": \"{topic}\", \"data\": \"{data}\"}'");
    }
}

/// A path as a value of a key.
pub(super) struct MountPath;

impl Kind for MountPath {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, String> {
        match raw {
            Raw::Text(text) if !text.starts_with('/') => Err("it does not begin with `/`".to_owned()),
            Raw::Text(text) if text.contains(['?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic()) => {
                Err("it is not the path of a URL".to_owned())
            }
            Raw::Text(text) => Ok(text.clone()),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }

    fn name(&self) -> String {
        "path".to_owned()
    }

    fn allowed(&self) -> String {
        "a path such as `/ws`".to_owned()
    }
}

impl Description {
    /// Reads one `[[dialect]]`.
    pub(super) fn read(item: &Item) -> Result<Self, Vec<Problem>> {
        let mut table = DialectTable::default();
        let mut problems = item.fill(&mut table, &["command", "message", "event"]);
        let mut commands = Vec::new();
        let mut said = Vocabulary { write: vec![None; SAYINGS.len()], ack: vec![None; SAYINGS.len()] };
        let mut events = Vec::new();
        for (name, nested) in item.nested(&["command", "message", "event"], &mut problems) {
            let read = match name {
                "command" => command(&nested).map(|command| commands.push(command)),
                "message" => message(&nested, &table, &mut said),
                _ => event(&nested).map(|event| events.push(event)),
            };
            problems.extend(read.err().unwrap_or_default());
        }
        let Vocabulary { write: messages, ack: acks } = said;
        let DialectTable {
            name,
            paths,
            envelope,
            prefixes,
            rooms,
            required_query,
            greet,
            continue_after,
            heartbeat,
            id,
        } = table;
        let begins_in_room = [("greet", greet == Greet::InRoom), ("continue_after", continue_after.is_some())]
            .into_iter()
            .filter(|(_, is)| *is);
        if rooms.is_empty() {
            let why = "there are no `rooms`: write for example `rooms = [\"chat:{query:room}\"]`";
            problems.extend(begins_in_room.map(|(name, _)| item.problem(name, why.to_owned())));
        }
        for room in &rooms {
            if let Err(error) = Room::parse(&room.example()) {
                problems.push(item.problem("rooms", format!("it makes no room names: {error}")));
            }
        }
        if prefixes.len() >= 16 {
            problems.push(item.problem("prefixes", "there are more than 15".to_owned()));
        }
        if envelope == Envelope::Json && paths.is_empty() && problems.is_empty() {
            problems.push(item.problem("paths", "it is spoken nowhere: write `paths = [\"/ws\"]`".to_owned()));
        }
        if events.is_empty() && problems.is_empty() {
            let why = "it has no `[[dialect.event]]`: its clients would never see an event";
            problems.push(item.problem("event", why.to_owned()));
        }
        let said = |saying: Saying| messages.get(saying as usize).and_then(Option::as_ref);
        if heartbeat.is_some() != said(Saying::Heartbeat).is_some() {
            let why = "a sign of life needs both: `heartbeat = \"30s\"`, and a `[[dialect.message]]` with `on = \"heartbeat\"`";
            problems.push(item.problem("heartbeat", why.to_owned()));
        }
        if said(Saying::Events).is_some_and(|message| !message.names(&Name::Events)) {
            problems.push(item.problem("message", "its `events` has no `{events}`".to_owned()));
        }
        if envelope == Envelope::Socketio
            && said(Saying::Events).is_none()
            && events.iter().any(|event| !event.message.is_array())
        {
            problems.push(item.problem("envelope", NO_ARRAY.to_owned()));
        }
        match name {
            Some(name) if problems.is_empty() => Ok(Self {
                name,
                paths,
                envelope,
                prefixes,
                rooms,
                required_query,
                greet,
                continue_after,
                heartbeat,
                id,
                commands,
                messages,
                acks,
                events,
            }),
            _ => Err(problems),
        }
    }

    /// Whether it is spoken in a namespace of Socket.IO.
    #[must_use]
    pub fn is_for(&self, namespace: &str) -> bool {
        if self.paths.is_empty() { namespace == "/" } else { self.paths.iter().any(|path| path == namespace) }
    }

    /// How something is said.
    #[must_use]
    pub fn says(&self, saying: Saying) -> Option<&MessageTemplate> {
        self.messages.get(saying as usize)?.as_ref()
    }

    /// How something is said to who asked for an acknowledgement.
    #[must_use]
    pub fn acknowledges(&self, saying: Saying) -> Option<&MessageTemplate> {
        self.acks.get(saying as usize)?.as_ref().or_else(|| self.says(saying))
    }

    /// Whether something of it is made of the claims of a token.
    #[must_use]
    pub(crate) fn names_claims(&self) -> bool {
        let templates = self.rooms.iter().chain(&self.continue_after).flat_map(Template::sources);
        templates.into_iter().any(|source| matches!(source, Source::Claim(_)))
            || self.messages.iter().flatten().any(|message| message.any(&|name| matches!(name, Name::Claim(_))))
    }
}

/// Why something cannot be said in Socket.IO.
const NO_ARRAY: &str = "in Socket.IO each message is an array: `[\"name\", …]`";

/// What is said, by [`Saying`].
struct Vocabulary {
    write: Vec<Option<MessageTemplate>>,
    ack: Vec<Option<MessageTemplate>>,
}

fn command(item: &Item) -> Result<CommandRule, Vec<Problem>> {
    let mut table = CommandTable::default();
    let mut problems = item.fill(&mut table, &[]);
    let CommandTable { when, does, room, topic, key, data, token } = table;
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
        Verb::Subscribe => Does::Subscribe(room()?),
        Verb::Unsubscribe => Does::Unsubscribe(room()?),
        Verb::Presence => Does::Presence(room()?),
        Verb::Publish => Does::Publish { room: room()?, topic: topic.ok_or_else(|| missing("topic"))?, key, data },
        Verb::Connect => Does::Connect(token.ok_or_else(|| missing("token"))?),
        Verb::Ping => Does::Ping,
        Verb::Nothing => Does::Nothing,
    };
    Ok(CommandRule { when, does })
}

fn message(item: &Item, dialect: &DialectTable, said: &mut Vocabulary) -> Result<(), Vec<Problem>> {
    let mut table = MessageTable::default();
    let mut problems = item.fill(&mut table, &[]);
    if !item.entries.iter().any(|entry| matches!(entry.name.as_str(), "write" | "ack")) {
        let why = "it has no `write`: write for example `write = '{\"type\": \"pong\"}'`";
        problems.push(item.problem("write", why.to_owned()));
    }
    let (Some(on), true) = (table.on, problems.is_empty()) else { return Err(problems) };
    let problem = |name: &str, why: &str| vec![item.problem(name, why.to_owned())];
    if said.write.get(on as usize).is_some_and(Option::is_some)
        || said.ack.get(on as usize).is_some_and(Option::is_some)
    {
        return Err(problem("on", "another message is for this already"));
    }
    if table.ack.is_some() && dialect.envelope != Envelope::Socketio {
        return Err(problem("ack", "only Socket.IO has acknowledgements: `envelope = \"socketio\"`"));
    }
    for (name, text, place) in
        [("write", table.write, said.write.get_mut(on as usize)), ("ack", table.ack, said.ack.get_mut(on as usize))]
    {
        let (Some(text), Some(place)) = (text, place) else { continue };
        let message = MessageTemplate::parse(&text, on.names()).map_err(|why| problem(name, &why))?;
        if dialect.greet != Greet::InRoom && message.names(&Name::Replayed) {
            return Err(problem(name, "what is replayed is known with `greet = \"in_room\"` only"));
        }
        if dialect.envelope == Envelope::Socketio && !message.is_array() {
            return Err(problem(name, NO_ARRAY));
        }
        *place = Some(message);
    }
    Ok(())
}

fn event(item: &Item) -> Result<EventRule, Vec<Problem>> {
    let mut table = EventTable::default();
    let problems = item.fill(&mut table, &[]);
    let (Some(write), true) = (table.write, problems.is_empty()) else { return Err(problems) };
    let message = MessageTemplate::parse(&write, EVENT_NAMES).map_err(|why| vec![item.problem("write", why)])?;
    Ok(EventRule { when: table.when, message })
}
