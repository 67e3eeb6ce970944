#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use super::*;
use crate::model::{Member, Payload};

/// Rooms whose messages and answers are the test's, and what they delivered, as text.
struct SubscribedStage {
    rooms: SubscribedRooms,
    seen: Arc<SeenDelivery>,
}

#[derive(Default)]
struct SeenDelivery(Mutex<String>);

impl Deliver for SeenDelivery {
    fn deliver(&self, _: &Room, delivery: Delivery) {
        let mut seen = self.0.lock().unwrap();
        match delivery {
            Delivery::Started(p) => write!(seen, "[{}{}] ", p.epoch, p.offset),
            Delivery::Event { epoch, event } => write!(seen, "{epoch}{} ", event.offset),
            Delivery::Unlogged { publication, .. } => write!(seen, "({}) ", publication.topic),
            Delivery::Signal(signal) => write!(seen, "<{}> ", signal.topic),
            Delivery::Notice(_) => write!(seen, "! "),
            Delivery::Joined(member) => write!(seen, "+{} ", member.connection),
            Delivery::Left(member) => write!(seen, "-{} ", member.connection),
        }
        .unwrap();
    }
}

fn room() -> Room {
    Room::parse("r").unwrap()
}

impl SubscribedStage {
    fn new() -> Self {
        let seen = Arc::new(SeenDelivery::default());
        Self { rooms: SubscribedRooms::new(Arc::clone(&seen) as Arc<dyn Deliver>), seen }
    }

    /// Subscribed, confirmed, and told where the room begins.
    fn live(position: &str) -> Self {
        let bench = Self::new();
        assert!(bench.rooms.subscribe(&room()));
        bench.rooms.confirmed("r");
        bench.answer(position);
        bench.took();
        bench
    }

    fn came(&self, events: &str) {
        for text in events.split(' ') {
            let position = position(text);
            let event = Event {
                offset: position.offset,
                room: None,
                time: 1,
                topic: "t".into(),
                key: None,
                payload: Payload::Binary(bytes::Bytes::new()),
                user: None,
                id: None,
            };
            self.rooms.message("r", ChannelMessage::Event(position.epoch, event));
        }
    }

    /// Answers every question for a position; how many there were.
    fn answer(&self, text: &str) -> usize {
        let wanted = self.rooms.wanted();
        for (room, ticket) in &wanted {
            self.rooms.position(room, *ticket, position(text));
        }
        wanted.len()
    }

    fn took(&self) -> String {
        std::mem::take(&mut *self.seen.0.lock().unwrap()).trim_end().to_owned()
    }
}

/// `x7` is offset 7 of epoch x.
fn position(text: &str) -> Position {
    Position::new(Epoch::new(&text[..1]), text[1..].parse().unwrap())
}

#[test]
fn a_room_begins_where_it_stood_after_its_subscription() {
    let bench = SubscribedStage::new();
    assert!(bench.rooms.subscribe(&room()));
    assert_eq!(bench.answer("x1"), 0, "asked before the subscription stood");
    bench.rooms.confirmed("r");
    bench.came("x3 x4 x5 x6");
    bench.rooms.message("r", ChannelMessage::Joined(Member { connection: "c".into(), user: None }));
    assert_eq!((bench.took(), bench.answer("x4")), (String::new(), 1));
    assert_eq!(bench.took(), "[x4] x5 x6");
    bench.came("x6 x7");
    bench.rooms.message("r", ChannelMessage::Joined(Member { connection: "c".into(), user: None }));
    assert_eq!(bench.took(), "x7 +c", "what came twice is delivered once");
}

#[test]
fn it_is_asked_at_once_where_a_room_that_was_forgotten_stands() {
    let bench = SubscribedStage::new();
    bench.rooms.subscribe(&room());
    bench.rooms.confirmed("r");
    // Before its position has come: what is on its way may be the one of before.
    bench.rooms.message("r", ChannelMessage::Forgotten);
    assert_eq!(bench.answer("x4"), 1);
    assert_eq!(bench.took(), "[x4]");
    bench.rooms.message("r", ChannelMessage::Forgotten);
    assert_eq!((bench.answer("y0"), bench.took()), (1, "[y0]".to_owned()));
    bench.rooms.unsubscribe(&room());
    bench.rooms.message("r", ChannelMessage::Forgotten);
    assert_eq!(bench.answer("y0"), 0);
}

