//! What was published against what each client saw, looked at afterwards.
//!
//! Never takes part in a run. Words: an event is **acknowledged** when its publish was answered with success; **lost** when
//! it is acknowledged, stands in the room's log at the end, and a client that should have seen it neither did nor was
//! told; **rolled back** when it is acknowledged and Redis itself no longer has it (a failover to a replica that lacked
//! it), which is counted apart. A client is told by `gap`, by `recovered: false`, or by a close that it does not come
//! back from.

use std::collections::{BTreeMap, HashMap, HashSet};

/// An event's own name, given by its publisher.
pub type Id = String;
/// A room's name.
pub type Room = String;

/// A publish that was answered with success.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub room: Room,
    pub id: Id,
    pub epoch: String,
    pub offset: u64,
}

/// What a client saw of one room, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It is in the room, and continues from here.
    Subscribed { epoch: String, offset: u64, recovered: bool, asked: bool },
    /// Events, each with its offset.
    Events { epoch: String, after: u64, offset: u64, events: Vec<(u64, Id)> },
    /// Events that will not come.
    Gap { epoch: String, offset: u64 },
}

/// Everything that is known after a run.
#[derive(Debug, Default)]
pub struct Run {
    pub acknowledged: Vec<Acknowledged>,
    /// Each room's log at the end, in order.
    pub logs: HashMap<Room, Vec<(u64, Id)>>,
    /// By client, by room.
    pub clients: Vec<BTreeMap<Room, Vec<Seen>>>,
}

/// The verdict. All but the last three must be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged, in the log, not seen, not told.
    pub lost: Vec<String>,
    /// Seen twice by a client that keeps its position.
    pub duplicated: Vec<String>,
    /// Seen in another order than the log's.
    pub reordered: Vec<String>,
    /// `after` is not where the client stood, and no gap came between.
    pub silent_gaps: Vec<String>,
    /// Rooms in which a client saw nothing at all of what was published after it had joined, and was told nothing.
    pub deaf: Vec<String>,
    /// One publish that became two events.
    pub doubled: Vec<String>,
    /// Acknowledged at another position than the event's.
    pub misplaced: Vec<String>,
    /// Acknowledged, and no longer in the log: what the store itself lost.
    pub rolled_back: usize,
    /// Events that came again below the client's position, and were put aside by it.
    pub raw_duplicates: usize,
    /// Deliveries looked at.
    pub deliveries: usize,
    /// Times that a client was told of a gap or of a failed recovery.
    pub told: usize,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.duplicated, &self.reordered, &self.silent_gaps, &self.deaf, &self.doubled, &self.misplaced]
            .iter()
            .all(|broken| broken.is_empty())
    }
}

/// Judges a run.
pub fn check(run: &Run) -> Verdict {
    let mut verdict = Verdict::default();
    for (room, log) in &run.logs {
        let mut once = HashSet::new();
        for (offset, id) in log {
            if !once.insert(id) {
                verdict.doubled.push(format!("{room}: {id} stands twice in the log, again at {offset}"));
            }
        }
    }
    let acknowledged: HashSet<(&str, &str)> = run.acknowledged.iter().map(|a| (&*a.room, &*a.id)).collect();
    let places: HashMap<&str, HashMap<&str, usize>> = run
        .logs
        .iter()
        .map(|(room, log)| (&**room, log.iter().enumerate().map(|(place, (_, id))| (&**id, place)).collect()))
        .collect();
    for Acknowledged { room, id, epoch, offset } in &run.acknowledged {
        match places.get(&**room).and_then(|log| log.get(&**id)) {
            None => verdict.rolled_back += 1,
            Some(&place) => {
                let at = run.logs[room][place].0;
                if at != *offset {
                    verdict
                        .misplaced
                        .push(format!("{room}: {id} was acknowledged at {epoch}:{offset}, and is at {at}"));
                }
            }
        }
    }
    for (client, rooms) in run.clients.iter().enumerate() {
        for (room, seen) in rooms {
            let Some(log) = run.logs.get(room) else { continue };
            let follow = Follow { who: format!("client {client}, {room}"), log, places: &places[&**room] };
            follow.check(seen, &mut verdict, |id| acknowledged.contains(&(room, id)));
        }
    }
    verdict
}

