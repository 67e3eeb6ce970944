//! How long joining many rooms takes that are new to the fleet.

use std::{cell::RefCell, rc::Rc, time::Instant};

use serde::Serialize;

use crate::scenario::member::{Member, Notes, Seen, until};
use crate::{
    content::{Recipe, Stamp},
    error::BenchError,
    pod::Pod,
};

/// How many rooms one connection joins, with one command.
const ROOMS_EACH: usize = 100;
/// How many seconds it may take.
const PATIENCE: u64 = 120;

#[derive(Debug, Serialize)]
pub(super) struct Joining {
    pub(super) rooms: usize,
    connections: usize,
    /// From the first command until the last room is joined.
    pub(super) seconds: f64,
    /// How many of the rooms got the event that was published to each through another pod: all, or the run is void.
    pub(super) reached: usize,
}

/// Connections to `pod` join the rooms all at once; then each room gets one event through `other`. Needs a `LocalSet`.
pub(super) async fn measure(rooms: usize, recipe: Recipe, pod: &Pod, other: &mut Pod) -> Result<Joining, BenchError> {
    let names: Vec<_> = (0..rooms).map(|n| format!("join:{n}")).collect();
    let notes: Notes = Rc::new(RefCell::new(Seen::default()));
    let mut members = Vec::new();
    for _ in names.chunks(ROOMS_EACH) {
        members.push(Member::connect(pod.plain()?).await?);
    }
    let connections = members.len();
    let start = Instant::now();
    let tasks: Vec<_> = members.into_iter().zip(names.chunks(ROOMS_EACH)).map(|(m, own)| m.join(own, &notes)).collect();
    until(&notes, PATIENCE, "joining the rooms", |seen| seen.joined >= rooms).await?;
    let seconds = start.elapsed().as_secs_f64();

    for (n, own) in names.chunks(ROOMS_EACH).enumerate() {
        let data = |i: usize| recipe.data(0, Stamp { n: (n * ROOMS_EACH + i) as u64, t: 0 });
        let events: Vec<_> = own.iter().enumerate().map(|(i, room)| (room.as_str(), data(i))).collect();
        other.publisher.broadcast(&events).await?;
    }
    until(&notes, PATIENCE, "an event to each joined room", |seen| seen.events.len() >= rooms).await?;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let seen = notes.borrow();
    seen.check()?;
    let right = |n: usize, room: &String| {
        seen.events.get(room).is_some_and(|events| events.iter().map(|event| event.1).eq([n as u64]))
    };
    let reached = names.iter().enumerate().filter(|(n, room)| right(*n, room)).count();
    if reached != rooms || seen.joined != rooms || !seen.gaps.is_empty() {
        let (joined, gaps) = (seen.joined, seen.gaps.len());
        let what = format!("of {rooms} rooms, {joined} were joined and {reached} got their one event ({gaps} gaps)");
        return Err(BenchError::Faults(what));
    }
    Ok(Joining { rooms, connections, seconds, reached })
}
