//! How much a client may still ask for: commands by what they cost, and what has a rate of its own.
//!
//! Pure: takes the time from its caller. Always holds: a bucket that was never needed takes no memory.

use super::{Bucket, SentSignals, Verdict};
use crate::model::{Access, Limits, Policy};

/// The limits that hold for every session of a pod.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// What `welcome` tells.
    pub in_welcome: Limits,
    /// How many pings and pongs a second a connection may send.
    pub control_frames_per_second: u32,
    /// How many signals a second a connection may send, and at once.
    pub signals_per_second: u32,
    /// How many acks a second a connection may send.
    pub acks_per_second: u32,
    /// Which connections may call the backend.
    pub calls: Access,
    /// How many calls a second a connection may make.
    pub calls_per_second: u32,
    /// How many calls a connection may make at once.
    pub call_burst: u32,
    /// Silence after which the pod pings, and which `welcome` tells.
    pub ping_interval_ms: u64,
}

/// How much a client may still ask for.
#[derive(Debug)]
pub struct CommandRates {
    commands: Bucket,
    publishes: Option<Box<Bucket>>,
    acks: Option<Box<Bucket>>,
    calls: Option<Box<Bucket>>,
    /// Of a client that comes again without a connection: what it has sent.
    pub(super) signals: Option<Box<SentSignals>>,
}

impl CommandRates {
    /// How many acks a connection may send at once: as many as a recovery has events.
    const ACK_BURST: u32 = 1_024;

    /// A read of a log, or of an archive, is this many times the work of another command.
    pub(super) const HISTORY_COST: u32 = 4;

    /// So is a list of members, which is shorter, once a client has asked for those of all of its rooms.
    pub(super) const LIST_COST: u32 = 2;

    /// A token is verified, or looked up, and nothing tells beforehand that it is good. A client shows its first ones for the price of a command.
    const TOKEN_COST: u32 = 16;

    /// Those of a client that has asked for nothing yet.
    #[must_use]
    pub fn new(limits: &SessionLimits, now_ms: u64) -> Self {
        let commands = Bucket::new(limits.in_welcome.command_burst, now_ms);
        Self { commands, publishes: None, acks: None, calls: None, signals: None }
    }

    /// Whether a command of this cost is within the rate. One that costs nothing always is.
    pub(super) fn command(&mut self, cost: u32, limits: &SessionLimits, now_ms: u64) -> Verdict {
        match cost {
            0 => Verdict::Fine,
            cost => self.commands.take_for(
                cost,
                limits.in_welcome.commands_per_second,
                limits.in_welcome.command_burst,
                now_ms,
            ),
        }
    }

    /// What a token costs: a client may present four at once, however little it may ask for.
    pub(super) fn token_cost(limits: &SessionLimits) -> u32 {
        Self::TOKEN_COST.min(limits.in_welcome.command_burst / 4).max(1)
    }

    /// Whether it may read something long now.
    pub fn take_read(&mut self, limits: &SessionLimits, now_ms: u64) -> bool {
        self.command(Self::HISTORY_COST, limits, now_ms) == Verdict::Fine
    }

    /// Whether one more publish is within the rate of the room's policy. One bucket a connection, for all its rooms. Who types faster
    /// than that is refused and never closed: a flood of publishes is one of commands.
    pub(super) fn publish(&mut self, policy: &Policy, now_ms: u64) -> bool {
        let bucket = self.publishes.get_or_insert_with(|| Box::new(Bucket::new(policy.publish_burst, now_ms)));
        bucket.take(policy.publish_per_second, policy.publish_burst, now_ms) == Verdict::Fine
    }

    /// Whether one more ack is within the rate.
    pub(super) fn ack(&mut self, limits: &SessionLimits, now_ms: u64) -> Verdict {
        let bucket = self.acks.get_or_insert_with(|| Box::new(Bucket::new(Self::ACK_BURST, now_ms)));
        bucket.take(limits.acks_per_second, Self::ACK_BURST, now_ms)
    }

    /// Whether one more call of the backend is within the rate.
    pub(super) fn call(&mut self, limits: &SessionLimits, now_ms: u64) -> Verdict {
        let bucket = self.calls.get_or_insert_with(|| Box::new(Bucket::new(limits.call_burst, now_ms)));
        bucket.take(limits.calls_per_second, limits.call_burst, now_ms)
    }
}
