//! A pod's status as lines, a subject each: what `stats` prints and `top` shows.
//!
//! Pure. Owns no figure: it words what `/status.json` says. Always holds: what is wrong is said in words, and its tone only repeats it.

use std::fmt::Write as _;

use super::figures::{bytes, clock, count, counted, rate, span};
use crate::model::{LinkStatus, MasterStatus, PodStatus, RedisStatus, TreeStatus};

/// How a line is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Caution,
    Bad,
}

/// A line: what it is about, and what is said of it.
#[derive(Debug, PartialEq)]
pub(super) struct StatusLine {
    /// Empty: it goes on with the subject before.
    pub subject: &'static str,
    pub text: String,
    pub tone: Tone,
}

/// How a word of `/accepting` is to be taken.
pub(super) fn readiness_tone(word: &str) -> Tone {
    match word {
        "ready" => Tone::Good,
        "degraded" | "starting" | "draining" => Tone::Caution,
        _ => Tone::Bad,
    }
}

/// The pod that was asked.
pub(super) fn status_lines(status: &PodStatus) -> Vec<StatusLine> {
    let mut lines = Vec::new();
    let mut line = |subject, text, tone| lines.push(StatusLine { subject, text, tone });
    let PodStatus { totals, queues, memory, latency, .. } = status;
    let last = status.moments.last().copied().unwrap_or_default();
    let caution = |wrong: bool| if wrong { Tone::Caution } else { Tone::Plain };
    line("pod", format!("{}, roomcast {}, up {}", status.pod, status.version, clock(status.uptime_ms)), Tone::Plain);
    let why = if status.degraded.is_empty() { String::new() } else { format!(": {}", status.degraded.join(", ")) };
    line("state", format!("{}{why}", status.readiness), readiness_tone(&status.readiness));
    let most = count(status.max_connections as u64);
    line("connections", format!("{} of {most}", count(status.connections as u64)), Tone::Plain);
    for carried in &status.carried {
        let text = format!("{} {}: {}", carried.transport, carried.dialect, count(carried.connections));
        line("", text, Tone::Plain);
    }
    line("rooms", count(status.rooms), Tone::Plain);
    line("events", format!("{} in, {} delivered a second", rate(last.events), rate(last.deliveries)), Tone::Plain);
    let sent = bytes(totals.sent_bytes as f64);
    line(
        "bytes",
        format!("{} a second; {sent} sent since the start{}", bytes(last.sent_bytes), saved(status)),
        Tone::Plain,
    );
    let (half, most) = (span(latency.p50_ms), span(latency.p99_ms));
    line("latency", format!("p50 {half}, p99 {most}, over the last minute"), Tone::Plain);
    let workers: Vec<String> = status.workers.iter().map(|connections| count(*connections)).collect();
    line("cpu", format!("{:.2} cores; connections by worker: {}", last.cores, workers.join(" ")), Tone::Plain);
    line(
        "memory",
        format!("{} of {}", bytes(memory.used_bytes as f64), bytes(memory.limit_bytes as f64)),
        caution(is_near(memory.used_bytes, memory.limit_bytes)),
    );
    let (held, budget) = (bytes(queues.held_bytes as f64), bytes(queues.budget_bytes as f64));
    line(
        "queues",
        format!("{held} held of {budget}, {} owed", bytes(queues.owed_bytes as f64)),
        caution(is_near(queues.held_bytes, queues.budget_bytes)),
    );
    let frames = counted(totals.dropped_frames, "frame", "frames");
    let closed = counted(totals.slow_disconnects, "connection", "connections");
    let unread = counted(totals.slow_sockets, "socket", "sockets");
    line("slow", format!("{frames} dropped, {closed} and {unread} closed"), caution(last.dropped > 0.0));
    for (at, limit) in status.limits.iter().filter(|limit| limit.refused > 0 || limit.bites).enumerate() {
        let now = if limit.bites { ", and refuses now" } else { "" };
        let tone = if limit.bites { Tone::Bad } else { Tone::Plain };
        let subject = if at == 0 { "limits" } else { "" };
        line(subject, format!("{} refused {}{now}", limit.name, count(limit.refused)), tone);
    }
    if let Some(redis) = &status.redis {
        redis_lines(redis, &mut line);
    }
    if let Some(tree) = &status.tree {
        tree_lines(tree, &mut line);
    }
    match status.failing_hooks.as_deref() {
        None => {}
        Some([]) => line("hooks", "the backend answers".to_owned(), Tone::Good),
        Some(failing) => line("hooks", format!("the backend does not answer: {}", failing.join(", ")), Tone::Bad),
    }
    if let Some(going) = status.drain.draining_ms {
        line("drain", format!("for {}", clock(going)), Tone::Caution);
    }
    if let Some(left) = status.certificate_expires_s {
        let days = (left / 86_400.0).floor();
        let tone = if days <= 3.0 { Tone::Bad } else { caution(days <= 14.0) };
        let text = if left < 0.0 { "expired: clients refuse it".to_owned() } else { format!("{days:.0} days left") };
        line("certificate", text, tone);
    }
    lines
}

/// Whether four fifths of it are used, as the page at `/status` says it.
fn is_near(used: usize, most: usize) -> bool {
    most > 0 && used >= most / 5 * 4
}

fn saved(status: &PodStatus) -> String {
    let (plain, sent) = (status.totals.plain_bytes as f64, status.totals.sent_bytes as f64);
    if plain > sent { format!(", {:.0} % saved by compression", (1.0 - sent / plain) * 100.0) } else { String::new() }
}

