//! Described dialects: what messages mean, and what is said.
#![allow(clippy::unwrap_used)]

mod left_out;
mod resuming;

use std::{path::Path, sync::Arc};

use serde_json::value::RawValue;

use super::*;
use crate::{
    auth::{Claims, Grant},
    config::{Flags, Variables, merge},
    model::{Command, Epoch, ErrorCode, Event, IdempotencyKey, Limits, Member, Payload, Position},
};

fn dialect(toml: &str) -> Described {
    let settings = merge(&Flags::new(), &Variables::new(), Some((Path::new("t"), toml))).unwrap().settings;
    Described::new(settings.dialects.into_iter().next().unwrap())
}

const CHAT: &str = r#"
[[dialect]]
name = "chat"
paths = ["/chat"]
prefixes = ["room-"]
rooms = ["user:{user}", "lobby:{query:lobby}"]
required_query = ["v"]
id = "/ref"
[[dialect.command]]
when = { "/type" = "join", "/payload/room" = "*" }
does = "subscribe"
room = "{/payload/room}"
[[dialect.command]]
when = { "/type" = "join" }
does = "subscribe"
room = "event:{/payload/event|/payload/old}"
[[dialect.command]]
when = { "/type" = "say" }
does = "publish"
room = "chat:{/to}"
topic = "said"
key = "{/key}"
event_id = "{/nonce}"
idempotency_key = "{/ref}-{/nonce}"
data = "/text"
[[dialect.command]]
when = { "/type" = "ping", "/n" = 7 }
does = "ping"
[[dialect.command]]
when = { "/type" = "alive" }
does = "nothing"
[[dialect.command]]
when = { "/type" = "auth" }
does = "connect"
token = "/token"
[[dialect.message]]
on = "welcome"
write = '{"type":"hello","v":"{query:v}","you":"{user?}","conn":"{connection}"}'
[[dialect.message]]
on = "refused"
write = '{"type":"no","why":"{message}"}'
[[dialect.message]]
on = "pong"
write = '{"ref":"{id?}","type":"pong","at":"{now:s}"}'
[[dialect.message]]
on = "error"
write = '["error","{code}","{message}","{room?}","of {id}"]'
[[dialect.message]]
on = "joined"
write = '{"came":"{members}","n":"{total}"}'
[[dialect.event]]
when = { "/text" = "*" }
write = '{"*":"{data}","at":"{time}","room":"{room:id}","by":"{user|data:/by?}"}'
[[dialect.event]]
when = { "/topic" = "{topic}" }
write = '"{data:/topic}"'
[[dialect.event]]
write = '{"t":"{topic}","d":"{data}","k":"{key?}","p":"{position}","s":"<{topic}@{room:namespace}>"}'
"#;

fn text(write: impl FnOnce(&mut Messages)) -> Vec<String> {
    let mut out = Messages::default();
    out.begin(1_770_114_600_500);
    write(&mut out);
    out.iter().map(|(_, message)| String::from_utf8(message.to_vec()).unwrap()).collect()
}

fn decode(message: &str) -> Result<Command, (ErrorCode, String)> {
    dialect(CHAT).decode(Message::Text(message)).map(|r| r.command).map_err(|e| (e.code, e.message))
}

fn to(room: &str, spelling: Spelling) -> Command {
    Command::Subscribe(vec![SubscribeTo { room: Room::parse(room).unwrap(), since: None, spelling }])
}

