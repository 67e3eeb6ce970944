//! Publishing as fast as it is answered: every peer under every load, and bare Redis, in turns.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    load::{Load, Loads},
    sides::EMBEDDED,
};
use crate::{
    callers::{Request, call},
    content::{Recipe, Stamp},
    error::BenchError,
    peer::{Peer, Publication},
    process::Process,
    scenario::{bare::BareCommand, progress::bar, servers::Servers},
    stats::Spread,
};

/// What is measured beside peers, as reports name it.
pub(super) const XADD: &str = "bare XADD";
pub(super) const SPUBLISH: &str = "bare SPUBLISH";

/// How it is measured.
pub(super) struct Plan {
    pub(super) loads: Loads,
    pub(super) recipe: Recipe,
    pub(super) seconds: f64,
    pub(super) repetitions: u16,
}

/// One round; CPU in microseconds an event.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    pub(super) events: u64,
    pub(super) per_second: f64,
    /// Of all Redis servers, less what they use when nothing is published.
    pub(super) redis_cpu_us: f64,
    /// Of the peer's own process; 0 where there is none.
    pub(super) own_cpu_us: f64,
    /// Entries that were appended over scripts that masters ran; 0 where no script ran.
    pub(super) events_a_call: f64,
}

/// What is measured again and again.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) who: String,
    pub(super) load: Load,
    pub(super) rounds: Vec<Round>,
}

impl Cell {
    pub(super) fn values(&self, figure: impl Fn(&Round) -> f64) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(figure)
    }

    pub(super) fn spread(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.values(figure)).unwrap_or_default()
    }

    /// This over the other, repetition by repetition.
    pub(super) fn over(&self, other: &Self, figure: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(own, other)| figure(own) / figure(other)))
    }
}

/// What acts in a cell.
enum Actor<'a> {
    Peer { peer: &'a dyn Peer, requests: Vec<Request> },
    Bare { command: BareCommand, under_way: usize },
}

/// What Redis uses a second when nothing is published, as a share of one core, and all cells. Fails unless the logs have had exactly the
/// events that were answered. Needs a `LocalSet`.
pub(super) async fn measure(
    plan: &Plan,
    servers: &Servers,
    peers: &[Box<dyn Peer>],
) -> Result<(f64, Vec<Cell>), BenchError> {
    let Plan { loads, recipe, .. } = plan;
    let event =
        |n: u16| Publication { room: format!("load-{n}"), data: recipe.data(n.into(), Stamp { n: n.into(), t: 0 }) };
    let events: Vec<_> = (0..Load::rooms(loads)).map(event).collect();
    let rooms: Vec<_> = events.iter().map(|event| event.room.clone()).collect();
    let (mut actors, mut cells) = (Vec::new(), Vec::new());
    for load in Load::ALL {
        let mut add = |who: &str, actor| {
            cells.push(Cell { who: who.to_owned(), load, rounds: Vec::new() });
            actors.push(actor);
        };
        for peer in peers.iter().map(Box::as_ref) {
            // Of the embedded broker only this is asked: what a publish costs the pod.
            if peer.name() == EMBEDDED && load != Load::Callers {
                continue;
            }
            if let Some(requests) = load.requests(loads, peer, &events) {
                add(peer.name(), Actor::Peer { peer, requests });
            }
        }
        let under_way = match load {
            Load::Lone => 1,
            Load::Callers => loads.callers.into(),
            _ => continue,
        };
        add(XADD, Actor::Bare { command: BareCommand::Xadd, under_way });
        add(SPUBLISH, Actor::Bare { command: BareCommand::Spublish, under_way });
    }

    let before = appended(peers, &rooms).await?;
    let idle = idle(servers).await?;
    let progress = bar("calling", u64::from(plan.repetitions) * cells.len() as u64);
    let mut answered = vec![0; peers.len()];
    for repetition in 0..plan.repetitions {
        for index in 0..cells.len() {
            // What comes before and after a cell is not the same each time.
            let index = if repetition % 2 == 0 { index } else { cells.len() - 1 - index };
            let each = cells[index].load.events(loads);
            let (mut round, all) = round(&actors[index], each, plan.seconds, servers, &events).await?;
            round.redis_cpu_us -= idle * 1e6 / round.per_second;
            if let Some(peer) = peers.iter().position(|peer| peer.name() == cells[index].who) {
                answered[peer] += all;
            }
            cells[index].rounds.push(round);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let after = appended(peers, &rooms).await?;
    for (((peer, answered), before), after) in peers.iter().zip(answered).zip(before).zip(after) {
        let (Some(before), Some(after)) = (before, after) else { continue };
        if after - before != answered {
            let what = format!("{}: {answered} events were answered, its logs got {}", peer.name(), after - before);
            return Err(BenchError::Faults(what));
        }
    }
    Ok((idle, cells))
}

async fn appended(peers: &[Box<dyn Peer>], rooms: &[String]) -> Result<Vec<Option<u64>>, BenchError> {
    let mut all = Vec::new();
    for peer in peers {
        all.push(peer.appended(rooms).await?);
    }
    Ok(all)
}

/// What the servers use while all peers are connected and nothing is published: seconds of CPU a second.
async fn idle(servers: &Servers) -> Result<f64, BenchError> {
    let (before, start) = (servers.cpu()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok((servers.cpu()? - before) as f64 / start.elapsed().as_nanos() as f64)
}

/// One round, and how many events were answered in it and in its warm-up.
async fn round(
    actor: &Actor<'_>,
    each: u64,
    seconds: f64,
    servers: &Servers,
    events: &[Publication],
) -> Result<(Round, u64), BenchError> {
    let (warm, _) = act(actor, each, seconds.min(0.3), servers, events).await?;
    let own = || match actor {
        Actor::Peer { peer, .. } => peer.processes().iter().map(Process::cpu).sum(),
        Actor::Bare { .. } => Ok(0),
    };
    let work = servers.work().await?;
    let before = (servers.cpu()?, own()?);
    let (answered, elapsed) = act(actor, each, seconds, servers, events).await?;
    let after = (servers.cpu()?, own()?);
    let done = servers.work().await?;
    let scripts = done.scripts.saturating_sub(work.scripts);
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / 1e3 / answered.max(1) as f64;
    let round = Round {
        events: answered,
        per_second: answered as f64 / elapsed,
        redis_cpu_us: each(after.0, before.0),
        own_cpu_us: each(after.1, before.1),
        events_a_call: if scripts == 0 { 0.0 } else { (done.appended - work.appended) as f64 / scripts as f64 },
    };
    Ok((round, warm + answered))
}

/// Publishes as fast as it is answered; how many events, and in which time.
async fn act(
    actor: &Actor<'_>,
    each: u64,
    seconds: f64,
    servers: &Servers,
    events: &[Publication],
) -> Result<(u64, f64), BenchError> {
    match actor {
        Actor::Peer { peer, requests } => {
            let (answered, elapsed) = call(peer.api(), requests, seconds).await?;
            Ok((answered * each, elapsed))
        }
        Actor::Bare { command, under_way } => {
            let start = Instant::now();
            let events = events.iter().take(*under_way).map(|event| (event.room.as_str(), event.data.as_str()));
            let answered = command.repeat(servers, events, start + Duration::from_secs_f64(seconds)).await?;
            Ok((answered, start.elapsed().as_secs_f64()))
        }
    }
}
