//! `roomcast stats`: how a pod is, once, for people and scripts.
//!
//! Owns no figure: it prints what `/status.json` says.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde_json::Value;

use super::{
    fleet_rows::{FleetStatus, fleet_rows, fleet_sum},
    outcome::{print, runtime},
    status_lines::status_lines,
    status_source::StatusSource,
};
use crate::{model::PodStatus, transport::fetch::Limits};

/// The most of an answer, and how long it may take: a fleet is waited for.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_bytes: 4 * 1024 * 1024 };

/// Which pod is asked, and what for.
#[derive(Debug, Args)]
pub struct StatsCommand {
    /// The internal listener of a pod
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9000")]
    url: String,
    /// Of all pods of the fleet, a line each
    #[arg(long)]
    fleet: bool,
    /// Print the answer as it came: JSON
    #[arg(long)]
    json: bool,
    /// Further CA certificates to trust an https URL by (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What `roomcast stats --help` says at its end.
pub const EXAMPLES: &str = "\
Examples:
  roomcast stats                                          the pod on this machine
  roomcast stats http://10.0.0.7:9000 --fleet             its fleet
  roomcast stats --json | jq '.limits[] | select(.bites)'
  kubectl exec POD -- roomcast stats                      in the image, which has no shell

The page /status of the same listener shows it live. It needs no API key, and `internal_metrics = false` switches it off.
Exits 0 if the pod answered, whatever its state, 1 if not, 2 on a wrong command line.";

impl StatsCommand {
    /// Asks and prints.
    pub fn run(&self) -> ExitCode {
        match runtime().and_then(|runtime| runtime.block_on(self.ask())) {
            Ok(text) => print(&text),
            Err(why) => {
                let _ = writeln!(io::stderr(), "{why}");
                ExitCode::FAILURE
            }
        }
    }

    async fn ask(&self) -> Result<String, String> {
        let source = StatusSource::new(&self.url, self.ca.as_deref(), LIMITS)?;
        let body = source.body(if self.fleet { "?scope=fleet" } else { "" }).await?;
        if self.json {
            return source.read::<Value>(&body).map(|said| format!("{said}\n"));
        }
        if self.fleet {
            return source.read::<FleetStatus>(&body).map(|fleet| fleet_text(&fleet));
        }
        source.read::<PodStatus>(&body).map(|status| text(&status))
    }
}

/// A pod for people: a line a subject, its name first.
fn text(status: &PodStatus) -> String {
    status_lines(status).iter().fold(String::new(), |mut out, line| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{:<12} {}", line.subject, line.text);
        out
    })
}

/// A fleet for people: a line a pod.
fn fleet_text(fleet: &FleetStatus) -> String {
    format!("{}\n{}\n", fleet_rows(fleet).join("\n"), fleet_sum(fleet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CarriedConnections, EdgeStatus, LimitStatus, LinkStatus, MasterStatus, RedisStatus, StatusMoment, TreeRole,
        TreeStatus,
    };

    #[test]
    fn a_pod_is_a_line_a_subject_and_what_is_well_is_not_said() {
        let mut status = PodStatus {
            pod: "00ff".to_owned(),
            version: "1.2.3".to_owned(),
            uptime_ms: 61_000,
            readiness: "ready".to_owned(),
            connections: 1_234,
            max_connections: 15_000,
            carried: vec![CarriedConnections {
                transport: "websocket".to_owned(),
                dialect: "native".to_owned(),
                connections: 1_234,
            }],
            moments: vec![StatusMoment { events: 2.5, deliveries: 3_085.0, cores: 0.5, ..StatusMoment::default() }],
            ..PodStatus::default()
        };
        let said = text(&status);
        for line in [
            "pod          00ff, roomcast 1.2.3, up 1:01\n",
            "state        ready\n",
            "connections  1,234 of 15,000\n             websocket native: 1,234\n",
            "events       2.5 in, 3,085 delivered a second\n",
            "latency      p50 –, p99 –, over the last minute\n",
        ] {
            assert!(said.contains(line), "{line}{said}");
        }
        assert!(!said.contains("limits") && !said.contains("redis") && !said.contains("drain"), "{said}");
        status.readiness = "overloaded".to_owned();
        status.degraded = vec!["connections".to_owned(), "redis".to_owned()];
        status.limits = vec![
            LimitStatus { name: "files".to_owned(), ..LimitStatus::default() },
            LimitStatus { name: "connections".to_owned(), refused: 7, bites: true, ..LimitStatus::default() },
        ];
        status.redis = Some(RedisStatus {
            state: "degraded".to_owned(),
            masters: vec![MasterStatus {
                address: "r:1".to_owned(),
                troubles: vec!["away".to_owned()],
                error: Some("refused".to_owned()),
                ..MasterStatus::default()
            }],
            ..RedisStatus::default()
        });
        let link = |pod: Option<&str>| LinkStatus {
            home: "wss://home:9443".to_owned(),
            pod: pod.map(str::to_owned),
            since_ms: 61_000,
            error: Some("refused".to_owned()).filter(|_| pod.is_none()),
            rooms: 1_200,
            lag_ms: Some(40),
            bytes_in: 2_000,
            ..LinkStatus::default()
        };
        status.tree = Some(TreeStatus {
            role: TreeRole::Relay,
            above: vec!["0f".to_owned()],
            links: vec![link(Some("0f")), link(None)],
            edge_links: 3,
            edges: vec![EdgeStatus { pod: "e1".to_owned(), rooms: 7, bytes_out: 5, ..EdgeStatus::default() }],
        });
        status.drain.draining_ms = Some(5_000);
        let said = text(&status);
        for line in [
            "role         relay; above it: 0f\n",
            "             wss://home:9443: up for 1:01, 1,200 rooms, lag 40.0 ms, 2.0 kB in, 0 B out\n",
            "             wss://home:9443: down for 1:01: refused\n",
            "             edge e1: up for 0:00, 7 rooms, 5 B out, 0 B wait, 0 dropped\n",
            "             and 2 links of edges\n",
            "state        overloaded: connections, redis\n",
            "limits       connections refused 7, and refuses now\n",
            "             r:1: messages do not come, commands do not go, canary none yet; away (refused)\n",
            "drain        for 0:05\n",
        ] {
            assert!(said.contains(line), "{line}{said}");
        }
    }
}
