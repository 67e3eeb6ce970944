#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::Member;

const EVERY: u64 = 2_000;

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

fn signal(user: &str, connection: &str, topic: &str, act: SignalAct) -> Signal {
    let sender = Member { connection: connection.into(), user: Some(user.into()) };
    Signal { topic: topic.into(), sender, data: None, act }
}

/// What the members are told: the sender's connection, the topic, the time to live.
fn told(notice: SignalNotice) -> String {
    format!("{} {} {}", notice.sender.connection, notice.topic, notice.ttl_ms)
}

struct Bench {
    board: SignalBoard,
    policy: Policy,
}

impl Bench {
    fn new() -> Self {
        Self { board: SignalBoard::default(), policy: Policy::default() }
    }

    fn take(&mut self, signal: Signal, now_ms: u64) -> Result<String, UntoldSignal> {
        self.board.take(&room("r"), signal, &self.policy, now_ms, now_ms).map(told)
    }

    fn ended(&mut self, now_ms: u64) -> Vec<String> {
        std::iter::from_fn(|| self.board.end_next(now_ms, now_ms)).map(told).collect()
    }
}

#[test]
fn a_signal_ends_by_itself_once() {
    let mut bench = Bench::new();
    let shown = bench.take(signal("ann", "1", "typing", SignalAct::Show(5_000)), 100);
    assert_eq!(shown, Ok("1 typing 5000".to_owned()));
    assert_eq!(bench.board.next_due(), Some(5_100));
    assert!(bench.ended(5_099).is_empty());
    assert_eq!(bench.ended(5_100), ["1 typing 0"]);
    assert!(bench.ended(100_000).is_empty() && bench.board.next_due().is_none());
    assert!(bench.board.shown.is_empty());
}

#[test]
fn a_newer_one_takes_its_place_on_whatever_connection() {
    let mut bench = Bench::new();
    bench.take(signal("ann", "1", "typing", SignalAct::Show(5_000)), 0).unwrap();
    let soon = signal("ann", "2", "typing", SignalAct::Show(5_000));
    assert_eq!(bench.take(soon.clone(), 1_000), Err(UntoldSignal::Thinned));
    assert_eq!(bench.take(soon, 1_999), Ok("2 typing 5000".to_owned()), "a little sooner than another pod let it go");
    assert!(bench.ended(6_000).is_empty(), "the first one is no more");
    // The connection of the first one leaves: the newer one goes on.
    assert_eq!(bench.take(signal("ann", "1", "typing", SignalAct::Leave), 6_100), Err(UntoldSignal::Thinned));
    assert_eq!(bench.take(signal("ann", "2", "typing", SignalAct::Leave), 6_200), Ok("2 typing 0".to_owned()));
    assert!(bench.ended(60_000).is_empty());
}

#[test]
fn a_stop_is_never_thinned_and_ends_something() {
    let mut bench = Bench::new();
    let stop = || signal("ann", "2", "typing", SignalAct::Stop);
    assert_eq!(bench.take(stop(), 0), Err(UntoldSignal::Thinned));
    bench.take(signal("ann", "1", "typing", SignalAct::Show(5_000)), 0).unwrap();
    assert_eq!(bench.take(stop(), 1), Ok("2 typing 0".to_owned()), "by whatever device of the user");
    assert_eq!(bench.take(stop(), 2), Err(UntoldSignal::Thinned));
    assert_eq!(bench.take(signal("ann", "1", "typing", SignalAct::Show(5_000)), 3), Err(UntoldSignal::Thinned));
    assert!(bench.ended(10_000).is_empty() && bench.board.shown.is_empty());
}

#[test]
fn users_topics_and_those_without_a_user_are_apart() {
    let mut bench = Bench::new();
    let nameless = Member { connection: "ann".into(), user: None };
    for signal in [
        signal("ann", "1", "typing", SignalAct::Show(1_000)),
        signal("ann", "1", "recording", SignalAct::Show(2_000)),
        signal("bob", "2", "typing", SignalAct::Show(3_000)),
        Signal { topic: "typing".into(), sender: nameless, data: None, act: SignalAct::Show(4_000) },
    ] {
        bench.take(signal, 0).unwrap();
    }
    assert_eq!(bench.ended(4_000), ["1 typing 0", "1 recording 0", "2 typing 0", "ann typing 0"]);
}

#[test]
fn a_room_is_told_of_so_many_a_second_and_of_each_end() {
    let mut bench = Bench::new();
    bench.policy.signals_per_second = 10;
    let mut shown = 0;
    for n in 0..3_000_u64 {
        let user = format!("u{n}");
        shown += usize::from(bench.take(signal(&user, &user, "typing", SignalAct::Show(1_000)), n).is_ok());
    }
    assert!((45..=51).contains(&shown), "20 at once and 10 a second: {shown}");
    assert_eq!(bench.ended(60_000).len(), shown);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut bench = Bench::new();
    bench.policy.signals_per_second = 100_000;
    for n in 0..SignalBoard::MAX {
        bench.take(signal(&n.to_string(), "c", "t", SignalAct::Show(5_000)), 0).unwrap();
    }
    let more = || signal("more", "c", "t", SignalAct::Show(5_000));
    assert_eq!(bench.take(more(), 4_999), Err(UntoldSignal::Limited));
    assert!(bench.take(signal("0", "c", "t", SignalAct::Show(5_000)), 4_999).is_ok(), "one that is shown may go on");
    assert_eq!(bench.ended(5_000).len(), SignalBoard::MAX - 1);
    assert!(bench.take(more(), 5_000).is_ok());
    bench.board.forget(&room("r"));
    assert!(bench.board.rates.is_empty());
}

proptest! {
    /// Against the plainest of models: what a member has seen begin and not end is what is shown.
    #[test]
    fn what_members_see_begins_and_ends(
        steps in prop::collection::vec((0u64..1_500, 0usize..2, 0usize..2, 0u8..4, 1u32..9_000), 1..200)
    ) {
        let (mut bench, mut now) = (Bench::new(), 0);
        let mut seen: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        let users = ["ann", "bob"];
        for (pause, user, connection, act, ttl) in steps {
            now += pause;
            for ended in bench.ended(now) {
                let user: usize = ended[..1].parse().unwrap();
                let (_, until) = seen.remove(&user).expect("it was shown");
                prop_assert!(until <= now);
            }
            prop_assert!(seen.values().all(|(_, until)| *until > now), "one is late");
            let act = [SignalAct::Show(ttl), SignalAct::Show(ttl), SignalAct::Stop, SignalAct::Leave][usize::from(act)];
            let passes = bench.take(signal(users[user], &format!("{user}{connection}"), "t", act), now).is_ok();
            match act {
                SignalAct::Show(ttl) => {
                    prop_assert_eq!(passes, last.get(&user).is_none_or(|last| now - last >= EVERY * 3 / 4));
                    if passes {
                        last.insert(user, now);
                        seen.insert(user, (connection, now + u64::from(ttl)));
                    }
                }
                SignalAct::Stop => prop_assert_eq!(passes, seen.remove(&user).is_some()),
                SignalAct::Leave => {
                    let own = seen.get(&user).is_some_and(|(by, _)| *by == connection);
                    prop_assert_eq!(passes, own);
                    if own { seen.remove(&user); }
                }
            }
        }
        bench.ended(u64::MAX);
        prop_assert!(bench.board.shown.is_empty() && bench.board.due.is_empty());
    }
}
