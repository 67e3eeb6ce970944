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

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{
    figures::{bytes, clock, count, rate, span},
    outcome::{print, runtime},
};
use crate::{
    config::without_secrets,
    model::{MasterStatus, PodStats, PodStatus, RedisStatus},
    transport::fetch::{Client, Limits},
};

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
  kubectl exec push-0 -- roomcast stats                   in the image, which has no shell

The page /status of the same listener shows it live. It needs no API key, and `internal_metrics = false` switches it off.
Exits 0 if the pod answered, whatever its state, 1 if not, 2 on a wrong command line.";

/// The fleet's answer.
#[derive(Deserialize)]
struct FleetAnswer {
    connections: u64,
    max_connections: u64,
    pods: Vec<PodStats>,
    silent: Vec<String>,
}

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
        let client = Client::new(self.ca.as_deref()).map_err(|error| error.to_string())?;
        let scope = if self.fleet { "?scope=fleet" } else { "" };
        let url = format!("{}/status.json{scope}", self.url.trim_end_matches('/'));
        let shown = without_secrets(&url);
        let request = Request::get(&url).body(Bytes::new());
        let request =
            request.map_err(|error| format!("{shown} cannot be asked: {error}; a URL is http://HOST:PORT"))?;
        let answer = client.fetch(request, &LIMITS).await.map_err(|error| format!("{shown}: {error}"))?;
        if answer.status() != StatusCode::OK {
            let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let why = said["error"]["message"].as_str();
            let why = why.unwrap_or("this is not the internal listener of a pod, or the pod is of an older build");
            return Err(format!("{shown} answers {}: {why}", answer.status()));
        }
        let wrong = |error| format!("{shown} answers something else than a pod's status: {error}");
        if self.json {
            let said: Value = serde_json::from_slice(answer.body()).map_err(wrong)?;
            return Ok(format!("{said}\n"));
        }
        if self.fleet {
            return serde_json::from_slice(answer.body()).map(|fleet| fleet_text(&fleet)).map_err(wrong);
        }
        serde_json::from_slice(answer.body()).map(|status| text(&status)).map_err(wrong)
    }
}

/// A pod for people: a line a subject, its name first.
fn text(status: &PodStatus) -> String {
    let mut out = String::new();
    let mut line = |name: &str, what: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<12} {what}");
    };
    let PodStatus { totals, queues, memory, latency, .. } = status;
    let last = status.moments.last().copied().unwrap_or_default();
    line("pod", format!("{}, roomcast {}, up {}", status.pod, status.version, clock(status.uptime_ms)));
    let why = if status.degraded.is_empty() { String::new() } else { format!(": {}", status.degraded.join(", ")) };
    line("state", format!("{}{why}", status.readiness));
    let most = count(status.max_connections as u64);
    line("connections", format!("{} of {most}", count(status.connections as u64)));
    for carried in &status.carried {
        line("", format!("{} {}: {}", carried.transport, carried.dialect, count(carried.connections)));
    }
    line("rooms", count(status.rooms));
    line("events", format!("{} in, {} delivered a second", rate(last.events), rate(last.deliveries)));
    line(
        "bytes",
        format!(
            "{} a second; {} sent since the start{}",
            bytes(last.sent_bytes),
            bytes(totals.sent_bytes as f64),
            saved(status)
        ),
    );
    line("latency", format!("p50 {}, p99 {}, over the last minute", span(latency.p50_ms), span(latency.p99_ms)));
    let workers: Vec<String> = status.workers.iter().map(|connections| count(*connections)).collect();
    line("cpu", format!("{:.2} cores; connections by worker: {}", last.cores, workers.join(" ")));
    line("memory", format!("{} of {}", bytes(memory.used_bytes as f64), bytes(memory.limit_bytes as f64)));
    let (held, budget) = (bytes(queues.held_bytes as f64), bytes(queues.budget_bytes as f64));
    line("queues", format!("{held} held of {budget}, {} owed", bytes(queues.owed_bytes as f64)));
    let (frames, closed, unread) = (totals.dropped_frames, totals.slow_disconnects, totals.slow_sockets);
    line(
        "slow",
        format!("{} frames dropped, {} connections and {} sockets closed", count(frames), count(closed), count(unread)),
    );
    for (at, limit) in status.limits.iter().filter(|limit| limit.refused > 0 || limit.bites).enumerate() {
        let now = if limit.bites { ", and refuses now" } else { "" };
        line(if at == 0 { "limits" } else { "" }, format!("{} refused {}{now}", limit.name, count(limit.refused)));
    }
    if let Some(redis) = &status.redis {
        redis_lines(redis, &mut line);
    }
    if let Some(going) = status.drain.draining_ms {
        line("drain", format!("for {}", clock(going)));
    }
    if let Some(left) = status.certificate_expires_s {
        line("certificate", format!("{:.0} days left", (left / 86_400.0).floor()));
    }
    out
}

