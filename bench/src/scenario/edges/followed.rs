//! An edge that follows many rooms beside a pod of the home's fleet that has as many: what each costs, in turns.
//!
//! Always holds: both have rooms of their own, which are new to the fleet, and the same events at the same rate come to them through the same
//! pod of the home. No ocean lies between: what is compared is the work, not the way.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::{task::JoinHandle, time::sleep};

use super::{posts::Posts, tree::Ground};
use crate::{
    clock,
    content::{Recipe, Stamp},
    error::BenchError,
    pod::Pod,
    process::Process,
    report::{spread, thousands},
    scenario::{
        member::{Member, Notes, Seen, until},
        progress::bar,
        schedule::Schedule,
        servers::Servers,
    },
    stats::Spread,
};

/// How many rooms one connection joins, with one command.
const ROOMS_EACH: usize = 100;
/// Rooms that each pod has before anything is measured, so that what a first room costs is no figure.
const WARM: usize = 20;
/// How many seconds joining, or the last event, may take.
const PATIENCE: u64 = 120;
/// After this a pod has given back what it needed only to join.
const SETTLED: Duration = Duration::from_secs(2);
/// The edge and the pod beside it receive in turns, so many times each.
const TURNS: usize = 3;
/// Publishes under way at one time, about.
const UNDER_WAY: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many rooms each has.
    pub(super) rooms: usize,
    /// Events a second, over all rooms.
    pub(super) rate: f64,
    /// How long each turn takes.
    pub(super) seconds: f64,
    /// How events are made.
    pub(super) recipe: Recipe,
}

/// The edge, the pod beside it, and the one over the other.
#[derive(Debug, Serialize)]
pub(super) struct Followed {
    rooms: usize,
    rate: f64,
    seconds: f64,
    edge: Cost,
    beside: Cost,
    ratio: Ratio,
    /// CPU of the pod that is published through, in turns of the edge, over that in turns of the pod beside: what an edge costs its home.
    home_cpu_ratio: Spread,
    /// What it has more then, over the events.
    link_cpu_us_an_event: Spread,
}

/// What rooms cost a pod.
#[derive(Debug, Serialize)]
struct Cost {
    /// From the first command until the last room is joined.
    join_seconds: f64,
    /// CPU of the pod until then, in seconds.
    join_cpu_seconds: f64,
    /// Memory that is its own, before any event.
    bytes_a_room: f64,
    /// The same when all turns are over: at an edge the newest events of rooms are among it.
    bytes_a_room_then: f64,
    /// Of a core, in each turn.
    cpu: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Ratio {
    join_seconds: f64,
    join_cpu: f64,
    bytes_a_room: f64,
    bytes_a_room_then: f64,
    cpu: Spread,
}

/// A pod whose rooms have a member each.
struct Side<'a> {
    pod: &'a Pod,
    process: Process,
    names: Vec<String>,
    notes: Notes,
    members: Vec<JoinHandle<()>>,
    /// Anonymous memory before the rooms.
    before: u64,
    cost: Cost,
}

/// What one turn took.
struct Turn {
    /// Of a core.
    cpu: f64,
    home_cpu: f64,
}

/// Starts a home, an edge and a pod beside it, and lets them take turns. Needs a `LocalSet`.
pub(super) async fn measure(plan: &Plan, ground: &Ground) -> Result<Followed, BenchError> {
    let schedule = Schedule::new(plan.rate, plan.seconds)?;
    let servers = Servers::start_one().await?;
    let mut home = ground.home("followed-home", &servers).await?;
    let mut beside = ground.pod("followed-beside", &[("--redis", servers.url())]).await?;
    let mut edge = ground.edge("followed-edge", &[home.relay()]).await?;
    let measured = {
        let pods = [&home.pod, &edge.pod, &beside.pod];
        turns(plan, schedule, pods).await
    };
    measured.map_err(|error| {
        [&mut home, &mut edge, &mut beside].into_iter().fold(error, |error, placed| placed.pod.explain(error))
    })
}

