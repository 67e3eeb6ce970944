//! The commands to Redis, and what had to be repaired of what went by.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// The commands that are counted: the names of the scripts, in their order there.
pub const COMMANDS: [&str; 29] = [
    "publish",
    "history",
    "retained",
    "positions",
    "standings",
    "keep_acks",
    "untold_acks",
    "kept_acks",
    "user_places",
    "members",
    "pods",
    "list",
    "evict",
    "lease",
    "control",
    "mark",
    "claim",
    "value",
    "read_user",
    "write_user",
    "user_pods",
    "users_of",
    "release_users",
    "forget",
    "delete_event",
    "note_author",
    "trim_log",
    "sweep",
    "look_up",
];

/// Why Redis cannot be used, or not all of it: the words of the broker's troubles.
pub const TROUBLES: [&str; 11] =
    ["away", "login", "deaf", "full", "read_only", "disk", "replicas", "loading", "busy", "cluster", "rights"];

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandResult {
    /// Carried out.
    Ok,
    /// Refused, or the server could not be reached.
    Error,
    /// No answer in time.
    Timeout,
}

/// The commands to Redis; only a pod with Redis has them.
#[derive(Debug)]
pub struct RedisCommands {
    commands: HashMap<&'static str, Command>,
    /// 1 while something about Redis is not as it should be.
    pub degraded: Gauge,
    /// For each reason, 1 while it is why.
    troubles: Vec<(&'static str, Gauge)>,
    /// Rooms whose log was ahead of what had come.
    pub behind: Counter,
    /// Messages and answers that could not be read.
    pub unreadable: Counter,
    /// Rooms whose members were written anew.
    pub resyncs: Counter,
    /// Plain messages of other publishers.
    pub legacy: LegacyMessages,
}

/// Plain messages of other publishers, by what became of them.
#[derive(Debug)]
pub struct LegacyMessages {
    /// Became events.
    pub published: Counter,
    /// Were delivered as they came, to rooms that keep nothing.
    pub passed: Counter,
    /// Are no event by their description.
    pub unfit: Counter,
    /// Should have become events, but Redis did not take them, or too much waited.
    pub failed: Counter,
    /// Were another pod's to take in.
    pub ignored: Counter,
    /// 1 on the pod that takes them in.
    lease: Gauge,
    holds: AtomicBool,
}

impl LegacyMessages {
    /// Shows whether this pod takes them in.
    pub fn show_lease(&self, holds: bool) {
        self.holds.store(holds, Ordering::Relaxed);
        self.lease.set(if holds { 1.0 } else { 0.0 });
    }

    /// Whether this pod took them in when that was shown last.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Command {
    ok: Counter,
    error: Counter,
    timeout: Counter,
    seconds: Histogram,
}

impl RedisCommands {
    /// Handles that count nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            commands: HashMap::new(),
            degraded: Gauge::noop(),
            troubles: Vec::new(),
            behind: Counter::noop(),
            unreadable: Counter::noop(),
            resyncs: Counter::noop(),
            legacy: LegacyMessages {
                published: Counter::noop(),
                passed: Counter::noop(),
                unfit: Counter::noop(),
                failed: Counter::noop(),
                ignored: Counter::noop(),
                lease: Gauge::noop(),
                holds: AtomicBool::new(false),
            },
        }
    }

    /// Shows what is wrong with Redis, by the words of [`crate::broker::redis::Trouble`].
    pub fn show_troubles(&self, is_wrong: impl Fn(&str) -> bool) {
        for (reason, gauge) in &self.troubles {
            gauge.set(if is_wrong(reason) { 1.0 } else { 0.0 });
        }
    }

    /// Counts a command that took so long, its retries included. Names that are no command's are not counted.
    pub fn count(&self, name: &str, took: Duration, result: CommandResult) {
        let Some(command) = self.commands.get(name) else { return };
        match result {
            CommandResult::Ok => command.ok.increment(1),
            CommandResult::Error => command.error.increment(1),
            CommandResult::Timeout => command.timeout.increment(1),
        }
        command.seconds.record(took);
    }
}

impl Default for RedisCommands {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        let command = |name: &'static str| {
            let count =
                |result: &'static str| counter!("roomcast_redis_commands_total", "command" => name, "result" => result);
            Command {
                ok: count("ok"),
                error: count("error"),
                timeout: count("timeout"),
                seconds: histogram!("roomcast_redis_command_seconds", "command" => name),
            }
        };
        let legacy = |result: &'static str| counter!("roomcast_legacy_messages_total", "result" => result);
        Self {
            commands: COMMANDS.into_iter().map(|name| (name, command(name))).collect(),
            degraded: gauge!("roomcast_redis_degraded"),
            troubles: TROUBLES
                .into_iter()
                .map(|reason| (reason, gauge!("roomcast_redis_trouble", "reason" => reason)))
                .collect(),
            behind: counter!("roomcast_redis_rooms_behind_total"),
            unreadable: counter!("roomcast_redis_unreadable_total"),
            resyncs: counter!("roomcast_redis_presence_resyncs_total"),
            legacy: LegacyMessages {
                published: legacy("published"),
                passed: legacy("passed"),
                unfit: legacy("unfit"),
                failed: legacy("failed"),
                ignored: legacy("ignored"),
                lease: gauge!("roomcast_legacy_lease"),
                holds: AtomicBool::new(false),
            },
        }
    }
}