fn redis_lines(redis: &RedisStatus, line: &mut impl FnMut(&'static str, String, Tone)) {
    let missing = if redis.unconfirmed > 0 { format!(", {} missing", redis.unconfirmed) } else { String::new() };
    let tone = if redis.state == "well" { Tone::Good } else { Tone::Bad };
    line("redis", format!("{}; {} subscriptions stand{missing}", redis.state, count(redis.confirmed as u64)), tone);
    for MasterStatus { address, subscribed, commanded, canary_ms, troubles, error } in &redis.masters {
        let canary = canary_ms.map_or_else(|| "none yet".to_owned(), |ms| format!("{:.1} s ago", ms as f64 / 1_000.0));
        let does = |so: bool, yes: &'static str, no: &'static str| if so { yes } else { no };
        let mut what = format!(
            "{address}: messages {}, commands {}, canary {canary}",
            does(*subscribed, "come", "do not come"),
            does(*commanded, "go", "do not go")
        );
        // Writing to a string does not fail.
        if !troubles.is_empty() {
            let _ = write!(what, "; {}", troubles.join(", "));
        }
        if let Some(error) = error {
            let _ = write!(what, " ({error})");
        }
        let well = *subscribed && *commanded && troubles.is_empty() && error.is_none();
        line("", what, if well { Tone::Plain } else { Tone::Bad });
    }
}

fn tree_lines(tree: &TreeStatus, line: &mut impl FnMut(&'static str, String, Tone)) {
    let above = if tree.above.is_empty() { String::new() } else { format!("; above it: {}", tree.above.join(", ")) };
    line("role", format!("{}{above}", tree.role.as_str()), Tone::Plain);
    for link in &tree.links {
        let LinkStatus { home, pod, since_ms, error, rooms, .. } = link;
        let since = clock(*since_ms);
        let lag = span(link.lag_ms.map(|ms| ms as f64));
        let (came, went) = (bytes(link.bytes_in as f64), bytes(link.bytes_out as f64));
        let (what, tone) = match pod {
            Some(_) => {
                let tone = if link.late_ms().is_some() { Tone::Caution } else { Tone::Plain };
                let rooms = counted(*rooms as u64, "room", "rooms");
                (format!("up for {since}, {rooms}, lag {lag}, {came} in, {went} out"), tone)
            }
            None => (format!("down for {since}: {}", error.as_deref().unwrap_or("it is being made")), Tone::Bad),
        };
        line("", format!("{home}: {what}"), tone);
    }
    for edge in &tree.edges {
        let (rooms, out) = (counted(edge.rooms as u64, "room", "rooms"), bytes(edge.bytes_out as f64));
        let waits = bytes(edge.queued_bytes as f64);
        let what = format!("up for {}, {rooms}, {out} out, {waits} wait", clock(edge.since_ms));
        let tone = if edge.dropped > 0 { Tone::Caution } else { Tone::Plain };
        line("", format!("edge {}: {what}, {} dropped", edge.pod, count(edge.dropped)), tone);
    }
    if let Some(more) = tree.edge_links.checked_sub(tree.edges.len()).filter(|more| *more > 0) {
        line("", format!("and {}", counted(more as u64, "link of an edge", "links of edges")), Tone::Plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LimitStatus, MemoryStats};

    fn tone_of(status: &PodStatus, subject: &str) -> Tone {
        status_lines(status).into_iter().find(|line| line.subject == subject).map_or(Tone::Plain, |line| line.tone)
    }

    #[test]
    fn what_is_wrong_has_its_tone() {
        let mut status = PodStatus { readiness: "ready".to_owned(), ..PodStatus::default() };
        assert_eq!(tone_of(&status, "state"), Tone::Good);
        status.readiness = "overloaded".to_owned();
        assert_eq!(tone_of(&status, "state"), Tone::Bad);
        for (days, tone) in [(30.5, Tone::Plain), (14.5, Tone::Caution), (3.5, Tone::Bad), (-1.0, Tone::Bad)] {
            status.certificate_expires_s = Some(days * 86_400.0);
            assert_eq!(tone_of(&status, "certificate"), tone, "{days}");
        }
        status.failing_hooks = Some(Vec::new());
        assert_eq!(tone_of(&status, "hooks"), Tone::Good);
        status.failing_hooks = Some(vec!["connect".to_owned()]);
        assert_eq!(tone_of(&status, "hooks"), Tone::Bad);
        status.failing_hooks = None;
        assert!(status_lines(&status).iter().any(|line| line.text == "expired: clients refuse it"));
        status.limits = vec![LimitStatus { name: "files".to_owned(), refused: 1, ..LimitStatus::default() }];
        assert_eq!(tone_of(&status, "limits"), Tone::Plain);
        status.limits[0].bites = true;
        assert_eq!(tone_of(&status, "limits"), Tone::Bad);
        for (used_bytes, tone) in [(79, Tone::Plain), (80, Tone::Caution)] {
            status.memory = MemoryStats { used_bytes, limit_bytes: 100, from: String::new() };
            assert_eq!(tone_of(&status, "memory"), tone, "{used_bytes}");
        }
        let master = MasterStatus { subscribed: true, commanded: true, ..MasterStatus::default() };
        status.redis = Some(RedisStatus { state: "well".to_owned(), masters: vec![master], ..RedisStatus::default() });
        assert_eq!(tone_of(&status, "redis"), Tone::Good);
        assert_eq!(status_lines(&status).iter().filter(|line| line.tone == Tone::Bad).count(), 3);
    }
}
