//! The field without Redis: each server broadcasts to many clients over TLS, alone on the machine, in turns.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    kind::Kind,
    sides::{REFERENCE, THIS},
    turn::{self, Figures, Plan},
};
use crate::{
    arguments::PodArgs,
    content::Recipe,
    error::BenchError,
    peer::{
        centrifugo::{self, Tuning},
        contender::{Contender, Site},
        mercure, nats, nchan, roomcast, socketio,
    },
    process,
    scenario::{progress::bar, schedule::Schedule},
    stats::Latencies,
};

/// How clients and events are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    /// All in one room; they offer compression.
    Compressed,
    /// All in one room, without compression.
    Plain,
    /// In many rooms; they offer compression.
    Rooms,
}

/// The part without Redis.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The broadcast to many clients, without Redis")]
pub(super) struct FieldArgs {
    /// What is measured
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', default_values = ["compressed", "plain", "rooms"], value_name = "SHAPE")]
    shapes: Vec<Shape>,
    /// Clients of each server
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    connections: usize,
    /// Over how many rooms they are spread where there are many
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rooms: u32,
    /// Events a second to one room; bursts of ten come as often as ten of these would
    #[arg(long, default_value_t = 1.0, value_name = "EVENTS")]
    room_rate: f64,
    /// Events a second to many rooms together
    #[arg(long, default_value_t = 200.0, value_name = "EVENTS")]
    rooms_rate: f64,
    /// How long events come, one by one, and then in bursts
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    broadcast_seconds: f64,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 1_024, value_name = "BYTES")]
    broadcast_size: usize,
    /// How long it is quiet before memory is read
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    settle: f64,
}

/// What one server did in one shape; several repetitions.
#[derive(Debug, Serialize)]
pub(super) struct Standing {
    pub(super) who: String,
    pub(super) rounds: Vec<Figures>,
    /// Why there are no figures, where it cannot do this.
    pub(super) cannot: Option<String>,
}

impl Standing {
    /// From publishing to receiving, event by event, over all repetitions: for a plot.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let mut all = Latencies::new();
        self.rounds.iter().for_each(|round| all.add(&round.latency));
        all.curve()
    }
}

/// All servers in one shape.
#[derive(Debug, Serialize)]
pub(super) struct Race {
    pub(super) shape: Shape,
    pub(super) connections: usize,
    pub(super) rooms: u32,
    pub(super) event_bytes: usize,
    pub(super) rate: f64,
    pub(super) standings: Vec<Standing>,
}

/// What both parts of the scenario are told.
pub(super) struct Run<'a> {
    pub(super) pod: &'a PodArgs,
    pub(super) reference: Option<&'a Path>,
    pub(super) peers: &'a [Kind],
    pub(super) callers: u16,
    /// How long they publish.
    pub(super) seconds: f64,
    pub(super) repetitions: u16,
}

/// What takes part: a build of this project, or a server of others.
#[derive(Debug, Clone, Copy)]
enum Entrant {
    This,
    Reference,
    Other(Kind),
}

impl FieldArgs {
    /// Refuses what cannot be.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        for rate in [self.room_rate, self.rooms_rate] {
            Schedule::new(rate, self.broadcast_seconds)?;
        }
        self.recipe()?;
        if !(0.0..=600.0).contains(&self.settle) {
            return Err(BenchError::Usage(format!("--settle {}: 0 to 600 seconds", self.settle)));
        }
        let (needed, limit) = (self.connections + 300, process::file_limit());
        if needed > limit {
            return Err(BenchError::FileLimit { what: "a server".to_owned(), needed, limit });
        }
        Ok(())
    }

    fn recipe(&self) -> Result<Recipe, BenchError> {
        Recipe::of("--broadcast-size", self.broadcast_size)
    }

    fn plan(&self, shape: Shape, callers: u16, seconds: f64) -> Result<Plan, BenchError> {
        let is_one = shape != Shape::Rooms;
        let schedule = Schedule::new(if is_one { self.room_rate } else { self.rooms_rate }, self.broadcast_seconds)?;
        Ok(Plan {
            connections: self.connections.max(1),
            rooms: if is_one { 1 } else { self.rooms },
            deflate: shape != Shape::Plain,
            schedule,
            bursts: is_one,
            callers: (shape == Shape::Plain).then_some((callers, seconds)),
            settle: self.settle,
            recipe: self.recipe()?,
        })
    }
}