async fn turns(plan: &Plan, schedule: Schedule, [home, edge, beside]: [&Pod; 3]) -> Result<Followed, BenchError> {
    let progress = bar("rooms", plan.rooms as u64);
    let home_process = home.process()?;
    let mut beside = Side::join(beside, "beside", plan.rooms, &progress).await?;
    let mut edge = Side::join(edge, "edge", plan.rooms, &progress).await?;
    let (mut ratios, mut home_ratios, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        progress.set_message("in turns");
        // Where the machine tires, each is first as often as it is second, or nearly.
        let order = if turn % 2 == 0 { [true, false] } else { [false, true] };
        let (mut of_edge, mut of_beside) = (None, None);
        for is_edge in order {
            let (side, told) = if is_edge { (&mut edge, &mut of_edge) } else { (&mut beside, &mut of_beside) };
            *told = Some(side.receive(plan, schedule, home, home_process, &progress).await?);
        }
        if let (Some(of_edge), Some(of_beside)) = (of_edge, of_beside) {
            edge.cost.cpu.push(of_edge.cpu);
            beside.cost.cpu.push(of_beside.cpu);
            ratios.push(over(of_edge.cpu, of_beside.cpu));
            home_ratios.push(over(of_edge.home_cpu, of_beside.home_cpu));
            links.push((of_edge.home_cpu - of_beside.home_cpu) * 1e6 / plan.rate);
        }
    }
    progress.finish_and_clear();
    sleep(SETTLED).await;
    let (edge, beside) = (edge.leave()?, beside.leave()?);
    let ratio = Ratio {
        join_seconds: over(edge.join_seconds, beside.join_seconds),
        join_cpu: over(edge.join_cpu_seconds, beside.join_cpu_seconds),
        bytes_a_room: over(edge.bytes_a_room, beside.bytes_a_room),
        bytes_a_room_then: over(edge.bytes_a_room_then, beside.bytes_a_room_then),
        cpu: Spread::of(ratios).unwrap_or_default(),
    };
    let [home_cpu_ratio, link_cpu_us_an_event] = [home_ratios, links].map(|of| Spread::of(of).unwrap_or_default());
    let Plan { rooms, rate, seconds, .. } = *plan;
    Ok(Followed { rooms, rate, seconds, edge, beside, ratio, home_cpu_ratio, link_cpu_us_an_event })
}

impl<'a> Side<'a> {
    /// Has a member join each room of this name, all at once.
    async fn join(pod: &'a Pod, name: &str, rooms: usize, progress: &ProgressBar) -> Result<Self, BenchError> {
        let process = pod.process()?;
        let notes: Notes = Rc::new(RefCell::new(Seen::default()));
        let warm: Vec<_> = (0..WARM).map(|n| format!("warm-{name}:{n}")).collect();
        let mut members = vec![Member::connect(pod.plain()?).await?.join(&warm, &notes)];
        until(&notes, PATIENCE, "joining the first rooms", |seen| seen.joined >= WARM).await?;
        let names: Vec<_> = (0..rooms).map(|n| format!("{name}:{n}")).collect();
        let mut fresh = Vec::new();
        for _ in names.chunks(ROOMS_EACH) {
            fresh.push(Member::connect(pod.plain()?).await?);
        }
        progress.set_message(format!("joining, {name}"));
        sleep(SETTLED).await;
        let (before, cpu, start) = (process.memory()?.anonymous, process.cpu()?, Instant::now());
        members.extend(fresh.into_iter().zip(names.chunks(ROOMS_EACH)).map(|(member, own)| member.join(own, &notes)));
        until(&notes, PATIENCE, "joining the rooms", |seen| seen.joined >= WARM + rooms).await?;
        let (join_seconds, joined) = (start.elapsed().as_secs_f64(), process.cpu()?);
        sleep(SETTLED).await;
        let bytes_a_room = a_room(before, process.memory()?.anonymous, rooms);
        let join_cpu_seconds = joined.saturating_sub(cpu) as f64 / 1e9;
        let cost = Cost { join_seconds, join_cpu_seconds, bytes_a_room, bytes_a_room_then: 0.0, cpu: Vec::new() };
        Ok(Self { pod, process, names, notes, members, before, cost })
    }

    /// Events come to its rooms in turn, published through the home; fails unless each came once, and nothing else.
    async fn receive(
        &mut self,
        plan: &Plan,
        schedule: Schedule,
        home: &Pod,
        home_process: Process,
        progress: &ProgressBar,
    ) -> Result<Turn, BenchError> {
        let rooms = self.names.len() as u64;
        progress.set_length(schedule.events());
        progress.set_position(0);
        self.notes.borrow_mut().events.clear();
        let mut posts = Posts::open(home, UNDER_WAY).await?;
        let (began, cpu, home_cpu) = (Instant::now(), self.process.cpu()?, home_process.cpu()?);
        schedule
            .keep(progress, async |n| {
                let number = u32::try_from(n % rooms).unwrap_or(0);
                let name = self.names[number as usize].clone();
                posts.post(number, name, plan.recipe.data(number, Stamp { n, t: clock::now() }));
                Ok(())
            })
            .await?;
        // An answer that is no success is an error here.
        posts.ends().await?;
        let all = usize::try_from(schedule.events()).unwrap_or(usize::MAX);
        let came = |seen: &Seen| seen.events.values().map(Vec::len).sum::<usize>();
        until(&self.notes, PATIENCE, "the last events", |seen| came(seen) >= all).await?;
        let seconds = began.elapsed().as_secs_f64();
        let of_a_core = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1e9 / seconds;
        let turn =
            Turn { cpu: of_a_core(self.process.cpu()?, cpu), home_cpu: of_a_core(home_process.cpu()?, home_cpu) };
        let seen = self.notes.borrow();
        seen.check()?;
        let wrong = self.names.iter().enumerate().find(|(number, name)| {
            // Publishes that are under way together may change places on their way to the log.
            let mut numbers: Vec<_> = seen.events.get(*name).into_iter().flatten().map(|(_, n)| *n).collect();
            numbers.sort_unstable();
            !numbers.into_iter().eq(due(*number as u64, rooms, schedule.events()))
        });
        if wrong.is_some() || !seen.gaps.is_empty() {
            let (what, gaps) = (wrong.map_or("no room", |(_, name)| name), seen.gaps.len());
            let pod = self.pod.internal();
            return Err(BenchError::Faults(format!("pod {pod}: {what} got other events than its own ({gaps} gaps)")));
        }
        Ok(turn)
    }

