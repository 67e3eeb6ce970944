//! The script that publishes, by itself: many rooms in a call, each event whole or not at all, and attempts that are found again.

use testkit::redis::{Link, Reply};

use super::*;

/// How the script's rooms are kept: time to live, size, bytes, age, time to live of a key, values.
pub const KIND: [&str; 6] = ["604800000", "1000", "1048576", "300000", "300000", "0"];

/// An event for the script.
#[derive(Clone)]
pub struct Words {
    pub room: Room,
    pub once: String,
    pub attempt: String,
    pub value: String,
    pub event: String,
}

pub fn words(room: &Room, attempt: &str) -> Words {
    let event = format!("event {attempt}");
    let attempt = format!("{attempt:_<12}");
    Words { room: room.clone(), once: String::new(), attempt, value: String::new(), event }
}

impl Words {
    /// The same, tried for so many milliseconds already.
    pub fn again(&self, millis: u64) -> Self {
        Self { attempt: format!("{}{millis}", &self.attempt[..12]), ..self.clone() }
    }

    fn key(&self, kind: &str) -> String {
        key(&self.room, kind)
    }
}

pub fn key(room: &Room, kind: &str) -> String {
    format!("fleet:{{{}}}:{kind}:{room}", Partition::of(room).tag())
}

/// What servers before Redis 7 are given.
const WITHOUT_FLAGS: &str = concat!(
    include_str!("../../../src/broker/redis/lua/room.lua"),
    include_str!("../../../src/broker/redis/lua/trim.lua"),
    include_str!("../../../src/broker/redis/lua/append.lua"),
    include_str!("../../../src/broker/redis/lua/publish.lua")
);

/// Runs the script as a pod does.
pub fn publish(link: &mut Link, kind: [&str; 6], events: &[Words]) -> Vec<String> {
    if testkit::redis::is_before_7() {
        return run(link, WITHOUT_FLAGS, kind, events);
    }
    run(link, &format!("#!lua flags=allow-cross-slot-keys\n{WITHOUT_FLAGS}"), kind, events)
}

fn run(link: &mut Link, script: &str, kind: [&str; 6], events: &[Words]) -> Vec<String> {
    let mut command: Vec<String> = ["EVAL", script, "0", "0123456789ab", "SPUBLISH", "1"].map(str::to_owned).into();
    command.extend(kind.map(str::to_owned));
    for event in events {
        let Words { room, once, attempt, value, event } = event;
        let place = format!("fleet:{{{}}}:", Partition::of(room).tag());
        let mut more = Vec::new();
        let mut kind = "1".to_owned();
        if !once.is_empty() {
            kind.push('k');
            // With no fingerprint, any content is the same.
            more.extend([once.clone(), String::new()]);
        }
        if !value.is_empty() {
            kind.push('v');
            more.push(value.clone());
        }
        command.extend([place, room.to_string(), kind, attempt.clone(), event.clone()]);
        command.extend(more);
    }
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    link.call(&command).unwrap().ok().list().iter().map(|answer| answer.text().to_owned()).collect()
}

fn link(server: &Node) -> Link {
    server.link().unwrap()
}

