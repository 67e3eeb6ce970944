//! Whether a user acknowledges an event that was sent to it alone, for a backend that wants to know.
//!
//! Asks what this pod's clients have said, and now and then what the broker keeps. Always holds: it is said of an event only once one of
//! the user's devices has acknowledged it, or a later one of the same log.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    broker::BrokerError,
    hub::{acks::awaited_acks::AwaitedAcks, worker::services::Services},
    model::{AckMode, Position, Room},
};

/// How often it is looked: what comes to another pod is written within `acks.every` anyway.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What waits for acks.
pub struct AckWatch<'a>(pub &'a Services);

impl AckWatch<'_> {
    /// Whether a device of `user` acknowledges the event at `position` of `room` within that time. False at once where the room's policy
    /// keeps no acks.
    ///
    /// # Errors
    /// [`BrokerError`]: the broker does not say, or too many wait already.
    pub async fn is_acknowledged(
        &self,
        user: &str,
        room: &Room,
        position: &Position,
        within: Duration,
    ) -> Result<bool, BrokerError> {
        if self.0.policy(room).acks == AckMode::Off {
            return Ok(false);
        }
        let Some(_place) = self.0.acks.awaited.take() else {
            return Err(BrokerError::Unavailable(format!("{} calls wait for acks already", AwaitedAcks::MAX)));
        };
        let until = Instant::now() + within;
        let has_it = |(at, positions): &(Room, Vec<Position>)| {
            let reaches = |known: &Position| known.epoch == position.epoch && known.offset >= position.offset;
            at == room && positions.iter().any(reaches)
        };
        let bounds = self.0.ack_bounds();
        loop {
            // What waits on this pod is looked at first: meanwhile it may be kept.
            if self.0.acks.of(user).iter().any(has_it) || self.0.acks.kept.kept(user, bounds).await?.iter().any(has_it)
            {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}
