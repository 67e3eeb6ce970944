//! What the rooms of all masters notice when one master is killed.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::scenario::member::{Member, Notes, Seen, until};
use crate::{
    clock,
    content::{Recipe, Stamp},
    error::BenchError,
    pod::Pod,
    publisher::Publisher,
    scenario::servers::{MASTERS, Servers},
    stats::milliseconds,
};

/// Rooms of each master.
const ROOMS_EACH: usize = 2;
/// From one event of a room to its next, if the answer comes in time.
const EVERY: Duration = Duration::from_millis(10);
/// How long it goes well before the kill, and after the dead master's rooms have come back.
const WELL: Duration = Duration::from_secs(2);
/// How many seconds a failover may take.
const FAILOVER: u64 = 60;
/// What comes later than this after the kill was not on its way before.
const IN_FLIGHT: u64 = 500_000_000;

#[derive(Debug, Serialize)]
pub(super) struct Kill {
    rooms_per_master: usize,
    /// Longest time between two deliveries of a room to a member, before the kill: what the machine does by itself.
    pub(super) before_gap_ms: f64,
    /// The same across and after the kill, rooms of the other masters.
    pub(super) others_gap_ms: f64,
    /// Rooms of the dead master: from the last delivery before the kill to the first of its successor.
    pub(super) dead_silence_ms: f64,
    pub(super) others: Counts,
    pub(super) dead: Counts,
}

/// Of the rooms of the other masters, or of the dead one.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Answered with a position.
    pub(super) acknowledged: u64,
    /// Answered otherwise.
    pub(super) refused: u64,
    /// To members on two pods.
    pub(super) deliveries: u64,
    /// Acknowledged, then gone with the master, to which replication had not caught up: in no log any more.
    pub(super) lost_by_redis: u64,
    /// How often a `gap` came to a member.
    pub(super) gaps_told: u64,
}

/// What a room's publisher was answered.
#[derive(Debug, Default)]
struct Answers {
    acknowledged: HashSet<u64>,
    refused: u64,
}

