//! Takes what an event says out of what the broker has, and out of what this pod has read of it.
//!
//! Never tells of it. Always holds: what clients come back to from here on is read anew.

use crate::{
    broker::BrokerError,
    hub::worker::services::Services,
    model::{Deletion, Room},
};

/// Takes an event out. Whether there was such an event.
pub(in crate::hub) async fn take_out(
    services: &Services,
    room: &Room,
    deletion: &Deletion,
) -> Result<bool, BrokerError> {
    let done = services.erasure.delete_event(room, deletion).await?;
    services.recoveries.forget(services.policy(room).log_of(room).unwrap_or(room));
    Ok(done)
}
