//! `[[dialect]]`: reads a described dialect from the configuration file and compiles it. `docs/DIALECTS.md` teaches it.
//!
//! Pure. Owns the keys and the rules between them; `crate::dialect` owns the compiled form.

mod command;
mod request;

use std::time::Duration;

use super::{
    error::Problem,
    item::Item,
    section::section,
    url_path::MountPath,
    value::{Choice, ConditionsKind, List, Maybe, PointerKind, Switch, TemplateKind, Text, Time},
};
use crate::{
    dialect::{
        Action, Condition, Description, EVENT_FIELDS, Envelope, EventRule, Field, Greet, MessageTemplate, Offers,
        Pointer, ServerMessage, Template,
    },
    model::Room,
};
use command::command;
use request::request;

pub use command::CommandTable;
pub use request::RequestTable;

section! {
    /// A client wire format of JSON messages, so that existing clients connect as they are. `docs/DIALECTS.md` teaches it.
    pub struct DialectTable in "dialect" {
        /// Its name, in metrics and the API.
        name: Option<String> = None, Maybe(Text), restart, unset("must be set", "\"chat\"");
        /// The paths at which WebSockets speak it, unless they offer `roomcast.v1`. With `envelope = "socketio"` the namespaces
        /// of `[socketio]` in which it is spoken instead of roomcast's own events; none: `/`.
        paths: Vec<String> = Vec::new(), List(MountPath), restart, unset("none", "[\"/chat\"]");
        /// The paths at which its clients wait for what is new by `GET`, as at `/poll` in the native protocol: the answer is the text of `polled`.
        poll_paths: Vec<String> = Vec::new(), List(MountPath), restart;
        /// The parameter of a poll that says where the client stands: the `{cursor}` of the last answer.
        poll_cursor: String = "cursor".to_owned(), Text, restart;
        /// The parameter of a poll that names a room; it may be there more than once. The rooms of `rooms` and the user's personal room
        /// are there without it.
        poll_room: String = "room".to_owned(), Text, restart;
        /// The paths to which its clients send messages by `POST` (or `PUT`), as to `/send` in the native protocol: one, or an array of
        /// them. The answer is the text of `sent`.
        send_paths: Vec<String> = Vec::new(), List(MountPath), restart;
        /// The subprotocols (RFC 6455 section 1.9) that it has. A client that offers one of them is answered the first of these, one
        /// that offers only others none, after which browsers fail the connection. Empty: the first that a client offers.
        subprotocols: Vec<String> = Vec::new(), List(Text), restart;
        /// The envelope around its messages: none, or Socket.IO, where each is an array of an event's name and its arguments.
        envelope: Envelope = Envelope::Json,
            Choice(&[("json", Envelope::Json), ("socketio", Envelope::Socketio)]), restart;
        /// The prefixes that clients may write before a room's id (the part of its name behind the first colon). The pod removes one
        /// such prefix from the name, and `{room:id}` has it again for the clients that wrote it.
        prefixes: Vec<String> = Vec::new(), List(Text), restart;
        /// The rooms that a new connection joins, under the rules of their policies: text with `{query:name}`, `{user}` and, if
        /// `tokens.keep_claims` is set, `{claim:name}`. A room is left out if one of its placeholders has no text.
        rooms: Vec<Template> = Vec::new(), List(TemplateKind(Offers::Request)), restart;
        /// The parameters that the query of a connection's request must have. If one is missing, the pod says `refused` and closes
        /// the connection with 1008.
        required_query: Vec<String> = Vec::new(), List(Text), restart;
        /// When `welcome` is said: `first`; or `in_room`, after the connection has joined the first of `rooms` and before the events
        /// of that room. With `in_room` it is also said whenever a Socket.IO session has been recovered, and a connection that
        /// cannot join that room is told `refused` and closed.
        greet: Greet = Greet::First, Choice(&[("first", Greet::First), ("in_room", Greet::InRoom)]), restart;
        /// The id of the event behind which a connection continues in the first of `rooms`, written like these: the publisher's
        /// own `id`, or the text of `{position}`. The pod looks for it among the room's newest 1,000 events and 1 MiB. If it is
        /// not there, nothing is replayed.
        continue_after: Option<Template> = None, Maybe(TemplateKind(Offers::Request)), restart,
            unset("nothing is replayed", "\"{query:after}\"");
        /// The cursor with which a connection goes on, written like `rooms`: the `{cursor}` of a poll, or the same put together by the client. The
        /// connection joins the rooms that it names, under the rules of their policies, each behind its position there.
        resume: Option<Template> = None, Maybe(TemplateKind(Offers::Request)), restart,
            unset("clients join their rooms by commands", "\"{query:cursor}\"");
        /// The interval at which `heartbeat` is said to each client.
        heartbeat: Option<Duration> = None, Maybe(Time(Duration::from_secs(1)..=Duration::from_secs(3_600))), restart,
            unset("never", "\"30s\"");
        /// Where a command has an id that its answer repeats: a JSON pointer to a string or number.
        id: Option<Pointer> = None, Maybe(PointerKind), restart, unset("commands have none", "\"/id\"");
        /// Whether a client that joins a room again, or leaves one that it is not in, is told nothing: for clients that do so, and do
        /// not expect an error. A command with an id is answered in any case.
        idempotent: bool = false, Switch, restart;
    }
}

