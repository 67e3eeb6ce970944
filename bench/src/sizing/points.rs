//! What was measured: one value at one place of a curve, with the command that made it.
//!
//! Always holds: a file of points has one point a line, in the order of their curves, so that a difference of two files can be read.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::error::BenchError;

/// The points that the binary carries; `roomcast-bench size --measure` makes such a file.
const COMMITTED: &str = include_str!("../../size/points.json");

/// Where on its curve a point lies, or where a law is asked: parameters by name. A parameter that is not named is 0.
pub(crate) type At = BTreeMap<String, f64>;

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// The curve, whose law has the same name.
    pub(crate) curve: String,
    /// Where on the curve.
    pub(crate) at: At,
    /// What was measured there.
    pub(crate) value: f64,
    /// In which unit.
    pub(crate) unit: String,
    /// The commit of the pod that was measured.
    pub(crate) commit: String,
    /// The command that made it.
    pub(crate) command: String,
}

/// All points.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Points {
    /// The machine that they were measured on.
    pub(crate) machine: String,
    /// What else is to be known of how they were measured.
    pub(crate) remark: String,
    /// In the order of their curves.
    pub(crate) points: Vec<Point>,
}

impl Points {
    /// Those that the binary carries.
    pub(crate) fn committed() -> Result<Self, BenchError> {
        Self::parse(COMMITTED)
    }

    /// Reads a file of points.
    pub(crate) fn parse(text: &str) -> Result<Self, BenchError> {
        serde_json::from_str(text).map_err(|e| BenchError::Usage(format!("this is no file of points: {e}")))
    }

    /// Takes new points in place of those that the same curves had from the same commands.
    pub(crate) fn replace(&mut self, new: Vec<Point>) {
        self.points.retain(|old| !new.iter().any(|point| point.curve == old.curve && point.command == old.command));
        self.points.extend(new);
        self.points.sort_by(|a, b| (&a.curve, &a.command).cmp(&(&b.curve, &b.command)));
    }

    /// Of one curve.
    pub(crate) fn of<'a>(&'a self, curve: &'a str) -> impl Iterator<Item = &'a Point> {
        self.points.iter().filter(move |point| point.curve == curve)
    }

    /// As a file.
    pub(crate) fn text(&self) -> Result<String, BenchError> {
        let mut text = String::from("{\n");
        let _ = write!(text, "  \"machine\": {},\n  \"remark\": {},\n", json(&self.machine)?, json(&self.remark)?);
        text.push_str("  \"points\": [\n");
        for (index, point) in self.points.iter().enumerate() {
            let comma = if index + 1 < self.points.len() { "," } else { "" };
            let _ = writeln!(text, "    {}{comma}", json(point)?);
        }
        text.push_str("  ]\n}\n");
        Ok(text)
    }
}

fn json(value: &impl Serialize) -> Result<String, BenchError> {
    serde_json::to_string(value).map_err(|e| BenchError::Protocol(format!("points that are no JSON: {e}")))
}

/// A place on a curve.
pub(crate) fn at<const N: usize>(parameters: [(&str, f64); N]) -> At {
    parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(curve: &str, command: &str, value: f64) -> Point {
        let [curve, command] = [curve, command].map(str::to_owned);
        Point { curve, at: at([("sockets", 10.0)]), value, unit: "KiB".into(), commit: "c".into(), command }
    }

    #[test]
    fn a_file_of_points_is_read_as_it_was_written_with_one_a_line() {
        let points = Points {
            machine: "2 \"cores\"".into(),
            remark: "none".into(),
            points: vec![point("memory", "idle --connections 10", 1.5), point("memory", "idle --connections 20", 2.0)],
        };
        let text = points.text().expect("JSON");
        assert_eq!(text.lines().count(), 8, "{text}");
        assert_eq!(Points::parse(&text).expect("points"), points);
        assert!(Points::parse("{}").is_err());
    }

    #[test]
    fn points_of_the_same_curve_and_command_are_replaced() {
        let mut points =
            Points { points: vec![point("memory", "a", 1.0), point("memory", "b", 2.0)], ..Points::default() };
        points.replace(vec![point("memory", "a", 3.0), point("idle", "a", 4.0)]);
        let values: Vec<_> = points.points.iter().map(|point| (point.curve.as_str(), point.value)).collect();
        assert_eq!(values, [("idle", 4.0), ("memory", 3.0), ("memory", 2.0)]);
    }
}
