//! How much a client may still ask for: what one that comes again without a connection goes on with.

use super::{Bucket, SentSignals, limits::SessionLimits};

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
    /// Those of a client that has asked for nothing yet.
    #[must_use]
    pub fn new(limits: &SessionLimits, now_ms: u64) -> Self {
        let commands = Bucket::new(limits.told.command_burst, now_ms);
        Self { commands, publishes: None, acks: None, signals: None }
    }
}
