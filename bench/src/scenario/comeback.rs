//! Clients whose pod has gone come all at once, beside clients that stay.

use std::{cell::Cell, future::Future, pin::pin, time::Duration};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::{
    progress::bar,
    window::{Ends, Round, Window},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::{Audience, Received},
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    plot::Plot,
    pod::Pod,
    receiver::control::{Join, Target},
    report::{self, Row, thousands},
    stats::Latencies,
};

/// The most by which those that stay may be slowed, as a ratio to the same crowd beside them on another pod.
const BAR: f64 = 2.0;

const SECOND: Duration = Duration::from_secs(1);

/// Residents stay in a room and receive, while a crowd whose pod has gone comes at once: first to a second pod on the same machine, as
/// the control, then to the residents' own. Says how long it takes, and what the residents notice. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct ComebackArgs {
    /// How many come at once
    #[arg(long, default_value_t = 15_000, value_name = "N")]
    connections: usize,
    /// How many stay
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    residents: usize,
    /// Events a second to those that stay
    #[arg(long, default_value_t = 10.0, value_name = "EVENTS")]
    rate: f64,
    /// For how long they receive alone
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A crowd that came back.
#[derive(Serialize)]
struct Return {
    /// From the first packet until all are members.
    seconds: f64,
    /// The most that became members in one second.
    peak_per_second: u64,
    /// CPU of the pod to which it came, without the residents' deliveries, over the crowd's connections.
    cpu_us_each: Option<f64>,
    /// What the residents received meanwhile.
    residents: Round,
    #[serde(skip)]
    latency: Latencies,
    /// Stays until the end: what it costs to close it is no figure here.
    #[serde(skip)]
    _crowd: Audience,
}

#[derive(Serialize)]
struct Outcome {
    connections: usize,
    residents: usize,
    alone: Round,
    /// To the pod beside.
    control: Return,
    /// To the residents' pod.
    comeback: Return,
    /// The residents' p50, p99 and maximum of the second over those of the first.
    slowed: [f64; 3],
    #[serde(skip)]
    latency: Latencies,
}

/// Runs it.
pub(crate) async fn run(args: &ComebackArgs) -> Result<(), BenchError> {
    if !(args.rate > 0.0 && args.rate <= 1_000.0 && args.connections > 0 && args.residents > 0) {
        let message = "--rate is above 0 and at most 1000, --connections and --residents are at least 1";
        return Err(BenchError::Usage(message.to_owned()));
    }
    args.pod.must_start("pods")?;
    let recipe = args.load.recipe()?;
    let out = report::directory(&args.output)?;
    let guests = args.load.guests(args.connections + args.residents);
    let mut pod = Pod::open(&args.pod, guests, &out).await?;
    let mut beside = Pod::open(&args.pod, guests, &report::directory_in(&out, "beside")?).await?;
    let measured = measure(args, recipe, &mut pod, &mut beside).await;
    let outcome = measured.map_err(|error| Pod::explain_all([&mut pod, &mut beside], error))?;
    report::write("comeback", &args.output, &outcome, &row(&outcome), &plot(&outcome))?;
    let [_, slowed, _] = outcome.slowed;
    report::judge(slowed <= BAR, || {
        format!("those that stay are slowed {slowed:.2} times at p99, at most {BAR} times is allowed")
    })
}

fn row(outcome: &Outcome) -> Row {
    let Outcome { alone, control, comeback, .. } = outcome;
    let latency = |round: &Round| format!("{:.1} {:.1} {:.1}", round.latency.p50, round.latency.p99, round.latency.max);
    let line = |to: &str, crowd: &Return| {
        let cpu = crowd.cpu_us_each.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}"));
        Row::default()
            .cell("to", to)
            .cell("back after s", format!("{:.1}", crowd.seconds))
            .cell("peak a second", thousands(crowd.peak_per_second))
            .cell("CPU us each", cpu)
            .cell("residents' ms meanwhile, p50 p99 max", latency(&crowd.residents))
    };
    let none =
        Row::default().cell("to", "no crowd comes").cell("", "").cell("", "").cell("", "").cell("", latency(alone));
    line("a pod beside", control).above(line("the residents' pod", comeback)).above(none)
}

fn plot(outcome: &Outcome) -> Plot {
    let Outcome { connections, residents, control, comeback, .. } = outcome;
    Plot {
        title: format!("{} come back, {} stay", thousands(*connections as u64), thousands(*residents as u64)),
        bars_title: "until all are back (s)".to_owned(),
        bars: vec![("beside".to_owned(), vec![control.seconds]), ("here".to_owned(), vec![comeback.seconds])],
        curves_title: "publish to receive of those that stay (ms)".to_owned(),
        curves: vec![
            ("alone".to_owned(), outcome.latency.curve()),
            ("beside".to_owned(), control.latency.curve()),
            ("here".to_owned(), comeback.latency.curve()),
        ],
    }
}

