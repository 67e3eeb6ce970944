//! How much a client may still ask for: what one that comes again without a connection goes on with.

use super::{Bucket, SentSignals, Verdict, limits::SessionLimits};

/// How much a client may still ask for.
#[derive(Debug)]
pub struct CommandRates {
    pub(super) commands: Bucket,
    pub(super) publishes: Option<Box<Bucket>>,
    pub(super) acks: Option<Box<Bucket>>,
    /// Of a client that comes again without a connection: what it has sent.
    pub(super) signals: Option<Box<SentSignals>>,
}

impl CommandRates {
    /// A read of a log, or of an archive, is this many times the work of another command.
    pub(super) const HISTORY_COST: u32 = 4;

    /// Those of a client that has asked for nothing yet.
    #[must_use]
    pub fn new(limits: &SessionLimits, now_ms: u64) -> Self {
        let commands = Bucket::new(limits.told.command_burst, now_ms);
        Self { commands, publishes: None, acks: None, signals: None }
    }

    /// Whether it may read something long now.
    pub fn take_read(&mut self, limits: &SessionLimits, now_ms: u64) -> bool {
        let told = &limits.told;
        self.commands.take_for(Self::HISTORY_COST, told.commands_per_second, told.command_burst, now_ms)
            == Verdict::Fine
    }
}