/// All shapes, one after the other; in each all servers in turns, as often as there are repetitions. Needs a `LocalSet`.
pub(super) async fn measure(field: &FieldArgs, run: &Run<'_>, out: &Path) -> Result<Vec<Race>, BenchError> {
    let site = Site::new(out)?;
    let reference = run.reference.map(|_| Entrant::Reference);
    let others = run.peers.iter().copied().map(Entrant::Other);
    let entrants: Vec<_> = std::iter::once(Entrant::This).chain(reference).chain(others).collect();
    let progress = bar("", 1);
    let mut races = Vec::new();
    for &shape in &field.shapes {
        let plan = field.plan(shape, run.callers, run.seconds)?;
        let mut standings: Vec<Standing> = entrants
            .iter()
            .map(|entrant| Standing { who: entrant.name().to_owned(), rounds: Vec::new(), cannot: None })
            .collect();
        for repetition in 0..run.repetitions {
            for turn in 0..entrants.len() {
                // No server is always the first.
                let index = (turn + usize::from(repetition)) % entrants.len();
                let (entrant, standing) = (entrants[index], &mut standings[index]);
                if standing.cannot.is_some() {
                    continue;
                }
                let what = format!("{}, {shape:?}, {} of {}", standing.who, repetition + 1, run.repetitions);
                progress.set_message(what);
                let mut contender = entrant.start(run, &site, &plan).await?;
                let measured = turn::measure(&plan, contender.as_mut(), &progress).await;
                match measured.map_err(|error| contender.explain(error)) {
                    Ok(figures) => standing.rounds.push(figures),
                    // A peer's fault is its own, and is told in its row.
                    Err(error) if matches!(entrant, Entrant::Other(_)) => {
                        progress.suspend(|| eprintln!("{}: {error}", standing.who));
                        standing.cannot = Some(error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let (rate, rooms) = (plan.schedule.rate, plan.rooms);
        let (connections, event_bytes) = (plan.connections, plan.recipe.size);
        races.push(Race { shape, connections, rooms, event_bytes, rate, standings });
    }
    progress.finish_and_clear();
    Ok(races)
}

impl Entrant {
    fn name(self) -> &'static str {
        match self {
            Self::This => THIS,
            Self::Reference => REFERENCE,
            Self::Other(kind) => kind.name(),
        }
    }

    async fn start(self, run: &Run<'_>, site: &Site, plan: &Plan) -> Result<Box<dyn Contender>, BenchError> {
        let (connections, deflate) = (plan.connections, plan.deflate);
        match self {
            Self::This => roomcast::contend(site, run.pod, connections).await,
            Self::Reference => {
                let mut pod = run.pod.clone();
                pod.pod = run.reference.map(Path::to_owned);
                roomcast::contend(site, &pod, connections).await
            }
            Self::Other(Kind::Centrifugo) => centrifugo::contend(site, deflate, Tuning::Default).await,
            Self::Other(Kind::CentrifugoGogc50) => centrifugo::contend(site, deflate, Tuning::Gogc50).await,
            Self::Other(Kind::CentrifugoDeltas) => centrifugo::contend(site, deflate, Tuning::Deltas).await,
            Self::Other(Kind::Socketio) => socketio::contend(site, deflate).await,
            Self::Other(Kind::Nchan) => nchan::contend(site, deflate).await,
            Self::Other(Kind::Nats) => nats::contend(site, deflate).await,
            Self::Other(Kind::Mercure) => mercure::contend(site, deflate).await,
        }
    }
}