    /// What it cost in the end.
    fn leave(self) -> Result<Cost, BenchError> {
        self.members.iter().for_each(JoinHandle::abort);
        let bytes_a_room_then = a_room(self.before, self.process.memory()?.anonymous, self.names.len());
        Ok(Cost { bytes_a_room_then, ..self.cost })
    }
}

/// The numbers of the events that a room is due, if they go to all rooms in turn.
fn due(room: u64, rooms: u64, events: u64) -> impl Iterator<Item = u64> {
    let step = usize::try_from(rooms).unwrap_or(usize::MAX).max(1);
    (room..events).step_by(step)
}

fn a_room(before: u64, now: u64, rooms: usize) -> f64 {
    now.saturating_sub(before) as f64 / rooms.max(1) as f64
}

/// A ratio; 0 where there is nothing to compare with.
fn over(one: f64, other: f64) -> f64 {
    if other > 0.0 { one / other } else { 0.0 }
}

impl Followed {
    /// As lines of a table: what, and what was measured.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let Self { rooms, rate, edge, beside, ratio, home_cpu_ratio, link_cpu_us_an_event, .. } = self;
        let pair = |edge: f64, beside: f64, ratio: f64, digits: usize| {
            format!("{edge:.digits$} and {beside:.digits$}: **{ratio:.2}**")
        };
        let rooms = thousands(*rooms as u64);
        let cpu = |cost: &Cost| Spread::of(cost.cpu.iter().map(|cpu| cpu * 100.0)).unwrap_or_default().median;
        vec![
            (
                format!("{rooms} rooms joined at an edge and at a pod on Redis, s"),
                pair(edge.join_seconds, beside.join_seconds, ratio.join_seconds, 2),
            ),
            ("their CPU for it, s".to_owned(), pair(edge.join_cpu_seconds, beside.join_cpu_seconds, ratio.join_cpu, 2)),
            (
                "memory a room, one member each, B".to_owned(),
                pair(edge.bytes_a_room, beside.bytes_a_room, ratio.bytes_a_room, 0),
            ),
            (
                "the same after the events, B".to_owned(),
                pair(edge.bytes_a_room_then, beside.bytes_a_room_then, ratio.bytes_a_room_then, 0),
            ),
            (
                format!("CPU at {rate} events/s, % of a core"),
                format!("{:.1} and {:.1}: **{}**", cpu(edge), cpu(beside), spread(&ratio.cpu, 2)),
            ),
            ("CPU of the home's pod with the edge, over that without".to_owned(), spread(home_cpu_ratio, 2)),
            ("what a link costs it, us an event".to_owned(), spread(link_cpu_us_an_event, 1)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_is_due_its_share() {
        let of = |room| due(room, 3, 8).collect::<Vec<_>>();
        assert_eq!((of(0), of(1), of(2)), (vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]));
        assert_eq!(due(5, 10, 4).count(), 0);
    }

    #[test]
    fn memory_and_ratios_are_of_what_was_added() {
        assert!((a_room(1_000, 21_000, 10) - 2_000.0).abs() < 1e-9);
        assert!(a_room(1_000, 900, 10).abs() < 1e-9, "a pod that gave memory back");
        assert!((over(3.0, 2.0) - 1.5).abs() < 1e-9);
        assert!(over(3.0, 0.0).abs() < 1e-9);
    }

    #[test]
    fn rows_say_both_and_their_ratio() {
        let cost = |of: f64| Cost {
            join_seconds: of,
            join_cpu_seconds: of,
            bytes_a_room: of * 100.0,
            bytes_a_room_then: of * 100.0,
            cpu: vec![of / 10.0; TURNS],
        };
        let ratio = Ratio {
            join_seconds: 2.0,
            join_cpu: 2.0,
            bytes_a_room: 2.0,
            bytes_a_room_then: 2.0,
            cpu: Spread { median: 2.0, min: 1.9, max: 2.1 },
        };
        let followed = Followed {
            rooms: 10_000,
            rate: 1_000.0,
            seconds: 5.0,
            edge: cost(2.0),
            beside: cost(1.0),
            ratio,
            home_cpu_ratio: Spread { median: 1.2, min: 1.1, max: 1.3 },
            link_cpu_us_an_event: Spread { median: 20.0, min: 10.0, max: 30.0 },
        };
        let rows = followed.rows();
        assert_eq!(rows[0].0, "10,000 rooms joined at an edge and at a pod on Redis, s");
        assert_eq!(rows[0].1, "2.00 and 1.00: **2.00**");
        assert_eq!(rows[2].1, "200 and 100: **2.00**");
        assert_eq!(rows[4].1, "20.0 and 10.0: **2.00 (1.90 to 2.10)**");
    }
}
