//! Going on in the rooms of a cursor, texts that go by room and topic, and what is unread in several rooms.

use super::{super::*, batch, dialect, opening, text};
use crate::{
    auth::Grant,
    model::{Epoch, Unread},
    protocol::socketio::Envelope,
};

const FEEDS: &str = r#"
[[dialect]]
name = "feeds"
paths = ["/feeds"]
rooms = ["lobby"]
resume = "{query:last}"
[[dialect.message]]
on = "error"
write = '{"error":"{code}","why":"{message}"}'
[[dialect.event]]
room = "chat:*"
topic = "note.*"
when = { "/n" = "*" }
write = '{"note":"{data:/n}"}'
[[dialect.event]]
room = "chat:*"
write = '{"chat":"{topic}"}'
[[dialect.event]]
write = '{"other":"{topic}"}'
"#;

#[test]
fn a_connection_goes_on_in_the_rooms_of_its_cursor() {
    let feeds = dialect(FEEDS);
    let open = |target: &str| {
        let mut opened = Err(Disconnect::Normal);
        let said = opening(target, &Grant::default(), |opening| text(|out| opened = feeds.open(opening, out)));
        let rooms = opened.unwrap().rooms.into_iter();
        (rooms.map(|to| (to.room.to_string(), to.since.map(|since| since.offset))).collect::<Vec<_>>(), said)
    };
    let room = |name: &str, offset| (name.to_owned(), offset);
    assert_eq!(open("/feeds"), (vec![room("lobby", None)], vec![]));
    let both = vec![room("lobby", Some(3)), room("chat:7", Some(44))];
    assert_eq!(open("/feeds?last=chat%253A7%3De%3A44%26lobby%3De%3A3"), (both, vec![]));
    let (rooms, said) = open("/feeds?last=x");
    assert_eq!((rooms, said.len()), (vec![room("lobby", None)], 1));
    assert!(said[0].starts_with(r#"{"error":"bad_request","why":"the cursor of the address: "#), "{said:?}");
    let (rooms, said) = open("/feeds?last=a%3De%3A1%26b%3De%3A1%26c%3De%3A1%26d%3De%3A1");
    assert_eq!(rooms, [room("lobby", None)], "a connection may be in three rooms");
    assert_eq!(said, [r#"{"error":"limit_exceeded","why":"the cursor of the address: at most 3 rooms"}"#]);
}

#[test]
fn an_event_is_looked_for_in_the_first_room_unless_the_cursor_has_its_position() {
    let feeds = dialect(&FEEDS.replace("resume =", "continue_after = \"{query:after}\"\nresume ="));
    for (target, expected) in [
        ("/feeds?after=m-1", Some("m-1")),
        ("/feeds?after=m-1&last=chat%253A7%3De%3A44", Some("m-1")),
        ("/feeds?after=m-1&last=lobby%3De%3A3", None),
    ] {
        let mut opened = Err(Disconnect::Normal);
        opening(target, &Grant::default(), |opening| text(|out| opened = feeds.open(opening, out)));
        assert_eq!(opened.unwrap().after.as_deref(), expected, "{target}");
    }
}

#[test]
fn the_text_of_an_event_goes_by_its_room_and_topic() {
    let feeds = dialect(FEEDS);
    let events = [("note.new", None, r#"{"n":1}"#), ("note.new", None, "{}"), ("said", None, r#"{"n":1}"#)];
    let said = |room: &str| {
        let batch = Batch { room: Room::parse(room).unwrap(), ..batch(&events) };
        text(|out| feeds.batch(&batch, 0, out))
    };
    assert_eq!(said("chat:9"), [r#"{"note":1}"#, r#"{"chat":"note.new"}"#, r#"{"chat":"said"}"#]);
    assert_eq!(said("feed:9"), [r#"{"other":"note.new"}"#, r#"{"other":"note.new"}"#, r#"{"other":"said"}"#]);
}

#[test]
fn what_is_unread_is_an_answer_also_where_there_is_none() {
    let of = |envelope: &str, done: &str, unread: &str| {
        dialect(&format!(
            "[[dialect]]\nname = \"in\"\n{envelope}\n[[dialect.message]]\non = \"done\"\nwrite = '{done}'\n[[dialect.message]]\non = \"unread\"\n{unread}\n[[dialect.event]]\nwrite = '[\"{{topic}}\"]'"
        ))
    };
    let json = of("paths = [\"/in\"]", r#"{"ok":"{id}"}"#, r#"write = '{"in":"{room}","id":"{id?}"}'"#);
    let within = of(
        "envelope = \"socketio\"",
        r#"["ok"]"#,
        r#"write = '["in","{room}"]'
ack = '["{room}"]'"#,
    );
    let unread =
        |room: &str| Unread { room: Room::parse(room).unwrap(), read: Position::new(Epoch::new("e"), 1), end: 2 };
    let said = |dialect: &Described, rooms: &[&str], id: Option<&str>| {
        let reply = Reply::Unread { rooms: rooms.iter().map(|room| unread(room)).collect() };
        text(|out| dialect.reply(&reply, id.map(Into::into).as_ref(), out))
    };
    assert_eq!(said(&json, &["a", "b"], Some("7")), [r#"{"in":"a","id":7}"#, r#"{"in":"b","id":7}"#]);
    assert_eq!(said(&json, &[], Some("7")), [r#"{"ok":7}"#]);
    assert!(said(&json, &[], None).is_empty());
    // An acknowledgement has one answer; the others come as events.
    let packets = |rooms: &[&str], id: &str| {
        let reply = Reply::Unread { rooms: rooms.iter().map(|room| unread(room)).collect() };
        let envelope = Envelope::new("/", Box::new(within.clone()), false);
        text(|out| envelope.reply(&reply, Some(&id.into()), out))
    };
    assert_eq!(packets(&["a", "b"], "7"), [r#"437["a"]"#, r#"42["in","b"]"#]);
    assert_eq!(
        (packets(&["a"], ""), packets(&[], "7")),
        (vec![r#"42["in","a"]"#.to_owned()], vec![r#"437["ok"]"#.to_owned()])
    );
}
