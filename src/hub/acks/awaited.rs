//! Whether a user acknowledges an event that was sent to it alone, for a backend that wants to know.
//!
//! Wakes when the user acknowledges something on this pod, and looks now and then at what the broker keeps, for what came to another one.
//! Always holds: it is said of an event only once one of the user's devices has acknowledged it, or a later one of the same log.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    broker::BrokerError,
    hub::{acks::awaited_acks::AwaitedAcks, worker::services::Services},
    model::{AckMode, Position, Room},
};

/// The shortest time between two looks at what the broker keeps.
const SHORTEST: Duration = Duration::from_millis(100);

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
        let Some(place) = self.0.acks.awaited.take(user) else {
            return Err(BrokerError::Unavailable(format!("{} calls wait for acks already", AwaitedAcks::MAX)));
        };
        let until = Instant::now() + within;
        let has_it = |(at, positions): &(Room, Vec<Position>)| {
            let reaches = |known: &Position| known.epoch == position.epoch && known.offset >= position.offset;
            at == room && positions.iter().any(reaches)
        };
        let bounds = self.0.ack_bounds();
        // What comes to another pod is written within that time.
        let pause = (self.0.config.load().acks.every / 2).max(SHORTEST);
        loop {
            let look_again = (Instant::now() + pause).min(until);
            // What waits on this pod is looked at first: meanwhile it may be kept.
            let mut heard = place.heard.notified();
            if self.0.acks.of(user).iter().any(has_it) || self.0.acks.store.kept(user, bounds).await?.iter().any(has_it)
            {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            while tokio::time::timeout_at(look_again, heard).await.is_ok() {
                heard = place.heard.notified();
                if self.0.acks.of(user).iter().any(has_it) {
                    return Ok(true);
                }
            }
        }
    }
}
