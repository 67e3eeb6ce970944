//! A fleet's status as rows, a pod each: what `stats --fleet` prints and `top` shows.
//!
//! Pure. Always holds: each column is as wide as its widest cell, numbers stand right.

use serde::Deserialize;

use super::figures::{bytes, clock, count};
use crate::model::PodStats;

/// The answer to `/status.json?scope=fleet`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FleetStatus {
    pub connections: u64,
    pub max_connections: u64,
    pub pods: Vec<PodStats>,
    /// Pods that did not answer.
    pub silent: Vec<String>,
}

/// A column's name, and whether it has numbers.
const COLUMNS: [(&str, bool); 8] = [
    ("pod", false),
    ("state", false),
    ("connections", true),
    ("most", true),
    ("worker rooms", true),
    ("memory", true),
    ("up", true),
    ("version", false),
];

/// The head, then a row a pod that answered, then the silent ones.
pub(super) fn fleet_rows(fleet: &FleetStatus) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = vec![COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect()];
    for pod in &fleet.pods {
        let rooms: usize = pod.workers.iter().map(|worker| worker.rooms).sum();
        rows.push(vec![
            pod.pod.clone(),
            pod.readiness.clone(),
            count(pod.connections as u64),
            count(pod.max_connections as u64),
            count(rooms as u64),
            bytes(pod.memory.used_bytes as f64),
            clock(pod.uptime_ms),
            pod.version.clone(),
        ]);
    }
    rows.extend(fleet.silent.iter().map(|pod| vec![pod.clone(), "no answer".to_owned()]));
    aligned(&rows, &COLUMNS.map(|(_, number)| number))
}

/// The sum below the rows.
pub(super) fn fleet_sum(fleet: &FleetStatus) -> String {
    let (all, most) = (count(fleet.connections), count(fleet.max_connections));
    let many = if fleet.pods.len() == 1 { "1 pod".to_owned() } else { format!("{} pods", fleet.pods.len()) };
    format!("{many}, {all} of {most} connections")
}

/// Rows with their columns below each other. `right`: the columns that stand right. A row may end early.
pub(super) fn aligned(rows: &[Vec<String>], right: &[bool]) -> Vec<String> {
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..right.len()).map(|column| wide(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells =
            row.iter().zip(&widths).zip(right).map(|((cell, width), right)| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_below_each_other_and_silent_pods_are_named() {
        let pod = PodStats {
            pod: "a-long-name".to_owned(),
            readiness: "ready".to_owned(),
            connections: 1_234,
            max_connections: 20_000,
            uptime_ms: 61_000,
            version: "1.0".to_owned(),
            ..PodStats::default()
        };
        let silent = vec!["b".to_owned()];
        let fleet = FleetStatus { connections: 1_234, max_connections: 20_000, pods: vec![pod], silent };
        assert_eq!(
            fleet_rows(&fleet),
            [
                "pod          state      connections    most  worker rooms  memory    up  version",
                "a-long-name  ready            1,234  20,000             0     0 B  1:01  1.0",
                "b            no answer",
            ]
        );
        assert_eq!(fleet_sum(&fleet), "1 pod, 1,234 of 20,000 connections");
        assert_eq!(fleet_sum(&FleetStatus::default()), "0 pods, 0 of 0 connections");
    }
}