#[test]
fn what_came_before_a_new_generation_began_is_covered_by_its_position() {
    let bench = SubscribedStage::new();
    bench.rooms.subscribe(&room());
    bench.rooms.confirmed("r");
    bench.came("x8 x9 y9 y10 y11");
    bench.answer("y10");
    assert_eq!(bench.took(), "[y10] y11");
    let bench = SubscribedStage::new();
    bench.rooms.subscribe(&room());
    bench.rooms.confirmed("r");
    bench.came("y9 y10");
    bench.answer("x8");
    assert_eq!(bench.took(), "[x8] y9 y10");
}

#[test]
fn a_renewed_subscription_starts_again() {
    let bench = SubscribedStage::live("x5");
    bench.rooms.confirmed("r");
    bench.came("x8");
    assert_eq!(bench.answer("x8"), 1);
    assert_eq!(bench.took(), "x8 [x8]", "the hole before 8 is the hub's to fill");
    bench.rooms.confirmed("r");
    bench.answer("x11");
    bench.came("x9 x12");
    assert_eq!(bench.took(), "[x11] x12");
    // The answer is older than what came since it was given.
    bench.rooms.confirmed("r");
    bench.came("x13");
    bench.answer("x12");
    assert_eq!(bench.took(), "x13 [x13]");
}

#[test]
fn only_the_newest_question_is_answered() {
    let bench = SubscribedStage::live("x5");
    bench.rooms.confirmed("r");
    let old = bench.rooms.wanted();
    assert!(!bench.rooms.subscribe(&room()));
    for (room, ticket) in &old {
        bench.rooms.position(room, *ticket, position("x6"));
    }
    assert_eq!(bench.took(), "");
    bench.rooms.ask_again(old);
    assert_eq!((bench.answer("x7"), bench.took()), (1, "[x7]".to_owned()));
}

#[test]
fn nothing_comes_of_a_room_that_was_left_and_it_lingers() {
    let bench = SubscribedStage::live("x5");
    bench.rooms.confirmed("r");
    bench.rooms.unsubscribe(&room());
    bench.came("x6");
    bench.rooms.confirmed("r");
    assert_eq!((bench.answer("x6"), bench.took()), (0, String::new()));
    // Back in time: the subscription still stands.
    assert!(!bench.rooms.subscribe(&room()));
    bench.came("x7");
    assert_eq!((bench.answer("x6"), bench.took()), (1, "[x6] x7".to_owned()));
    bench.rooms.unsubscribe(&room());
    let partition = Partition::of(&room());
    bench.rooms.forget(partition, Instant::now(), |_| panic!("too early"));
    let gone = std::cell::Cell::new(false);
    bench.rooms.forget(partition, Instant::now() + LINGER, |_| gone.set(true));
    assert!(gone.get() && bench.rooms.all().is_empty());
    assert!(bench.rooms.subscribe(&room()));
}

#[test]
fn events_that_do_not_fit_are_asked_for() {
    let bench = SubscribedStage::new();
    bench.rooms.subscribe(&room());
    bench.rooms.confirmed("r");
    let many: Vec<String> = (1..=MAX_AHEAD + 5).map(|n| format!("x{n}")).collect();
    bench.came(&many.join(" "));
    assert_eq!(bench.answer("x0"), 1);
    assert!(bench.took().ends_with(&format!("x{MAX_AHEAD}")));
    let end = format!("x{}", MAX_AHEAD + 5);
    assert_eq!((bench.answer(&end), bench.took()), (1, format!("[{end}]")));
}

#[test]
fn a_room_is_behind_when_its_log_is_ahead_or_another_one() {
    let bench = SubscribedStage::live("x5");
    for (log, behind) in [("x4", false), ("x5", false), ("x6", true), ("y5", true), ("y1", true)] {
        assert_eq!(bench.rooms.is_behind(&room(), &position(log)), behind, "{log}");
    }
    bench.rooms.renew(&room());
    assert_eq!((bench.answer("x6"), bench.took()), (1, "[x6]".to_owned()));
}
