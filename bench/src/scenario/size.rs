//! How many pods a service needs: asks the laws, prints the laws, or has their points measured anew.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    error::{BenchError, Doing as _},
    process::Machine,
    report::thousands,
    sizing::{
        answer,
        ask::Ask,
        laws::{Laws, SHAPES},
        plan::Plan,
        points::Points,
    },
};

mod curves;
mod runs;

use runs::Runner;

/// Says how many pods a service needs, and their memory, cores, egress, Redis and rollouts, from laws that are fitted to measured points: nothing
/// is started. What lies beyond the points is said to be extrapolated. With `--measure` it has the other scenarios measure the points.
/// See docs/SIZING.md.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    #[command(flatten)]
    ask: Ask,
    /// Prints the laws instead: what they are made of, their points, and how far off these lie
    #[arg(long)]
    laws: bool,
    /// Points of your own, as --measure writes them [default: those of this program, bench/size/points.json]
    #[arg(long, value_name = "FILE")]
    points: Option<PathBuf>,
    #[command(flatten)]
    measuring: MeasureArgs,
}

/// How points are measured anew.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measuring the points anew")]
pub(crate) struct MeasureArgs {
    /// Measures the points, and writes them to this file after each run; what the file has of other curves stays. About 20 minutes
    #[arg(long, value_name = "FILE")]
    measure: Option<PathBuf>,
    /// Of these curves only; repeat it for more
    #[arg(long, value_name = "CURVE", requires = "measure")]
    only: Vec<String>,
    /// Prints what would be run
    #[arg(long)]
    list: bool,
    /// The pod's binary [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pod: Option<PathBuf>,
    /// The commit that it was built of
    #[arg(long, value_name = "ID", requires = "measure")]
    commit: Option<String>,
    /// The program that runs the scenarios [default: this one]
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
    /// What else is to be known of how they were measured
    #[arg(long, value_name = "TEXT", requires = "measure")]
    remark: Option<String>,
}

/// Runs it.
pub(crate) async fn run(args: &SizeArgs) -> Result<(), BenchError> {
    if args.measuring.list || args.measuring.measure.is_some() {
        return measure(&args.measuring).await;
    }
    let points = match &args.points {
        Some(file) => Points::parse(&read(file)?)?,
        None => Points::committed()?,
    };
    let laws = Laws::of(&points)?;
    match args.laws {
        true => print!("{}", answer::laws(&laws)),
        false => print!("{}", answer::plan(&args.ask, &Plan::of(&args.ask, &laws)?)),
    }
    Ok(())
}

async fn measure(args: &MeasureArgs) -> Result<(), BenchError> {
    if let Some(wrong) = args.only.iter().find(|only| !SHAPES.iter().any(|shape| shape.curve == **only)) {
        let known: Vec<_> = SHAPES.iter().map(|shape| shape.curve).collect();
        return Err(BenchError::Usage(format!("--only {wrong}: there are {}", known.join(", "))));
    }
    let runs: Vec<_> = curves::all()
        .into_iter()
        .filter(|run| args.only.is_empty() || run.curves().any(|c| is_one(&args.only, c)))
        .collect();
    let Some(file) = args.measure.as_ref().filter(|_| !args.list) else {
        runs.iter().for_each(|run| println!("{}", run.command));
        return Ok(());
    };
    let mut points = if file.exists() { Points::parse(&read(file)?)? } else { Points::default() };
    let Machine { processor, cores, memory, kernel } = Machine::this();
    points.machine = format!("{processor}, {cores} cores, {} GiB, Linux {kernel}", memory >> 30);
    if let Some(remark) = &args.remark {
        points.remark.clone_from(remark);
    }
    let runner = Runner::new(args.with.clone(), args.pod.clone(), args.commit.clone()).await?;
    for (index, run) in runs.iter().enumerate() {
        eprintln!("{} of {}: {}", index + 1, thousands(runs.len() as u64), run.command);
        points.replace(runner.points(run).await?);
        fs::write(file, points.text()?).doing(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn is_one(curves: &[String], curve: &str) -> bool {
    curves.iter().any(|one| one == curve)
}

fn read(file: &Path) -> Result<String, BenchError> {
    fs::read_to_string(file).doing(|| format!("reading {}", file.display()))
}