fn offset(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[test]
fn an_attempt_is_found_again_or_carried_out_or_not_known() {
    let server = Standalone::start();
    let mut link = link(&server);
    let a = room("a");
    let mut one = |event: Words, kind: [&str; 6]| publish(&mut link, kind, &[event]).remove(0);
    let first = words(&a, "first");
    let position = one(first.clone(), KIND);
    assert_eq!(offset(&position), "1");
    assert_eq!(one(words(&a, "second"), KIND).split(' ').nth(1), Some("2"));
    assert_eq!(one(first.again(50), KIND), position, "found");
    assert_eq!(offset(&one(words(&a, "third").again(50), KIND)), "3", "not found, and the whole log was read");
    // Behind more events than are looked at.
    let many: Vec<Words> = (0..256).map(|n| words(&a, &n.to_string())).collect();
    assert_eq!(offset(publish(&mut link, KIND, &many).last().unwrap()), "259");
    let mut one = |event: Words, kind: [&str; 6]| publish(&mut link, kind, &[event]).remove(0);
    assert_eq!(one(first.again(50), KIND), "?");
    // Nothing was published here since it was sent first.
    let record = key(&a, "room");
    server.call(&["HSET", &record, "time", "1", "packed", ""]);
    assert_eq!(offset(&one(words(&a, "late").again(50), KIND)), "260");
    // A room without a log remembers no attempt.
    let b = room("b");
    let without = ["604800000", "0", "1048576", "300000", "300000", "0"];
    assert_eq!(offset(&one(words(&b, "first"), without)), "1");
    assert_eq!(one(words(&b, "second").again(50), without), "?");
    server.call(&["HSET", &key(&b, "room"), "time", "1", "packed", ""]);
    assert_eq!(offset(&one(words(&b, "second").again(50), without)), "2");
    assert_eq!(server.call(&["EXISTS", &key(&b, "log")]).number(), 0);
    // A new room has had no attempt.
    assert_eq!(offset(&one(words(&room("c"), "x").again(50), KIND)), "1");
}

#[test]
fn an_attempt_of_an_earlier_generation_keeps_its_position() {
    let server = Standalone::start();
    let mut link = link(&server);
    let a = room("a");
    let before = publish(&mut link, KIND, &[words(&a, "1"), words(&a, "2")]);
    // As if another server had taken over.
    server.call(&["HSET", &key(&a, "room"), "replid", "aaaaaaaaaaaa", "packed", ""]);
    let after = publish(&mut link, KIND, &[words(&a, "3"), words(&a, "2").again(50)]);
    assert_eq!(offset(&after[0]), "3");
    let epoch = |answer: &str| answer.split(' ').next().unwrap().to_owned();
    assert_eq!(epoch(&after[0]), epoch(&before[0]), "the server is the same");
    assert_eq!(after[1], format!("{}.aaaaaaaaaaaa 2", epoch(&before[1]).split('.').next().unwrap()));
    assert_eq!(server.call(&["HGET", &key(&a, "room"), "chain"]).text(), "aaaaaaaaaaaa:2");
}

#[test]
fn events_of_one_call_keep_what_those_of_many_keep() {
    let server = Standalone::start();
    let mut link = link(&server);
    let (a, b) = (room("a"), room("b"));
    let once = |event: Words| Words { once: format!("once:{} k", event.room), ..event };
    let events = [words(&a, "1"), words(&b, "2"), once(words(&a, "3")), once(words(&a, "4")), words(&a, "5")];
    let answers = publish(&mut link, KIND, &events);
    assert_eq!(answers.iter().map(|answer| offset(answer)).collect::<Vec<_>>(), ["1", "1", "2", "2", "3"]);
    let record = |room: &Room, field: &str| server.call(&["HGET", &key(room, "room"), field]).text().to_owned();
    assert_eq!((record(&a, "offset"), record(&b, "offset")), ("3".into(), "1".into()));
    assert_bytes(&server, &a);
    // Trimmed by size, by bytes, and by age.
    let many: Vec<Words> = (0..100).map(|n| words(&a, &n.to_string())).collect();
    publish(&mut link, ["604800000", "10", "1048576", "300000", "300000", "0"], &many);
    let length = |room: &Room| server.call(&["XLEN", &key(room, "log")]).number();
    assert!((10..=26).contains(&length(&a)), "{}", length(&a));
    assert_bytes(&server, &a);
    for event in &many {
        publish(&mut link, ["604800000", "1000", "1500", "300000", "300000", "0"], std::slice::from_ref(event));
        assert!(record(&a, "bytes").parse::<u64>().unwrap() <= 1_500);
        assert_bytes(&server, &a);
    }
    assert!(length(&a) >= 15, "{}", length(&a));
    let long_ago = "1-1";
    server.call(&["DEL", &key(&b, "log")]);
    server.call(&["XADD", &key(&b, "log"), long_ago, "e", "old"]);
    server.call(&["HSET", &key(&b, "room"), "oldest", "1", "packed", ""]);
    publish(&mut link, KIND, &[words(&b, "new")]);
    assert_eq!(length(&b), 1);
}

/// What the record says of the log's cost is what it costs.
pub fn assert_bytes(server: &Node, room: &Room) {
    let entries = server.call(&["XRANGE", &key(room, "log"), "-", "+"]);
    let cost = |entry: &Reply| entry.list()[1].list()[1].text().len() as u64 + 64;
    let bytes: u64 = entries.list().iter().map(cost).sum();
    assert_eq!(server.call(&["HGET", &key(room, "room"), "bytes"]).text(), bytes.to_string());
}

/// Keys live for as long as they must after each event, although that is not said again at each.
#[test]
fn times_to_live_are_renewed_in_time() {
    let server = Standalone::start();
    let mut link = link(&server);
    let a = room("a");
    let left = |kind: &str| server.call(&["PTTL", &key(&a, kind)]).number();
    let lasts = |least: i64| {
        for (kind, least) in [("log", least), ("room", 604_000_000)] {
            assert!(left(kind) > least, "{kind}: {} of {least}", left(kind));
        }
    };
    publish(&mut link, KIND, &[words(&a, "1")]);
    lasts(330_000);
    // A longer age counts at once.
    publish(&mut link, ["604800000", "1000", "1048576", "3000000", "300000", "0"], &[words(&a, "2")]);
    lasts(3_300_000);
    // The log ran out, and begins anew.
    server.call(&["DEL", &key(&a, "log")]);
    server.call(&["HSET", &key(&a, "room"), "packed", ""]);
    publish(&mut link, KIND, &[words(&a, "3")]);
    lasts(330_000);
    assert_bytes(&server, &a);
    // A policy may take the log away and give it back.
    publish(&mut link, ["604800000", "0", "1048576", "300000", "300000", "0"], &[words(&a, "4")]);
    assert_eq!(server.call(&["EXISTS", &key(&a, "log")]).number(), 0);
    publish(&mut link, KIND, &[words(&a, "5")]);
    lasts(330_000);
}

/// A script without flags is refused command by command: still each event whole or not at all.
#[test]
fn a_server_that_knows_no_flags_gets_the_script_without_them() {
    let server = Standalone::start();
    let mut link = link(&server);
    let (a, b) = (room("a"), room("b"));
    let answers = run(&mut link, WITHOUT_FLAGS, KIND, &[words(&a, "1"), words(&b, "1"), words(&a, "2")]);
    assert_eq!(answers.iter().map(|answer| offset(answer)).collect::<Vec<_>>(), ["1", "1", "2"]);
    server.call(&["CONFIG", "SET", "maxmemory", "1"]);
    let answers = run(&mut link, WITHOUT_FLAGS, KIND, &[words(&a, "3"), words(&room("c"), "1")]);
    assert!(answers.iter().all(|answer| answer.starts_with('-') && answer.contains("OOM")), "{answers:?}");
    server.call(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server.call(&["EXISTS", &key(&room("c"), "room")]).number(), 0);
    assert_eq!(server.call(&["HGET", &key(&a, "room"), "offset"]).text(), "2");
    assert_bytes(&server, &a);
}

/// A call for rooms of which one is another master's, and of which one is on its way.
#[test]
fn an_event_of_a_slot_that_is_not_here_fails_alone() {
    if testkit::redis::is_before_7() {
        println!("SKIPPED: a cluster needs Redis 7");
        return;
    }
    let cluster = Cluster::start(2, 0);
    let (here, there) = (cluster.masters()[0], cluster.masters()[1]);
    let of = |master: &Node, but: &[&Room]| {
        let slot = |room: &Room| Partition::of(room).slot();
        (0..)
            .map(|n| room(&format!("r:{n}")))
            .find(|room| {
                cluster.owner(slot(room)).port() == master.port() && but.iter().all(|but| slot(but) != slot(room))
            })
            .unwrap()
    };
    let a = of(here, &[]);
    let b = of(here, &[&a]);
    let other = of(there, &[]);
    let mut link = link(here);
    let elsewhere = |answer: &str| answer.starts_with('-') && answer.contains("ttempted to");
    let answers = publish(&mut link, KIND, &[words(&a, "1"), words(&other, "1"), words(&other, "2"), words(&b, "1")]);
    assert!(elsewhere(&answers[1]) && elsewhere(&answers[2]), "{answers:?}");
    assert_eq!((offset(&answers[0]), offset(&answers[3])), ("1", "1"), "{answers:?}");
    // Keys that are still here serve; what is missing is on its way, and so is all that comes after it in its room.
    let slot = Partition::of(&a).slot().to_string();
    let id = |node: &Node| node.call(&["CLUSTER", "MYID"]).text().to_owned();
    there.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(here)]);
    here.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(there)]);
    let keyed = Words { once: format!("once:{a} k"), ..words(&a, "3") };
    let answers = publish(&mut link, KIND, &[words(&a, "2"), keyed, words(&a, "4"), words(&b, "2")]);
    assert!(elsewhere(&answers[1]) && elsewhere(&answers[2]), "{answers:?}");
    assert_eq!((offset(&answers[0]), offset(&answers[3])), ("2", "2"), "{answers:?}");
    here.call(&["MIGRATE", "127.0.0.1", &there.port().to_string(), &key(&a, "log"), "0", "2000"]);
    let answers = publish(&mut link, KIND, &[words(&a, "3"), words(&b, "3")]);
    assert!(elsewhere(&answers[0]) && offset(&answers[1]) == "3", "{answers:?}");
    assert_eq!(here.call(&["HGET", &words(&a, "").key("room"), "offset"]).text(), "2", "nothing was done");
}