section! {
    /// The text of one message of the server. A message without a text is not sent.
    pub struct MessageTable in "dialect.message" {
        /// The message.
        on: Option<ServerMessage> = None, Maybe(Choice(ServerMessage::ALL)), restart, unset("must be set", "\"pong\"");
        /// Its text: JSON with placeholders in its strings.
        write: Option<String> = None, Maybe(Text), restart,
            unset("must be set, unless `ack` is", "'{\"type\": \"pong\", \"at\": \"{now}\"}'");
        /// In Socket.IO, the arguments of the acknowledgement that a client asked for: an array, written like `write`. Where only
        /// this is set, a client that asked for no acknowledgement gets no message.
        ack: Option<String> = None, Maybe(Text), restart, unset("as `write`", "'[{\"ok\": true}]'");
    }
}

section! {
    /// The text of an event, in `{events}` or as a message of its own: the first `[[dialect.event]]` that fits counts.
    pub struct EventTable in "dialect.event" {
        /// The rooms whose events it is for: a pattern, in which each `*` stands for any characters.
        room: Option<String> = None, Maybe(Text), restart, unset("all", "\"chat:*\"");
        /// The topics that it is for, written like `room`.
        topic: Option<String> = None, Maybe(Text), restart, unset("all", "\"poll.*\"");
        /// The conditions that its data must meet, written like the `when` of a command; `{topic}` is the event's own topic.
        when: Vec<Condition> = Vec::new(), ConditionsKind, restart, unset("every event", "{ \"/text\" = \"*\" }");
        /// Its text: JSON with placeholders in its strings.
        write: Option<String> = None, Maybe(Text), restart,
            unset("must be set", "'{\"type\": \"{topic}\", \"data\": \"{data}\"}'");
    }
}

/// The lists of tables in one `[[dialect]]`.
const NESTED: [&str; 4] = ["command", "message", "event", "request"];

