//! How many publishes a second the fleet takes, beside what Redis does by itself in the same run.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    callers::{call, request},
    content::{Recipe, Stamp},
    error::BenchError,
    pod::Pod,
    publisher::TOPIC,
    scenario::{bare::BareCommand, progress::bar, publish::published, servers::Servers},
    stats::{Spread, milliseconds},
};

/// Broadcasts under way at one time.
const BROADCASTS: usize = 4;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Case {
    OneCaller,
    OnePod,
    ThreePods,
    Broadcast,
    Spublish,
    Xadd,
    Publish,
}

impl Case {
    pub(super) const ALL: [Self; 7] =
        [Self::OneCaller, Self::OnePod, Self::ThreePods, Self::Broadcast, Self::Spublish, Self::Xadd, Self::Publish];

    /// Whether pods publish.
    pub(super) fn has_pods(self) -> bool {
        !matches!(self, Self::Spublish | Self::Xadd | Self::Publish)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OneCaller => "POST /api/publish, one caller",
            Self::OnePod => "POST /api/publish, one pod",
            Self::ThreePods => "POST /api/publish, three pods",
            Self::Broadcast => "POST /api/broadcast to all rooms, one pod",
            Self::Spublish => "bare SPUBLISH",
            Self::Xadd => "bare XADD",
            Self::Publish => "bare PUBLISH",
        }
    }

    /// For a plot.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::OneCaller => "one caller",
            Self::OnePod => "one pod",
            Self::ThreePods => "three",
            Self::Broadcast => "broadcast",
            Self::Spublish => "SPUBLISH",
            Self::Xadd => "XADD",
            Self::Publish => "PUBLISH",
        }
    }

    /// What Redis is given for each event; `None`: that is the pods' matter.
    fn bare(self) -> Option<BareCommand> {
        match self {
            Self::OneCaller | Self::OnePod | Self::ThreePods | Self::Broadcast => None,
            Self::Spublish => Some(BareCommand::Spublish),
            Self::Publish => Some(BareCommand::Publish),
            Self::Xadd => Some(BareCommand::Xadd),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    events: u64,
    per_second: f64,
    /// Of all servers, without what they use when nothing is published.
    redis_cpu_ms_per_1000: f64,
    /// Of all pods; nothing in a case without pods.
    pods_cpu_ms_per_1000: f64,
    /// Events over scripts that masters ran, those that are no publishes included; nothing in a case without pods.
    events_a_call: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) per_second: Spread,
    pub(super) redis_cpu_ms_per_1000: Spread,
    pub(super) pods_cpu_ms_per_1000: Spread,
    /// Publishes a second, over those of bare SPUBLISH in the same repetition.
    pub(super) to_spublish: Spread,
    /// Over those of bare XADD.
    pub(super) to_xadd: Spread,
    /// Redis' CPU for an event, over that of bare PUBLISH.
    pub(super) cpu_to_publish: Spread,
    /// And over that of bare XADD.
    pub(super) cpu_to_xadd: Spread,
    pub(super) events_a_call: Spread,
    pub(super) rounds: Vec<Round>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rates {
    /// Calls and commands under way at one time; as many rooms.
    callers: u16,
    /// What the servers use when nothing is published, together: milliseconds of CPU a second.
    pub(super) idle_redis_ms_per_second: f64,
    pub(super) cases: Vec<Measured>,
}

/// How it is measured.
pub(super) struct Plan {
    pub(super) callers: u16,
    pub(super) recipe: Recipe,
    /// Of one round.
    pub(super) seconds: f64,
    pub(super) repetitions: u16,
}

/// Measures all cases in turns. Fails unless Redis holds exactly the events that were answered. Needs a `LocalSet`.
pub(super) async fn measure(plan: &Plan, servers: &Servers, pods: &mut [Pod]) -> Result<Rates, BenchError> {
    let rooms: Vec<_> = (0..plan.callers).map(|n| format!("rate:{n}")).collect();
    let data = |n: usize| plan.recipe.data(u32::try_from(n).unwrap_or(0), Stamp { n: n as u64, t: 0 });
    let events: Vec<_> = rooms.iter().enumerate().map(|(n, room)| (room.as_str(), data(n))).collect();
    let (before, start) = (servers.cpu()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = (servers.cpu()? - before) as f64 / start.elapsed().as_nanos() as f64;

    let progress = bar("calling", u64::from(plan.repetitions) * Case::ALL.len() as u64);
    let mut rounds = vec![Vec::new(); Case::ALL.len()];
    let mut total = 0;
    for _ in 0..plan.repetitions {
        for (index, case) in Case::ALL.into_iter().enumerate() {
            let taken = taken(pods).await?;
            let (mut round, answered) = round(case, &events, plan.seconds, servers, pods).await?;
            round.redis_cpu_ms_per_1000 -= idle * 1e6 / round.per_second;
            rounds[index].push(round);
            let published = self::taken(pods).await? - taken;
            let expected = if case.has_pods() { answered } else { 0 };
            if published != expected {
                let what = format!("{expected} publishes were answered, the pods count {published}");
                return Err(BenchError::Faults(what));
            }
            total += expected;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let mut held = 0;
    for room in &rooms {
        held += servers.offset(room).await?;
    }
    if held != total {
        return Err(BenchError::Faults(format!("{total} publishes were answered, Redis has had {held} events")));
    }
    Ok(Rates { callers: plan.callers, idle_redis_ms_per_second: idle * 1e3, cases: summary(&rounds)? })
}

/// One round, and how many events were answered in it and in its warm-up.
async fn round(
    case: Case,
    events: &[(&str, String)],
    seconds: f64,
    servers: &Servers,
    pods: &[Pod],
) -> Result<(Round, u64), BenchError> {
    let (warm, _) = run(case, events, seconds.min(0.3), servers, pods).await?;
    let pods_cpu = || pods.iter().map(|pod| pod.process()?.cpu()).sum::<Result<u64, BenchError>>();
    let work = servers.work().await?;
    let before = (servers.cpu()?, pods_cpu()?);
    let (answered, elapsed) = run(case, events, seconds, servers, pods).await?;
    let after = (servers.cpu()?, pods_cpu()?);
    let done = servers.work().await?;
    let scripts = done.scripts.saturating_sub(work.scripts).max(1) as f64;
    let each = |after: u64, before: u64| milliseconds(after.saturating_sub(before)) * 1e3 / answered.max(1) as f64;
    let round = Round {
        events: answered,
        per_second: answered as f64 / elapsed,
        redis_cpu_ms_per_1000: each(after.0, before.0),
        pods_cpu_ms_per_1000: each(after.1, before.1),
        events_a_call: if case.has_pods() { done.appended.saturating_sub(work.appended) as f64 / scripts } else { 0.0 },
    };
    Ok((round, warm + answered))
}

/// Publishes as fast as it is answered; how many, and in which time.
async fn run(
    case: Case,
    events: &[(&str, String)],
    seconds: f64,
    servers: &Servers,
    pods: &[Pod],
) -> Result<(u64, f64), BenchError> {
    let start = Instant::now();
    if let Some(bare) = case.bare() {
        let events = events.iter().map(|(room, data)| (*room, data.as_str()));
        let answered = bare.repeat(servers, events, start + Duration::from_secs_f64(seconds)).await?;
        return Ok((answered, start.elapsed().as_secs_f64()));
    }
    let mut work = JoinSet::new();
    let pods = if case == Case::ThreePods { pods } else { &pods[..1] };
    let mut requests = vec![Vec::new(); pods.len()];
    let body = |room: &str, data: &str| format!(r#"{{"room":"{room}","topic":"{TOPIC}","data":{data}}}"#);
    if case == Case::Broadcast {
        let all: Vec<_> = events.iter().map(|(room, data)| body(room, data)).collect();
        let all = format!(r#"{{"publications":[{}]}}"#, all.join(","));
        requests[0] = vec![request("/api/broadcast", pods[0].api_key(), &all); BROADCASTS];
    }
    let publishes = if case == Case::Broadcast { &[] } else { events };
    for (n, (room, data)) in publishes.iter().take(if case == Case::OneCaller { 1 } else { usize::MAX }).enumerate() {
        let index = n % pods.len();
        requests[index].push(request("/api/publish", pods[index].api_key(), &body(room, data)));
    }
    for (pod, requests) in pods.iter().zip(requests).filter(|(_, requests)| !requests.is_empty()) {
        let address = pod.internal();
        work.spawn_local(async move { Ok::<_, BenchError>(call(address, &requests, seconds).await?.0) });
    }
    let mut answered = 0;
    while let Some(ended) = work.join_next().await {
        answered += ended.map_err(|e| BenchError::Protocol(format!("a caller: {e}")))??;
    }
    let each = if case == Case::Broadcast { events.len() as u64 } else { 1 };
    Ok((answered * each, start.elapsed().as_secs_f64()))
}

/// How many events the pods have taken from backends.
async fn taken(pods: &mut [Pod]) -> Result<u64, BenchError> {
    let mut sum = 0;
    for pod in pods {
        sum += published(pod).await?;
    }
    Ok(sum)
}

fn summary(rounds: &[Vec<Round>]) -> Result<Vec<Measured>, BenchError> {
    let none = || BenchError::Protocol("nothing was measured".to_owned());
    let of = |case: Case| Case::ALL.iter().position(|known| *known == case).map(|at| &rounds[at]).ok_or_else(none);
    let measured = |case: Case| {
        let own = of(case)?;
        let figure = |figure: fn(&Round) -> f64| Spread::of(own.iter().map(figure)).ok_or_else(none);
        let ratio = |to: Case, figure: fn(&Round) -> f64| {
            Spread::of(own.iter().zip(of(to)?).map(|(own, other)| figure(own) / figure(other))).ok_or_else(none)
        };
        Ok(Measured {
            case,
            per_second: figure(|round| round.per_second)?,
            redis_cpu_ms_per_1000: figure(|round| round.redis_cpu_ms_per_1000)?,
            pods_cpu_ms_per_1000: figure(|round| round.pods_cpu_ms_per_1000)?,
            to_spublish: ratio(Case::Spublish, |round| round.per_second)?,
            to_xadd: ratio(Case::Xadd, |round| round.per_second)?,
            cpu_to_publish: ratio(Case::Publish, |round| round.redis_cpu_ms_per_1000)?,
            cpu_to_xadd: ratio(Case::Xadd, |round| round.redis_cpu_ms_per_1000)?,
            events_a_call: figure(|round| round.events_a_call)?,
            rounds: own.clone(),
        })
    };
    Case::ALL.into_iter().map(measured).collect()
}
