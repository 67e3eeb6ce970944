//! What is counted of the commands to Redis and of what had to be repaired. Made only where Redis is used.

use std::{collections::HashMap, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::script;
use crate::broker::BrokerError;

/// The handles of one pod.
#[derive(Debug)]
pub struct RedisMetrics {
    commands: HashMap<&'static str, Command>,
    /// 1 while something about Redis is not as it should be.
    pub degraded: Gauge,
    /// Rooms whose position in the log was ahead of what had come.
    pub(super) behind: Counter,
    /// Messages that could not be read.
    pub(super) unreadable: Counter,
    /// Rooms whose members were written anew.
    pub(super) resynced: Counter,
}

#[derive(Debug)]
struct Command {
    ok: Counter,
    error: Counter,
    timeout: Counter,
    seconds: Histogram,
}

impl RedisMetrics {
    /// Handles of the recorder that is current.
    #[must_use]
    pub fn new() -> Self {
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
        Self {
            commands: script::NAMES.into_iter().map(|name| (name, command(name))).collect(),
            degraded: gauge!("roomcast_redis_degraded"),
            behind: counter!("roomcast_redis_rooms_behind_total"),
            unreadable: counter!("roomcast_redis_unreadable_total"),
            resynced: counter!("roomcast_redis_presence_resyncs_total"),
        }
    }

    pub(super) fn command<T>(&self, name: &str, took: Duration, result: &Result<T, BrokerError>) {
        let Some(command) = self.commands.get(name) else { return };
        match result {
            Ok(_) => command.ok.increment(1),
            Err(BrokerError::Unknown) => command.timeout.increment(1),
            Err(_) => command.error.increment(1),
        }
        command.seconds.record(took);
    }
}

impl Default for RedisMetrics {
    fn default() -> Self {
        Self::new()
    }
}