fn saved(status: &PodStatus) -> String {
    let (plain, sent) = (status.totals.plain_bytes as f64, status.totals.sent_bytes as f64);
    if plain > sent { format!(", {:.0} % saved by compression", (1.0 - sent / plain) * 100.0) } else { String::new() }
}

fn redis_lines(redis: &RedisStatus, line: &mut impl FnMut(&str, String)) {
    let missing = if redis.unconfirmed > 0 { format!(", {} missing", redis.unconfirmed) } else { String::new() };
    line("redis", format!("{}; {} subscriptions stand{missing}", redis.state, count(redis.confirmed as u64)));
    for MasterStatus { address, subscribed, commanded, canary_ms, troubles, error } in &redis.masters {
        let canary = canary_ms.map_or_else(|| "none yet".to_owned(), |ms| format!("{:.1} s ago", ms as f64 / 1_000.0));
        let does = |so: bool, yes: &'static str, no: &'static str| if so { yes } else { no };
        let mut what = format!(
            "{address}: messages {}, commands {}, canary {canary}",
            does(*subscribed, "come", "do not come"),
            does(*commanded, "go", "do not go")
        );
        if !troubles.is_empty() {
            let _ = write!(what, "; {}", troubles.join(", "));
        }
        if let Some(error) = error {
            let _ = write!(what, " ({error})");
        }
        line("", what);
    }
}

/// A fleet for people: a line a pod.
fn fleet_text(fleet: &FleetAnswer) -> String {
    let mut out = format!(
        "{:<16}  {:<10}  {:>11}  {:>11}  {:>12}  {:>9}  {:>12}  {}\n",
        "pod", "state", "connections", "most", "worker rooms", "memory", "up", "version"
    );
    for pod in &fleet.pods {
        let rooms: usize = pod.workers.iter().map(|worker| worker.rooms).sum();
        let _ = writeln!(
            out,
            "{:<16}  {:<10}  {:>11}  {:>11}  {:>12}  {:>9}  {:>12}  {}",
            pod.pod,
            pod.readiness,
            count(pod.connections as u64),
            count(pod.max_connections as u64),
            count(rooms as u64),
            bytes(pod.memory.used_bytes as f64),
            clock(pod.uptime_ms),
            pod.version
        );
    }
    for pod in &fleet.silent {
        let _ = writeln!(out, "{pod:<16}  no answer");
    }
    let (all, most) = (count(fleet.connections), count(fleet.max_connections));
    let _ = writeln!(out, "{} pods, {all} of {most} connections", fleet.pods.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CarriedConnections, LimitStatus, StatusMoment};

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
        status.drain.draining_ms = Some(5_000);
        let said = text(&status);
        for line in [
            "state        overloaded: connections, redis\n",
            "limits       connections refused 7, and refuses now\n",
            "             r:1: messages do not come, commands do not go, canary none yet; away (refused)\n",
            "drain        for 0:05\n",
        ] {
            assert!(said.contains(line), "{line}{said}");
        }
    }
}