/// Reads one `[[dialect]]`.
pub(super) fn read(item: &Item) -> Result<Description, Vec<Problem>> {
    let mut table = DialectTable::default();
    let mut problems = item.fill(&mut table, &NESTED);
    let mut commands = Vec::new();
    let mut said =
        Vocabulary { write: vec![None; ServerMessage::ALL.len()], ack: vec![None; ServerMessage::ALL.len()] };
    let (mut events, mut requests) = (Vec::new(), Vec::new());
    for (name, nested) in item.nested(&NESTED, &mut problems) {
        let read = match name {
            "command" => command(&nested).map(|command| commands.push(command)),
            "message" => message(&nested, &table, &mut said),
            "request" => request(&nested).map(|request| requests.push(request)),
            _ => event(&nested).map(|event| events.push(event)),
        };
        problems.extend(read.err().unwrap_or_default());
    }
    let Vocabulary { write: messages, ack: acks } = said;
    let DialectTable { name, paths, subprotocols, envelope, prefixes, rooms, .. } = table;
    let DialectTable { poll_paths, poll_cursor, poll_room, send_paths, .. } = table;
    let DialectTable { required_query, greet, continue_after, resume, heartbeat, id, idempotent, .. } = table;
    let begins_in_room = [("greet", greet == Greet::InRoom), ("continue_after", continue_after.is_some())]
        .into_iter()
        .filter(|(_, is)| *is);
    if rooms.is_empty() {
        let why = "it has no `rooms`: write for example `rooms = [\"chat:{query:room}\"]`";
        problems.extend(begins_in_room.map(|(name, _)| item.problem(name, why.to_owned())));
    }
    for room in &rooms {
        if let Err(error) = Room::parse(&room.example()) {
            problems.push(item.problem("rooms", format!("it makes no room names: {error}")));
        }
    }
    if let Some(bad) = subprotocols.iter().find(|name| !is_token(name)) {
        problems.push(
            item.problem("subprotocols", format!("{bad:?} is no name of a subprotocol: it has other characters")),
        );
    }
    if envelope == Envelope::Socketio && !subprotocols.is_empty() {
        let why = "in Socket.IO the first that a client offers is answered: leave it out";
        problems.push(item.problem("subprotocols", why.to_owned()));
    }
    if prefixes.len() >= 16 {
        problems.push(item.problem("prefixes", "there are more than 15".to_owned()));
    }
    if envelope == Envelope::Socketio && !(poll_paths.is_empty() && send_paths.is_empty()) {
        let why = "Socket.IO polls by itself: leave it out";
        let name = if poll_paths.is_empty() { "send_paths" } else { "poll_paths" };
        problems.push(item.problem(name, why.to_owned()));
    }
    let parameters = [("poll_cursor", &poll_cursor), ("poll_room", &poll_room)];
    for (name, _) in parameters.into_iter().filter(|(_, parameter)| matches!(parameter.as_str(), "" | "token")) {
        problems.push(item.problem(name, "a parameter needs a name, and `token` is taken".to_owned()));
    }
    if poll_cursor == poll_room {
        problems.push(item.problem("poll_room", "`poll_cursor` has the same name".to_owned()));
    }
    if envelope == Envelope::Socketio && !requests.is_empty() {
        problems.push(item.problem("request", "in Socket.IO there is none: leave it out".to_owned()));
    }
    let is_nowhere = paths.is_empty() && poll_paths.is_empty() && send_paths.is_empty();
    if envelope == Envelope::Json && is_nowhere && problems.is_empty() {
        problems.push(item.problem("paths", "it has no path: write `paths = [\"/ws\"]`".to_owned()));
    }
    if events.is_empty() && problems.is_empty() {
        let why = "it has no `[[dialect.event]]`: its clients would never see an event";
        problems.push(item.problem("event", why.to_owned()));
    }
    let said = |saying: ServerMessage| messages.get(saying as usize).and_then(Option::as_ref);
    if heartbeat.is_some() != said(ServerMessage::Heartbeat).is_some() {
        let why =
            "a sign of life needs both: `heartbeat = \"30s\"`, and a `[[dialect.message]]` with `on = \"heartbeat\"`";
        problems.push(item.problem("heartbeat", why.to_owned()));
    }
    if commands.iter().any(|command| matches!(command.does, Action::History { .. }))
        && said(ServerMessage::History).is_none()
    {
        let why = "a command asks for past events: it needs a `[[dialect.message]]` with `on = \"history\"`";
        problems.push(item.problem("message", why.to_owned()));
    }
    for (name, on, field, needs) in [
        ("events", ServerMessage::Events, "events", Field::Events),
        ("history", ServerMessage::History, "events", Field::Events),
        ("polled", ServerMessage::Polled, "messages", Field::Messages),
        ("polled", ServerMessage::Polled, "cursor", Field::Cursor),
        ("sent", ServerMessage::Sent, "messages", Field::Messages),
    ] {
        if said(on).is_some_and(|message| !message.names(&needs)) {
            problems.push(item.problem("message", format!("its `{name}` has no `{{{field}}}`")));
        }
    }
    if envelope == Envelope::Socketio
        && said(ServerMessage::Events).is_none()
        && events.iter().any(|event| !event.message.is_array())
    {
        problems.push(item.problem("envelope", NO_ARRAY.to_owned()));
    }
    match name {
        Some(name) if problems.is_empty() => Ok(Description {
            name,
            paths,
            poll_paths,
            send_paths,
            poll_cursor,
            poll_room,
            subprotocols,
            envelope,
            prefixes,
            rooms,
            required_query,
            greet,
            continue_after,
            resume,
            heartbeat,
            id,
            idempotent,
            commands,
            messages,
            acks,
            events,
            requests,
        }),
        _ => Err(problems),
    }
}

/// Whether a text can stand in `Sec-WebSocket-Protocol` (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let other = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || other(byte))
}

/// Why a message does not fit into Socket.IO.
const NO_ARRAY: &str = "in Socket.IO each message is an array: `[\"name\", …]`";

/// The texts of messages and acknowledgements, in the order of [`ServerMessage::ALL`].
struct Vocabulary {
    write: Vec<Option<MessageTemplate>>,
    ack: Vec<Option<MessageTemplate>>,
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
        let message = MessageTemplate::parse(&text, on.fields()).map_err(|why| problem(name, &why))?;
        if dialect.greet != Greet::InRoom && message.names(&Field::Replayed) {
            return Err(problem(name, "`{replayed}` has a value with `greet = \"in_room\"` only"));
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
    let message = MessageTemplate::parse(&write, EVENT_FIELDS).map_err(|why| vec![item.problem("write", why)])?;
    let EventTable { room, topic, when, .. } = table;
    Ok(EventRule { room: room.map(Into::into), topic: topic.map(Into::into), when, message })
}