/// Publishes steadily through `pods[0]` to rooms of all masters, kills one, and looks on from the others. Needs a
/// `LocalSet`.
pub(super) async fn measure(recipe: Recipe, servers: &Servers, pods: &[Pod]) -> Result<Kill, BenchError> {
    let rooms = rooms(servers)?;
    let Some(&(_, victim)) = rooms.first() else { return Err(BenchError::Protocol("no rooms".to_owned())) };
    let names: Vec<_> = rooms.iter().map(|(room, _)| room.clone()).collect();
    let dead: Vec<_> = rooms.iter().filter(|(_, port)| *port == victim).map(|(room, _)| room.clone()).collect();
    let [publishing, watching @ ..] = pods else { return Err(BenchError::Protocol("no pods".to_owned())) };

    let mut watchers: Vec<Notes> = Vec::new();
    let mut tasks = Vec::new();
    for pod in watching {
        let notes = Rc::new(RefCell::new(Seen::default()));
        tasks.push(Member::connect(pod.plain()?).await?.join(&names, &notes));
        until(&notes, 30, "joining the rooms", |seen| seen.joined >= names.len()).await?;
        watchers.push(notes);
    }
    let stop = Rc::new(Cell::new(false));
    let mut publishers = JoinSet::new();
    for (index, room) in names.iter().enumerate() {
        let publisher = publishing.another_publisher().await?;
        let (room, stop, index) = (room.clone(), Rc::clone(&stop), u32::try_from(index).unwrap_or(0));
        publishers.spawn_local(async move { (room.clone(), publish(publisher, &room, index, recipe, &stop).await) });
    }

    tokio::time::sleep(WELL).await;
    let killed = clock::now();
    servers.kill(victim).await?;
    let back = |seen: &Seen| dead.iter().all(|room| last(seen, room).is_some_and(|at| at > killed + IN_FLIGHT));
    for notes in &watchers {
        until(notes, FAILOVER, "the dead master's rooms coming back", back).await?;
    }
    tokio::time::sleep(WELL).await;
    stop.set(true);
    let mut answers = HashMap::new();
    while let Some(ended) = publishers.join_next().await {
        let (room, answered) = ended.map_err(|e| BenchError::Protocol(format!("a publisher: {e}")))?;
        answers.insert(room, answered);
    }
    // What is still on its way, or being recovered.
    let settled = Instant::now() + Duration::from_secs(5);
    while Instant::now() < settled && watchers.iter().any(|notes| !missing(&notes.borrow(), &answers).is_empty()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tasks.iter().for_each(JoinHandle::abort);
    judge(servers, &watchers, &answers, &dead, killed).await
}

/// Names of rooms, [`ROOMS_EACH`] of each master, with the master's port.
fn rooms(servers: &Servers) -> Result<Vec<(String, u16)>, BenchError> {
    let mut counts: HashMap<u16, usize> = HashMap::new();
    let mut rooms = Vec::new();
    for n in 0..10_000 {
        let room = format!("kill:{n}");
        let port = servers.master_of(&room)?;
        let count = counts.entry(port).or_default();
        if *count < ROOMS_EACH {
            *count += 1;
            rooms.push((room, port));
        }
        if rooms.len() == MASTERS * ROOMS_EACH {
            return Ok(rooms);
        }
    }
    Err(BenchError::Protocol(format!("the rooms do not spread over {MASTERS} masters: {counts:?}")))
}

async fn publish(mut publisher: Publisher, room: &str, index: u32, recipe: Recipe, stop: &Cell<bool>) -> Answers {
    let mut answers = Answers::default();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut n = 0;
    while !stop.get() {
        tick.tick().await;
        match publisher.publish(room, &recipe.data(index, Stamp { n, t: clock::now() })).await {
            Ok(_) => {
                answers.acknowledged.insert(n);
            }
            Err(_) => answers.refused += 1,
        }
        n += 1;
    }
    answers
}

/// When a room's last event came.
fn last(seen: &Seen, room: &str) -> Option<u64> {
    seen.events.get(room)?.last().map(|event| event.0)
}

/// What was acknowledged and has not come: room and number.
fn missing(seen: &Seen, answers: &HashMap<String, Answers>) -> Vec<(String, u64)> {
    let mut missing = Vec::new();
    for (room, answers) in answers {
        let came: HashSet<u64> = seen.events.get(room).into_iter().flatten().map(|event| event.1).collect();
        missing.extend(answers.acknowledged.difference(&came).map(|n| (room.clone(), *n)));
    }
    missing
}

async fn judge(
    servers: &Servers,
    watchers: &[Notes],
    answers: &HashMap<String, Answers>,
    dead: &[String],
    killed: u64,
) -> Result<Kill, BenchError> {
    let mut kill = Kill {
        rooms_per_master: ROOMS_EACH,
        before_gap_ms: 0.0,
        others_gap_ms: 0.0,
        dead_silence_ms: 0.0,
        others: Counts::default(),
        dead: Counts::default(),
    };
    let is_dead = |room: &String| dead.contains(room);
    for (room, answers) in answers {
        let counts = if is_dead(room) { &mut kill.dead } else { &mut kill.others };
        counts.acknowledged += answers.acknowledged.len() as u64;
        counts.refused += answers.refused;
    }
    let mut gone = HashSet::new();
    for notes in watchers {
        let seen = notes.borrow();
        seen.check()?;
        for room in &seen.gaps {
            let counts = if is_dead(room) { &mut kill.dead } else { &mut kill.others };
            counts.gaps_told += 1;
        }
        for (room, events) in &seen.events {
            if let Some(pair) = events.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
                let what = format!("a member of {room} got event {} after event {}", pair[1].1, pair[0].1);
                return Err(BenchError::Faults(what));
            }
            let (before, after) = gaps(events, killed);
            kill.before_gap_ms = kill.before_gap_ms.max(before);
            let counts = if is_dead(room) {
                kill.dead_silence_ms = kill.dead_silence_ms.max(after);
                &mut kill.dead
            } else {
                kill.others_gap_ms = kill.others_gap_ms.max(after);
                &mut kill.others
            };
            counts.deliveries += events.len() as u64;
        }
        gone.extend(missing(&seen, answers));
    }
    for (room, n) in &gone {
        // The log still holds what was not replicated too late: a room gets fewer events here than a log keeps.
        let held = servers.log(room).await?.iter().any(|event| event.contains(&format!(r#"{{"n":{n},"#)));
        if held || !is_dead(room) {
            let what = format!("event {n} of {room} was acknowledged and did not come to all ({} such)", gone.len());
            return Err(BenchError::Faults(what));
        }
        kill.dead.lost_by_redis += 1;
    }
    Ok(kill)
}

/// The longest times between events, in milliseconds: of pairs that ended before `killed`, and of the others.
fn gaps(events: &[(u64, u64)], killed: u64) -> (f64, f64) {
    let mut longest = (0, 0);
    for pair in events.windows(2) {
        let gap = pair[1].0.saturating_sub(pair[0].0);
        let side = if pair[1].0 <= killed { &mut longest.0 } else { &mut longest.1 };
        *side = gap.max(*side);
    }
    (milliseconds(longest.0), milliseconds(longest.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_before_and_across_the_kill() {
        let events = [(0, 0), (10_000_000, 1), (15_000_000, 2), (45_000_000, 3), (46_000_000, 4)];
        assert_eq!(gaps(&events, 20_000_000), (10.0, 30.0));
        assert_eq!(gaps(&[], 5), (0.0, 0.0));
    }

    #[test]
    fn what_was_acknowledged_and_has_not_come_is_missing() {
        let mut seen = Seen::default();
        seen.events.insert("a".to_owned(), vec![(1, 0), (2, 2)]);
        let answers = Answers { acknowledged: [0, 1, 2].into(), refused: 1 };
        assert_eq!(missing(&seen, &[("a".to_owned(), answers)].into()), [("a".to_owned(), 1)]);
    }
}
