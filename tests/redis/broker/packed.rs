//! A record's field `packed`: read in place of the others as long as it is of the room's last event, and of this server.

use testkit::redis::Link;

use super::{
    appending::{KIND, Words, assert_bytes, key, publish, words},
    *,
};

struct Fixture {
    server: Standalone,
    link: Link,
    room: Room,
}

impl Fixture {
    /// A room that has had its first two events.
    fn new() -> Self {
        let server = Standalone::start();
        let link = server.link().unwrap();
        let mut fixture = Self { server, link, room: room("a") };
        assert_eq!((fixture.offset("1"), fixture.offset("2")), (1, 2));
        fixture
    }

    fn answer(&mut self, event: Words) -> String {
        publish(&mut self.link, KIND, &[event]).remove(0)
    }

    /// Publishes an event. Its offset.
    fn offset(&mut self, attempt: &str) -> u64 {
        let answer = self.answer(words(&self.room, attempt));
        answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
    }

    fn field(&self, field: &str) -> String {
        self.server.call(&["HGET", &key(&self.room, "room"), field]).text().to_owned()
    }

    fn set(&self, fields: &[&str]) {
        let record = key(&self.room, "room");
        self.server.call(&[&["HSET", &record], fields].concat());
    }

    /// What the field `packed` says of the offset, and how long it is.
    fn packed(&self) -> (i64, i64) {
        let read =
            "local p = redis.call('HGET', KEYS[1], 'packed') return { struct.unpack('>d', string.sub(p, 25, 32)), #p }";
        let reply = self.server.call(&["EVAL", read, "1", &key(&self.room, "room")]);
        (reply.list()[0].number(), reply.list()[1].number())
    }

    fn length(&self) -> i64 {
        self.server.call(&["XLEN", &key(&self.room, "log")]).number()
    }

    /// As a pod of an older build, which writes the other fields only.
    fn old_pod_publishes(&self, offset: u64) {
        let (time, id) = (self.field("time"), format!("{offset}-{}", self.field("time")));
        let bytes = (self.field("bytes").parse::<u64>().unwrap() + 3 + 64).to_string();
        self.server.call(&["XADD", &key(&self.room, "log"), &id, "e", "old"]);
        self.set(&["offset", &offset.to_string(), "time", &time, "bytes", &bytes, "oldest", &self.field("oldest")]);
    }
}

#[test]
fn an_older_build_goes_on_and_is_gone_on_from() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.packed(), (2, 64));
    // What a pod of the build before reads is there, and of the last event.
    let read = ["offset", "bytes"].map(|field| fixture.field(field));
    assert_eq!(read, ["2".to_owned(), (2 * (7 + 64)).to_string()]);
    for offset in [3, 5, 7] {
        fixture.old_pod_publishes(offset);
        assert_eq!(fixture.packed().0, offset as i64 - 1, "it leaves the field");
        assert_eq!(fixture.offset(&offset.to_string()), offset + 1);
        assert_eq!(fixture.packed(), (offset as i64 + 1, 64));
        assert_bytes(&fixture.server, &fixture.room);
    }
    assert_eq!(fixture.length(), 8);
}

/// A record that a pod of an older build made, and one of a build to come.
#[test]
fn a_record_without_the_field_or_with_another_is_read_as_before() {
    let mut fixture = Fixture::new();
    fixture.server.call(&["HDEL", &key(&fixture.room, "room"), "packed"]);
    assert_eq!(fixture.offset("3"), 3);
    fixture.set(&["packed", &"x".repeat(80)]);
    assert_eq!(fixture.offset("4"), 4);
    assert_eq!(fixture.packed(), (4, 64));
    assert_bytes(&fixture.server, &fixture.room);
    // A base that no pod drew.
    fixture.set(&["base", "short", "packed", ""]);
    assert_eq!((fixture.offset("5"), fixture.offset("6")), (5, 6));
    assert_eq!(fixture.field("packed"), "");
    assert_eq!(fixture.length(), 6);
}

#[test]
fn what_another_server_packed_is_of_the_generation_before() {
    let mut fixture = Fixture::new();
    let packs = "local p = redis.call('HGET', KEYS[1], 'packed') \
                 redis.call('HSET', KEYS[1], 'replid', ARGV[1], 'packed', string.sub(p, 1, 12) .. ARGV[1] .. string.sub(p, 25))";
    let record = key(&fixture.room, "room");
    fixture.server.call(&["EVAL", packs, "1", &record, "aaaaaaaaaaaa"]);
    let before = fixture.field("base");
    assert_eq!(fixture.offset("3"), 3);
    assert_eq!((fixture.field("base"), fixture.field("chain")), (before, "aaaaaaaaaaaa:2".to_owned()));
    assert_eq!((fixture.offset("4"), fixture.packed()), (4, (4, 64)));
    assert_eq!(fixture.field("chain"), "aaaaaaaaaaaa:2");
}

/// An event whose log turns out to be none, after its key and its record were written.
#[test]
fn an_event_that_meets_something_else_on_its_way_is_done_whole() {
    let mut fixture = Fixture::new();
    let log = key(&fixture.room, "log");
    fixture.server.call(&["DEL", &log]);
    fixture.server.call(&["SET", &log, "another program's"]);
    let keyed = |attempt| Words { once: "once:a k".to_owned(), ..words(&room("a"), attempt) };
    let position = fixture.answer(keyed("3"));
    assert!(position.ends_with(" 3"), "{position}");
    assert_eq!(fixture.answer(keyed("4")), position);
    assert_eq!((fixture.length(), fixture.packed()), (1, (3, 64)));
    assert_bytes(&fixture.server, &fixture.room);
    assert_eq!(fixture.offset("5"), 4);
}

/// An event that is refused behind its record leaves neither its key nor its place.
#[test]
fn an_event_that_is_refused_on_its_way_leaves_nothing() {
    let mut fixture = Fixture::new();
    fixture.server.call(&["ACL", "SETUSER", "default", "-xadd"]);
    let keyed = Words { once: "once:a k".to_owned(), ..words(&fixture.room, "3") };
    let refused = fixture.answer(keyed.clone());
    assert!(refused.starts_with('-'), "{refused}");
    assert_eq!((fixture.field("offset"), fixture.packed()), ("2".to_owned(), (2, 64)));
    assert_bytes(&fixture.server, &fixture.room);
    fixture.server.call(&["ACL", "SETUSER", "default", "+xadd"]);
    assert!(fixture.answer(keyed).ends_with(" 3"));
    assert_eq!(fixture.length(), 3);
}

/// A policy may shorten a log by more than one event trims.
#[test]
fn a_log_that_is_to_be_much_shorter_is_trimmed_and_counted() {
    let mut fixture = Fixture::new();
    let of = |first: u32| (first..first + 64).map(|n| words(&room("a"), &n.to_string())).collect::<Vec<_>>();
    for call in 1..7 {
        publish(&mut fixture.link, KIND, &of(call * 100));
    }
    assert_eq!(fixture.length(), 2 + 6 * 64);
    let mut short = KIND;
    short[1] = "20";
    publish(&mut fixture.link, short, &of(1_000));
    assert!((20..=36).contains(&fixture.length()), "{}", fixture.length());
    assert_bytes(&fixture.server, &fixture.room);
    let first = fixture.server.call(&["XRANGE", &key(&fixture.room, "log"), "-", "+", "COUNT", "1"]);
    let id = first.list()[0].list()[0].text().to_owned();
    assert_eq!(id.split('-').nth(1), Some(&*fixture.field("oldest")));
}