#[test]
fn messages_mean_commands() {
    assert_eq!(decode(r#"{"type":"join","payload":{"room":"chat:1"}}"#), Ok(to("chat:1", 0)));
    assert_eq!(decode(r#"{"payload":{"event":"room-9"},"type":"jo\u0069n"}"#), Ok(to("event:9", 1)));
    assert_eq!(decode(r#"{"payload":{"event":null,"old":12},"type":"join"}"#), Ok(to("event:12", 0)));
    // One prefix is left out; a prefix alone is an id.
    assert_eq!(decode(r#"{"type":"join","payload":{"event":"room-room-9"}}"#), Ok(to("event:room-9", 1)));
    assert_eq!(decode(r#"{"type":"join","payload":{"event":"room-"}}"#), Ok(to("event:room-", 0)));
    assert_eq!(decode(r#"{"type":"ping","n":7}"#), Ok(Command::Ping));
    assert_eq!(decode(r#"{"type":"alive"}"#), Ok(Command::Heard));
    assert!(
        matches!(decode(r#"{"type":"auth","token":"x"}"#), Ok(Command::Connect { token: Some(t) }) if t.reveal() == "x")
    );
    let said = decode(r#"{"type":"say","to":"1","text":{ "a" : 1 },"key":5}"#).unwrap();
    let Command::Publish { room, topic, payload: Payload::Json(data), key, event_id, idempotency_key } = said else {
        panic!("{said:?}")
    };
    assert_eq!((room.as_str(), &*topic, data.get(), key.as_deref()), ("chat:1", "said", "{ \"a\" : 1 }", Some("5")));
    assert_eq!((event_id, idempotency_key), (None, None));
    let said = decode(r#"{"type":"say","to":"1","text":1,"ref":"r","nonce":7}"#).unwrap();
    let Command::Publish { event_id, idempotency_key, .. } = said else { panic!("{said:?}") };
    assert_eq!((event_id.as_deref(), idempotency_key), (Some("7"), Some(IdempotencyKey::of_client("r-7".into()))));
    let request = dialect(CHAT).decode(Message::Text(r#"{"type":"ping","n":7,"ref":"r1"}"#)).unwrap();
    assert_eq!(request.id.as_deref(), Some("\"r1\""));
}

#[test]
fn what_means_nothing_is_said_to_mean_nothing() {
    for (message, code, why) in [
        ("{", ErrorCode::BadRequest, "the message is not JSON"),
        ("[]", ErrorCode::UnknownCommand, "no command fits this message"),
        (r#"{"type":"ping","n":8}"#, ErrorCode::UnknownCommand, "no command fits this message"),
        (r#"{"type":"join"}"#, ErrorCode::BadRequest, "room is missing: /payload/event or /payload/old"),
        (r#"{"type":"join","payload":{"room":{}}}"#, ErrorCode::BadRequest, "room is missing: /payload/room"),
        (r#"{"type":"join","payload":{"room":"a b"}}"#, ErrorCode::BadRoom, "a room name must not contain ' '"),
        (r#"{"type":"say","to":1}"#, ErrorCode::BadRequest, "data is missing: /text"),
        (r#"{"type":"auth","token":5}"#, ErrorCode::BadRequest, "token is missing"),
        (r#"{"type":"ping","ref":{}}"#, ErrorCode::BadRequest, "/ref must be a string or a number"),
    ] {
        let (got, message_got) = decode(message).unwrap_err();
        assert!(got == code && message_got.starts_with(why), "{message}: {got:?} {message_got}");
    }
    let long = format!(r#"{{"type":"say","to":1,"text":1,"nonce":"{}"}}"#, "x".repeat(256));
    let (code, why) = decode(&long).unwrap_err();
    assert!(code == ErrorCode::LimitExceeded && why.contains("event_id"), "{code:?} {why}");
    let decode = |bytes: &[u8]| dialect(CHAT).decode(Message::Binary(bytes)).map(|request| request.command);
    assert!(matches!(decode(br#"{"type":"ping","n":7}"#), Ok(Command::Ping)), "JSON is JSON in a binary message too");
    for bad in [&b"{}"[..], b"\xff{}", b""] {
        assert!(decode(bad).is_err());
    }
}

#[test]
fn past_events_are_said_as_described() {
    let toml = CHAT.replacen(
        "on = \"pong\"\nwrite = '",
        "on = \"history\"\nwrite = '{\"past\":\"{events}\",\"whole\":\"{complete}\",\"after\":\"{after}\",\"to\":\"{position}\"}'\n#",
        1,
    );
    let Batch { room, epoch, after, offset, events } = batch(&[("a", None, "1"), ("b", None, "2")]);
    let past = Reply::History { room, epoch, after, offset, complete: false, events };
    let said = text(|out| dialect(&toml).reply(&past, None, out));
    let events = r#"{"t":"a","d":1,"p":"e:1","s":"<a@chat>"},{"t":"b","d":2,"p":"e:2","s":"<b@chat>"}"#;
    assert_eq!(said, [format!(r#"{{"past":[{events}],"whole":false,"after":0,"to":"e:2"}}"#)]);
    assert!(text(|out| dialect(CHAT).reply(&past, None, out)).is_empty());
}

#[test]
fn a_connection_begins_as_described() {
    let chat = dialect(CHAT);
    let open = |target: &str| {
        let mut opened = Err(Disconnect::Normal);
        let said = opening(target, &Grant::default(), |opening| text(|out| opened = chat.open(opening, out)));
        (opened.map(|outcome| outcome.rooms), said)
    };
    let hello = r#"{"type":"hello","v":"2 \"x\"","conn":"c1"}"#.to_owned();
    let rooms = vec![SubscribeTo { room: Room::parse("lobby:7").unwrap(), since: None, spelling: 1 }];
    assert_eq!(open("/chat?v=2%20%22x%22&lobby=room-7"), (Ok(rooms), vec![hello.clone()]));
    assert_eq!(open("/chat?v=2+%22x%22"), (Ok(vec![]), vec![hello]));
    let refused = r#"{"type":"no","why":"v is missing in the query of the address"}"#.to_owned();
    assert_eq!(open("/chat?v="), (Err(Disconnect::Refused), vec![refused]));
    let (opened, said) = open("/chat?v=1&lobby=a%20b");
    assert_eq!((opened, said.len()), (Err(Disconnect::Refused), 2));
}

const POLLS: &str = r#"
[[dialect]]
name = "polls"
envelope = "socketio"
rooms = ["session:{query:s|claim:s}", "team:{claim:/teams/0}"]
greet = "in_room"
continue_after = "{query:after}"
heartbeat = "30s"
[[dialect.command]]
does = "nothing"
[[dialect.message]]
on = "welcome"
write = '["hello", {"replayed": "{replayed}", "name": "{claim:name?}", "all": "{claim:teams}", "s": "of {claim:s}"}]'
[[dialect.message]]
on = "refused"
write = '["no", "{code}", "{message}"]'
[[dialect.message]]
on = "error"
write = '["oops", "{code}"]'
ack = '["{code}"]'
[[dialect.message]]
on = "published"
ack = '["{offset}"]'
[[dialect.message]]
on = "done"
write = '["done"]'
[[dialect.message]]
on = "heartbeat"
write = '["beat", "{now:s}"]'
[[dialect.event]]
write = '["event"]'
"#;

#[test]
fn a_connection_can_be_greeted_in_its_room() {
    let polls = dialect(POLLS);
    let claims = |content: &str| {
        let (user, expires_at, personal_room) = (None, None, None);
        let content = Some(content.into());
        let (rooms, given, receipts) = (Vec::new(), Vec::new(), true);
        Grant::verified(Claims {
            user,
            expires_at,
            rooms,
            personal_room,
            given,
            methods: Vec::new(),
            receipts,
            content,
        })
    };
    let ann = claims(r#"{"name":"ann","s":7,"teams":["red",null]}"#);
    let open = |target: &str, grant: &Grant| {
        let mut opened = Err(Disconnect::Normal);
        let said = opening(target, grant, |opening| text(|out| opened = polls.open(opening, out)));
        let OpenOutcome { rooms, greets_in_room, after, .. } = opened.unwrap();
        (rooms.iter().map(|to| to.room.to_string()).collect::<Vec<_>>(), greets_in_room, after, said)
    };
    let both = vec!["session:7".to_owned(), "team:red".to_owned()];
    assert_eq!(open("/?after=e%3A5", &ann), (both, true, Some("e:5".into()), vec![]));
    assert_eq!(open("/?s=1&after=", &claims(r#"{"teams":[{}]}"#)), (vec!["session:1".to_owned()], true, None, vec![]));
    // Without a room there is nothing to wait for.
    let nobody = r#"["hello",{"replayed":false,"all":null,"s":"of "}]"#;
    assert_eq!(open("/", &Grant::default()), (vec![], false, None, vec![nobody.to_owned()]));
    let unasked = |replayed: bool| {
        opening("/", &ann, |opening| text(|out| polls.push(&ServerPush::Greeting { opening, replayed }, out)))
    };
    assert_eq!(unasked(true), [r#"["hello",{"replayed":true,"name":"ann","all":["red",null],"s":"of 7"}]"#]);
    let refused = opening("/", &ann, |opening| {
        let refused = ServerPush::Refused { opening, code: ErrorCode::Forbidden, message: "not you" };
        text(|out| polls.push(&refused, out))
    });
    assert_eq!(refused, [r#"["no","forbidden","not you"]"#]);
    assert_eq!(text(|out| polls.push(&ServerPush::Heartbeat, out)), [r#"["beat",1770114600]"#]);
    assert_eq!(polls.abilities().heartbeat, Some(std::time::Duration::from_secs(30)));
    // A dialect that greets at once says nothing more.
    let entered =
        |opening: &Opening<'_>| text(|out| dialect(CHAT).push(&ServerPush::Greeting { opening, replayed: true }, out));
    assert!(opening("/?v=1", &ann, entered).is_empty());
}

#[test]
fn acknowledgements_can_be_said_otherwise() {
    let polls = dialect(POLLS);
    let said = |reply: &Reply, ack: bool| text(|out| polls.reply(reply, ack.then(|| "1".into()).as_ref(), out));
    let error = Reply::Error { code: ErrorCode::BadRoom, message: String::new(), room: None };
    assert_eq!(
        (said(&error, false), said(&error, true)),
        (vec![r#"["oops","bad_room"]"#.into()], vec![r#"["bad_room"]"#.into()])
    );
    let published = Reply::Published(Position::new(Epoch::new("e"), 5));
    assert_eq!((said(&published, false), said(&published, true)), (vec![], vec!["[5]".to_owned()]));
    let done = Reply::Done { expires_at: None };
    assert_eq!((said(&done, false), said(&done, true)), (vec![r#"["done"]"#.into()], vec![r#"["done"]"#.into()]));
}

/// What is made of a connection that asked for `target`.
fn opening<T>(target: &str, grant: &Grant, act: impl FnOnce(&Opening<'_>) -> T) -> T {
    let target = target.parse().unwrap();
    let limits = Limits { max_message_bytes: 1, max_rooms: 3, commands_per_second: 1, command_burst: 1 };
    act(&Opening { connection: "c1", target: &target, auth: None, grant, ping_interval_ms: 5, limits, resumes: true })
}

fn batch(events: &[(&str, Option<&str>, &str)]) -> Batch {
    let event = |(offset, (topic, key, data)): (u64, &(&str, Option<&str>, &str))| {
        Arc::new(Event {
            offset,
            room: None,
            time: 1_770_114_600_000,
            topic: (*topic).into(),
            key: key.map(Into::into),
            payload: Payload::Json(RawValue::from_string((*data).to_owned()).unwrap()),
            user: None,
            id: None,
        })
    };
    let events: Vec<_> = (1..).zip(events).map(event).collect();
    Batch {
        room: Room::parse("chat:9").unwrap(),
        epoch: Epoch::new("e"),
        after: 0,
        offset: events.len() as u64,
        events,
    }
}

#[test]
fn events_are_said_as_described() {
    let chat = dialect(CHAT);
    let events = batch(&[
        ("a\"", Some("k"), "[1]"),
        ("said", None, r#"{ "text" : "x", "at":"then" }"#),
        ("said", None, r#"{"text":1,"by":"bob"}"#),
        ("a", None, r#"{"topic":"a"}"#),
        ("b", None, r#"{"topic":"a"}"#),
    ]);
    assert_eq!(
        text(|out| chat.batch(&events, 0, out)),
        [
            r#"{"t":"a\"","d":[1],"k":"k","p":"e:1","s":"<a\"@chat>"}"#,
            r#"{"text" : "x", "at":"then","room":"9"}"#,
            r#"{"text":1,"by":"bob","at":"2026-02-03T10:30:00Z","room":"9"}"#,
            r#""a""#,
            r#"{"t":"b","d":{"topic":"a"},"p":"e:5","s":"<b@chat>"}"#,
        ]
    );
    // All connections with the same spelling share these bytes.
    assert_eq!(
        text(|out| chat.batch(&batch(&[("said", None, r#"{"text":2}"#)]), 1, out)),
        [r#"{"text":2,"at":"2026-02-03T10:30:00Z","room":"room-9"}"#]
    );
    let together = CHAT.replacen(
        "on = \"pong\"\nwrite = '",
        "on = \"events\"\nwrite = '{\"all\":\"{events}\",\"to\":\"{offset}\"}'\n#",
        1,
    );
    assert_eq!(
        text(|out| dialect(&together).batch(&batch(&[("a", None, "1"), ("b", None, "null")]), 0, out)),
        [r#"{"all":[{"t":"a","d":1,"p":"e:1","s":"<a@chat>"},{"t":"b","d":null,"p":"e:2","s":"<b@chat>"}],"to":2}"#]
    );
}

#[test]
fn replies_are_said_as_described_or_not_at_all() {
    let chat = dialect(CHAT);
    let reply = |reply: &Reply, id: Option<&str>| text(|out| chat.reply(reply, id.map(CommandId::from).as_ref(), out));
    assert_eq!(reply(&Reply::Pong, Some("7")), [r#"{"ref":7,"type":"pong","at":1770114600}"#]);
    assert_eq!(reply(&Reply::Pong, None), [r#"{"type":"pong","at":1770114600}"#]);
    let error = Reply::Error { code: ErrorCode::BadRoom, message: "a\nb".to_owned(), room: None };
    assert_eq!(reply(&error, Some("\"q\"")), [r#"["error","bad_room","a\nb","of q"]"#]);
    assert!(reply(&Reply::Published(Position::new(Epoch::new("e"), 1)), None).is_empty());
    let joined = vec![Member { connection: "c".into(), user: None }];
    let change = PresenceChange { room: Room::parse("a").unwrap(), joined, left: vec![], members: vec![], total: 3 };
    assert_eq!(text(|out| chat.presence(&change, out)), [r#"{"came":[{"connection":"c"}],"n":3}"#]);
    let abilities = Abilities { tells_gaps: false, takes_tokens: true, heartbeat: None, tells_positions: false };
    assert_eq!(chat.abilities(), abilities);
}

#[test]
fn mistakes_are_named_with_their_lines() {
    let wrong = r#"
[[dialect]]
name = "x"
paths = ["ws"]
[[dialect.command]]
when = { "type" = "join" }
does = "subscribe"
[[dialect.command]]
does = "subscribe"
[[dialect.command]]
does = "jump"
room = "a b{/x}"
[[dialect.message]]
on = "pong"
write = '{"type":"{topic}"}'
[[dialect.message]]
on = "pong"
wriet = '{}'
[[dialect.event]]
write = '{"type":'
[dialect.commands]
"#;
    let error = merge(&Flags::new(), &Variables::new(), Some((Path::new("d.toml"), wrong))).unwrap_err().to_string();
    for expected in [
        "d.toml:4: dialect.paths = [\"ws\"]: it does not begin with `/`; allowed: a path such as `/ws`",
        "d.toml:6: dialect.command.when = a table: `type`: a JSON pointer begins with `/`",
        "d.toml:9: dialect.command: a command that does this needs `room`",
        "d.toml:11: dialect.command.does = \"jump\": it is not one of the words; allowed: `subscribe`",
        "d.toml:12: dialect.command.room = \"a b{/x}\": it makes no room names: a room name must not contain ' '",
        "d.toml:15: dialect.message.write = \"{\\\"type\\\":\\\"{topic}\\\"}\": `{topic}` has no meaning here; there are `{now}`, `{id}`",
        "d.toml:18: dialect.message.wriet: there is no such key; did you mean `write`?",
        "d.toml:17: dialect.message: it has no `write`: write for example `write = '",
        "d.toml:20: dialect.event.write = \"{\\\"type\\\":\": it is not JSON: EOF while parsing",
        "d.toml:21: dialect.commands: there is no such key; did you mean `[[dialect.command]]`?",
    ] {
        assert!(error.contains(expected), "missing: {expected}\nin:\n{error}");
    }
}