async fn measure(args: &ComebackArgs, recipe: Recipe, pod: &mut Pod, beside: &mut Pod) -> Result<Outcome, BenchError> {
    let (connections, deflate) = (args.residents, args.load.deflate());
    let mut residents = Audience::start(args.load.transport, args.load.processes(connections), 1)?;
    let progress = bar("connecting", 1);
    residents.join(&Join { connections, ..pod.join(recipe, deflate) }, &progress).await?;

    progress.set_message("alone");
    let quiet = async {
        sleep(Duration::from_secs_f64(args.seconds)).await;
        Ok(())
    };
    let ((), alone, received) = publish_beside(args, recipe, pod, &mut residents, quiet).await?;
    let control = come_back(args, recipe, pod, &mut residents, Some(beside), &alone, &progress).await?;
    let comeback = come_back(args, recipe, pod, &mut residents, None, &alone, &progress).await?;
    progress.finish_and_clear();
    let over = |f: fn(&Round) -> f64| f(&comeback.residents) / f(&control.residents);
    Ok(Outcome {
        connections: args.connections,
        residents: args.residents,
        slowed: [over(|round| round.latency.p50), over(|round| round.latency.p99), over(|round| round.latency.max)],
        alone,
        control,
        comeback,
        latency: received.latency,
    })
}

/// A crowd comes to the residents' pod, or to the one beside.
async fn come_back(
    args: &ComebackArgs,
    recipe: Recipe,
    pod: &mut Pod,
    residents: &mut Audience,
    beside: Option<&mut Pod>,
    alone: &Round,
    progress: &ProgressBar,
) -> Result<Return, BenchError> {
    let to = beside.map_or(&*pod, |beside| &*beside);
    // Nothing is published in their room: what the residents notice is that they come.
    let join = Join { connections: args.connections, first_room: 1, ..to.join(recipe, args.load.deflate()) };
    let process = to.process;
    let mut crowd = Audience::start(args.load.transport, args.load.processes(args.connections), 64)?;
    progress.set_message("coming back");
    let before = process.map(|process| process.cpu()).transpose()?;
    let returning = async {
        let began = Instant::now();
        progress.set_position(0);
        let mut peak = Peak::default();
        {
            let mut joining = pin!(crowd.join(&join, progress));
            let mut second = interval_at(began + SECOND, SECOND);
            second.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    joined = &mut joining => break joined.map(drop)?,
                    _ = second.tick() => peak.second(progress.position()),
                }
            }
        }
        peak.second(args.connections as u64);
        Ok((began.elapsed(), peak.most))
    };
    let ((took, peak_per_second), round, received) = publish_beside(args, recipe, pod, residents, returning).await?;
    let after = process.map(|process| process.cpu()).transpose()?;
    let deliveries = alone.cpu_us_per_delivery.unwrap_or(0.0) * round.deliveries as f64;
    let is_own = join.address == pod.address;
    let cpu_us_each = after.zip(before).map(|(after, before)| {
        let all = after.saturating_sub(before) as f64 / 1e3;
        (all - if is_own { deliveries } else { 0.0 }).max(0.0) / args.connections as f64
    });
    Ok(Return {
        seconds: took.as_secs_f64(),
        peak_per_second,
        cpu_us_each,
        residents: round,
        latency: received.latency,
        _crowd: crowd,
    })
}

/// The most that were added in one of several seconds.
#[derive(Debug, Default)]
struct Peak {
    before: u64,
    most: u64,
}

impl Peak {
    /// A second, or what is left of the last one, has passed; so many there are by now.
    fn second(&mut self, now: u64) {
        self.most = self.most.max(now.saturating_sub(self.before));
        self.before = now;
    }
}

/// Publishes to the residents for as long as something else takes; fails unless they got all of it.
async fn publish_beside<T>(
    args: &ComebackArgs,
    recipe: Recipe,
    pod: &mut Pod,
    residents: &mut Audience,
    other: impl Future<Output = Result<T, BenchError>>,
) -> Result<(T, Round, Received), BenchError> {
    let window = Window::begin(residents, Target::Pod, pod.process).await?;
    let mut ends = Ends::default();
    let is_over = Cell::new(false);
    let publishing = async {
        // An event that waits for the one before it is late by that: its stamp is the time when it was due.
        let (began, first, mut late) = (Instant::now(), clock::now(), Duration::ZERO);
        for n in 0.. {
            let due = Duration::from_secs_f64(n as f64 / args.rate);
            sleep_until(began + due).await;
            if is_over.get() {
                break;
            }
            late = late.max((began + due).elapsed());
            let data = recipe.data(0, Stamp { n, t: first + due.as_nanos() as u64 });
            ends.published(0, pod.publisher.publish(&room_name(0), &data).await?);
        }
        Ok(late)
    };
    let other = async {
        let done = other.await;
        is_over.set(true);
        done
    };
    let (late, done) = tokio::try_join!(publishing, other)?;
    let (round, received) = window.end(residents, &ends, |_| args.residents as u64, late.as_secs_f64() * 1e3).await?;
    Ok((done, round, received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_busiest_second_the_last_one_included() {
        let mut peak = Peak::default();
        for now in [100, 450, 500, 1_000] {
            peak.second(now);
        }
        assert_eq!(peak.most, 500);
    }
}