/// One client in one room.
struct Follow<'a> {
    who: String,
    log: &'a [(u64, Id)],
    places: &'a HashMap<&'a str, usize>,
}

impl Follow<'_> {
    fn check(&self, seen: &[Seen], verdict: &mut Verdict, acknowledged: impl Fn(&str) -> bool) {
        let who = &self.who;
        let mut position: Option<(&str, u64)> = None;
        let mut ids: HashSet<&str> = HashSet::new();
        // Places in the log of the last event seen, and of the last one before which everything is settled: seen or told.
        let mut last_place: Option<usize> = None;
        let mut owed_from: Option<usize> = None;
        let mut missing: Vec<(usize, &str)> = Vec::new();
        let mut events_seen = 0;
        for step in seen {
            match step {
                Seen::Subscribed { epoch, offset, recovered, asked } => {
                    if !recovered {
                        verdict.told += usize::from(*asked);
                        // Whatever lies before is told of, or was never promised.
                        missing.clear();
                        owed_from = Some(self.place_behind(*offset));
                        last_place = owed_from.and_then(|place| place.checked_sub(1));
                    } else if position.is_some_and(|(_, had)| had != *offset) {
                        verdict.silent_gaps.push(format!("{who}: recovered at {offset}, but stood at {position:?}"));
                    }
                    position = Some((epoch, *offset));
                }
                Seen::Gap { epoch, offset } => {
                    verdict.told += 1;
                    missing.clear();
                    owed_from = Some(self.place_behind(*offset));
                    last_place = owed_from.and_then(|place| place.checked_sub(1)).max(last_place);
                    position = Some((epoch, *offset));
                }
                Seen::Events { epoch, after, offset, events } => {
                    if let Some((had_epoch, had)) = position {
                        if had_epoch == epoch && *offset <= had {
                            verdict.raw_duplicates += events.len();
                            continue;
                        }
                        if had != *after {
                            verdict.silent_gaps.push(format!("{who}: events after {after}, but it stood at {had}"));
                        }
                    }
                    let mut previous = *after;
                    for (at, id) in events {
                        verdict.deliveries += 1;
                        events_seen += 1;
                        if *at <= previous {
                            verdict.reordered.push(format!("{who}: {id} at {at} behind {previous}"));
                        }
                        previous = *at;
                        if !ids.insert(id) {
                            verdict.duplicated.push(format!("{who}: {id} again at {at}"));
                        }
                        // What was rolled back is in no log; the client saw it all the same.
                        let Some(&place) = self.places.get(&**id) else { continue };
                        if last_place.is_some_and(|last| place <= last) {
                            verdict.reordered.push(format!("{who}: {id} at {at} comes late"));
                        }
                        let from = last_place.map_or_else(|| owed_from.unwrap_or(place), |last| last + 1);
                        missing.extend((from..place).map(|p| (p, &*self.log[p].1)));
                        last_place = Some(place);
                    }
                    position = Some((epoch, *offset));
                }
            }
        }
        let Some(owed_from) = owed_from else { return };
        // What came after the last event that was seen is owed as well.
        let from = last_place.map_or(owed_from, |last| last + 1).max(owed_from);
        missing.extend((from..self.log.len()).map(|place| (place, &*self.log[place].1)));
        let lost: Vec<_> = missing
            .into_iter()
            .filter(|(place, id)| *place >= owed_from && !ids.contains(id) && acknowledged(id))
            .collect();
        if events_seen == 0 && lost.len() > 1 {
            verdict.deaf.push(format!("{who}: heard none of {}", lost.len()));
        }
        verdict.lost.extend(lost.into_iter().map(|(place, id)| format!("{who}: {id} at {}", self.log[place].0)));
    }

    /// The place in the log of the first event behind an offset.
    fn place_behind(&self, offset: u64) -> usize {
        self.log.iter().position(|(at, _)| *at > offset).unwrap_or(self.log.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(after: u64, offset: u64, of: std::ops::RangeInclusive<u64>) -> Seen {
        let events = of.map(|n| (n, format!("e{n}"))).collect();
        Seen::Events { epoch: "a".into(), after, offset, events }
    }

    fn subscribed(offset: u64, recovered: bool, asked: bool) -> Seen {
        Seen::Subscribed { epoch: "a".into(), offset, recovered, asked }
    }

    fn judged(seen: Vec<Seen>) -> Verdict {
        let log: Vec<_> = (1..=10).map(|n| (n, format!("e{n}"))).collect();
        let acknowledged = log
            .iter()
            .map(|(offset, id)| Acknowledged { room: "r".into(), id: id.clone(), epoch: "a".into(), offset: *offset })
            .collect();
        let clients = vec![BTreeMap::from([("r".to_owned(), seen)])];
        check(&Run { acknowledged, logs: HashMap::from([("r".to_owned(), log)]), clients })
    }

    #[test]
    fn a_whole_run_is_clean() {
        for seen in [
            vec![subscribed(0, false, false), events(0, 4, 1..=4), events(4, 10, 5..=10)],
            vec![subscribed(6, false, false), events(6, 10, 7..=10)],
            vec![subscribed(10, false, false)],
            // Away and back, with what was missed; a repetition below the position is put aside.
            vec![
                subscribed(0, false, false),
                events(0, 5, 1..=5),
                subscribed(5, true, true),
                events(3, 5, 4..=5),
                events(5, 10, 6..=10),
            ],
            // What was told is not lost.
            vec![
                subscribed(0, false, false),
                events(0, 2, 1..=2),
                Seen::Gap { epoch: "a".into(), offset: 7 },
                events(7, 10, 8..=10),
            ],
            vec![subscribed(0, false, false), events(0, 2, 1..=2), subscribed(9, false, true), events(9, 10, 10..=10)],
        ] {
            let verdict = judged(seen.clone());
            assert!(verdict.is_clean(), "{seen:?}\n{verdict:?}");
        }
    }

    #[test]
    fn conflation_is_not_taken_for_a_loss_only_where_it_is_announced() {
        // The range covers 3, and 3 is not in it: this checker is for rooms that do not conflate.
        let verdict = judged(vec![
            subscribed(0, false, false),
            Seen::Events {
                epoch: "a".into(),
                after: 0,
                offset: 10,
                events: (1..=10).filter(|n| *n != 3).map(|n| (n, format!("e{n}"))).collect(),
            },
        ]);
        assert_eq!(verdict.lost, ["client 0, r: e3 at 3"]);
    }

    #[test]
    fn planted_drops_are_found() {
        // A frame is missing: seen as a hole, and as events lost.
        let verdict = judged(vec![subscribed(0, false, false), events(0, 4, 1..=4), events(6, 10, 7..=10)]);
        assert_eq!(verdict.silent_gaps.len(), 1);
        assert_eq!(verdict.lost, ["client 0, r: e5 at 5", "client 0, r: e6 at 6"]);
        // The last one is missing: it has no successor that would show it.
        let verdict = judged(vec![subscribed(0, false, false), events(0, 9, 1..=9)]);
        assert_eq!(verdict.lost, ["client 0, r: e10 at 10"]);
        // Recovered, it says, and is not.
        let verdict = judged(vec![
            subscribed(0, false, false),
            events(0, 4, 1..=4),
            subscribed(4, true, true),
            events(4, 10, 6..=10),
        ]);
        assert_eq!(verdict.lost, ["client 0, r: e5 at 5"]);
        // Deaf from the start.
        let verdict = judged(vec![subscribed(0, false, false)]);
        assert_eq!((verdict.deaf.len(), verdict.lost.len()), (1, 10));
        // Deaf after a reconnect that claimed a newer position than the client's.
        let verdict = judged(vec![
            subscribed(0, false, false),
            events(0, 4, 1..=4),
            subscribed(6, true, true),
            events(6, 10, 7..=10),
        ]);
        assert_eq!((verdict.silent_gaps.len(), verdict.lost.len()), (1, 2));
    }

    #[test]
    fn planted_duplicates_are_found() {
        let twice = Seen::Events {
            epoch: "a".into(),
            after: 4,
            offset: 10,
            events: [(5, 4), (6, 5), (7, 6), (8, 7), (9, 8), (10, 9)].map(|(at, n)| (at, format!("e{n}"))).to_vec(),
        };
        let verdict = judged(vec![subscribed(0, false, false), events(0, 4, 1..=4), twice]);
        assert_eq!(verdict.duplicated, ["client 0, r: e4 again at 5"]);
        let verdict =
            judged(vec![subscribed(0, false, false), events(0, 4, 1..=4), events(0, 4, 1..=4), events(4, 10, 5..=10)]);
        assert_eq!((verdict.raw_duplicates, verdict.is_clean()), (4, true), "{verdict:?}");
    }

    #[test]
    fn planted_swaps_are_found() {
        let swapped = Seen::Events {
            epoch: "a".into(),
            after: 4,
            offset: 10,
            events: [(5, 6), (6, 5), (7, 7), (8, 8), (9, 9), (10, 10)].map(|(at, n)| (at, format!("e{n}"))).to_vec(),
        };
        let verdict = judged(vec![subscribed(0, false, false), events(0, 4, 1..=4), swapped]);
        assert_eq!(verdict.reordered, ["client 0, r: e5 at 6 comes late"]);
        let backwards = Seen::Events {
            epoch: "a".into(),
            after: 8,
            offset: 10,
            events: vec![(10, "e10".into()), (9, "e9".into())],
        };
        let verdict = judged(vec![subscribed(0, false, false), events(0, 8, 1..=8), backwards]);
        assert_eq!(verdict.reordered.len(), 2, "{verdict:?}");
    }

    #[test]
    fn what_the_store_lost_is_counted_apart() {
        let log: Vec<_> = [(1, "e1"), (2, "e3")].map(|(at, id)| (at, id.to_owned())).to_vec();
        let acknowledged = [("e1", 1), ("e2", 2), ("e3", 2)]
            .map(|(id, offset)| Acknowledged { room: "r".into(), id: id.into(), epoch: "a".into(), offset })
            .to_vec();
        let seen = vec![
            subscribed(0, false, false),
            events(0, 1, 1..=1),
            Seen::Events { epoch: "a".into(), after: 1, offset: 2, events: vec![(2, "e2".into())] },
            Seen::Gap { epoch: "b".into(), offset: 1 },
            Seen::Events { epoch: "b".into(), after: 1, offset: 2, events: vec![(2, "e3".into())] },
        ];
        let clients = vec![BTreeMap::from([("r".to_owned(), seen)])];
        let verdict = check(&Run { acknowledged, logs: HashMap::from([("r".to_owned(), log)]), clients });
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.rolled_back, verdict.told), (1, 1));
    }

    #[test]
    fn an_event_is_where_its_publisher_was_told() {
        let acknowledged = vec![Acknowledged { room: "r".into(), id: "e1".into(), epoch: "a".into(), offset: 2 }];
        let logs = HashMap::from([("r".to_owned(), vec![(1, "e1".to_owned())])]);
        let verdict = check(&Run { acknowledged, logs, ..Run::default() });
        assert_eq!(verdict.misplaced, ["r: e1 was acknowledged at a:2, and is at 1"]);
    }

    #[test]
    fn one_publish_is_one_event() {
        let log = vec![(1, "e1".to_owned()), (2, "e1".to_owned())];
        let run = Run { logs: HashMap::from([("r".to_owned(), log)]), ..Run::default() };
        assert_eq!(check(&run).doubled.len(), 1);
    }
}
