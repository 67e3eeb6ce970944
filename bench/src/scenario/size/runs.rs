//! A run of another scenario, and the points that are read off its result.
//!
//! Always holds: a point has the command that made it. What that command leaves out (the pod's binary, where results go) changes no figure.

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    error::{BenchError, Doing as _},
    report::figure,
    sizing::{
        laws::SHAPES,
        points::{At, Point},
    },
};

/// A figure of a result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    /// This number.
    Is(f64),
    /// What stands at a JSON pointer, times a number.
    At(&'static str, f64),
}

/// A point that a result has.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) curve: &'static str,
    pub(super) at: Vec<(&'static str, Of)>,
    pub(super) value: Of,
    /// A pointer to `true` where the value means something.
    pub(super) only_if: Option<&'static str>,
}

/// What is run, and what is read.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) command: String,
    pub(super) readings: Vec<Reading>,
}

impl Run {
    /// The curves that it has points of.
    pub(super) fn curves(&self) -> impl Iterator<Item = &'static str> {
        self.readings.iter().map(|reading| reading.curve)
    }

    /// Its points, of the result that it wrote.
    fn read(&self, result: &str, commit: &str) -> Result<Vec<Point>, BenchError> {
        let mut points = Vec::new();
        let missing = |pointer: &str| BenchError::Protocol(format!("{}: no number at {pointer}", self.command));
        let number = |of: Of| match of {
            Of::Is(number) => Ok(number),
            Of::At(pointer, times) => {
                figure(result, pointer).map(|value| value * times).ok_or_else(|| missing(pointer))
            }
        };
        for reading in &self.readings {
            if reading.only_if.is_some_and(|pointer| !is_true(result, pointer)) {
                eprintln!("  {}: void in this run", reading.curve);
                continue;
            }
            let value = number(reading.value)?;
            // A difference that noise turned around.
            if value <= 0.0 {
                eprintln!("  {}: {value} is no cost, and left out", reading.curve);
                continue;
            }
            let mut at = At::new();
            for (name, of) in &reading.at {
                at.insert((*name).to_owned(), significant(number(*of)?));
            }
            let unit = SHAPES.iter().find(|shape| shape.curve == reading.curve).map_or("", |shape| shape.unit);
            points.push(Point {
                curve: reading.curve.to_owned(),
                at,
                value: significant(value),
                unit: unit.to_owned(),
                commit: commit.to_owned(),
                command: self.command.clone(),
            });
        }
        Ok(points)
    }
}

/// Five digits: no figure here has more.
fn significant(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

fn is_true(result: &str, pointer: &str) -> bool {
    let value = serde_json::from_str::<serde_json::Value>(result).ok();
    value.and_then(|value| value.pointer(pointer)?.as_bool()).unwrap_or(false)
}

/// Runs commands of a program that has the scenarios.
pub(super) struct Runner {
    program: PathBuf,
    pod: Option<PathBuf>,
    commit: String,
}

impl Runner {
    /// With these programs; the commit is that of the work tree unless it is said.
    pub(super) async fn new(
        program: Option<PathBuf>,
        pod: Option<PathBuf>,
        commit: Option<String>,
    ) -> Result<Self, BenchError> {
        let program = match program {
            Some(program) => program,
            None => std::env::current_exe().doing(|| "finding this program's path".to_owned())?,
        };
        let commit = match commit {
            Some(commit) => commit,
            None => head().await.ok_or_else(|| {
                BenchError::Usage("git does not say which commit this is: name it with --commit".to_owned())
            })?,
        };
        Ok(Self { program, pod, commit })
    }

    /// Runs it once, and reads its points.
    pub(super) async fn points(&self, run: &Run) -> Result<Vec<Point>, BenchError> {
        let out = TempDir::new().doing(|| "making a directory for results".to_owned())?;
        let result = out.path().join("result.json");
        let mut command = Command::new(&self.program);
        command.args(run.command.split(' ')).arg("--out").arg(out.path()).arg("--json").arg(&result);
        if let Some(pod) = &self.pod {
            command.arg("--pod").arg(pod);
        }
        let output =
            command.kill_on_drop(true).output().await.doing(|| format!("running {}", self.program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::Child { who: run.command.clone(), what: format!("failed: {said}") });
        }
        let text = fs::read_to_string(&result).doing(|| format!("reading {}", result.display()))?;
        run.read(&text, &self.commit)
    }
}

/// The commit of the work tree, short.
async fn head() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().await.ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_off_a_result() {
        let reading = |curve, at, value, only_if| Reading { curve, at, value, only_if };
        let run = Run {
            command: "idle --connections 10".to_owned(),
            readings: vec![
                reading("memory", vec![("sockets", Of::Is(10.0))], Of::At("/result/kib", 2.0), None),
                reading("kernel", vec![], Of::At("/result/slab", 1.0), Some("/result/is_ours")),
                reading("publish", vec![("events_a_call", Of::At("/result/calls", 1.0))], Of::Is(-1.0), None),
            ],
        };
        let text = |ours| format!(r#"{{"result":{{"kib":3.33333333,"slab":4.0,"calls":1,"is_ours":{ours}}}}}"#);
        let points = run.read(&text(false), "abc").expect("points");
        assert_eq!(points.len(), 1, "neither what is void nor what is negative: {points:?}");
        assert_eq!((points[0].value, points[0].unit.as_str(), points[0].commit.as_str()), (6.6667, "KiB", "abc"));
        assert_eq!(run.read(&text(true), "abc").expect("points").len(), 2);
        assert!(run.read("{}", "abc").is_err());
    }
}
