//! A pod that holds nearly as much as it may lets go of what stuck clients hold, those that hold most first.
//!
//! Never takes anything from a client that reads. Always holds: what is left out is told as the room's policy says, and replies that are
//! not read end their connection.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    hub::{
        connection::{key::ConnectionKey, state::State, transport::ClientTransport},
        core::Core,
        fanout::room_index::RoomIndex,
    },
    model::Disconnect,
};

/// A client that has taken nothing for so long is stuck.
const STUCK_MS: u64 = 1_000;

/// Looks at what clients owe their queues to, once the pod holds three quarters of what it may, and frees this worker's part of
/// what is above seven eighths when it holds nearly all of that.
pub(super) fn shed_stuck(core: &mut Core, now_ms: u64) {
    let budget = Arc::clone(&core.services().budget);
    let (held, limit) = (budget.held(), budget.limit());
    if held < limit / 4 * 3 {
        return;
    }
    // Asked before it is too late, so that it is known then which are stuck.
    let mut stuck = stuck_connections(core, now_ms);
    if !budget.is_tight() {
        return;
    }
    stuck.sort_unstable_by(|a, b| b.cmp(a));
    let mut excess = held.saturating_sub(limit / 8 * 7) / core.services().queues.workers().max(1);
    let mut shed = 0;
    for (queued, key) in stuck {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(queued);
        shed += 1;
        shed_one(core, key);
    }
    core.services().metrics.pressures.memory.refused(shed);
}

/// The open connections with a queue that does not move, and how much they are owed.
fn stuck_connections(core: &mut Core, now_ms: u64) -> Vec<(usize, ConnectionKey)> {
    let connections = &mut core.clients.connections;
    let mut stuck = Vec::new();
    for key in connections.keys_from(0, usize::MAX).into_iter().flatten() {
        let Some(connection) = connections.get_mut(key).filter(|connection| connection.state == State::Open) else {
            continue;
        };
        let is_stuck = match &mut connection.transport {
            ClientTransport::WebTransport(streams) => streams.is_stuck(now_ms, STUCK_MS),
            ClientTransport::WebSocket { .. } => {
                connection.send_queue_mut().is_some_and(|queue| queue.is_stuck(now_ms, STUCK_MS))
            }
            ClientTransport::Mailbox(_) => false,
        };
        if is_stuck {
            stuck.push((connection.queued_bytes(), key));
        }
    }
    stuck
}

/// Takes from one connection what its rooms' policies allow, and closes it if what is left are replies.
fn shed_one(core: &mut Core, key: ConnectionKey) {
    let Some(connection) = core.clients.connections.get(key) else { return };
    let rooms: SmallVec<[RoomIndex; 4]> =
        connection.subscriptions.iter().map(|subscription| subscription.room).collect();
    for room in rooms {
        core.overflow(room, key);
    }
    let most = core.clients.settings.queue_limit / 8;
    if core.clients.connections.get(key).is_some_and(|connection| connection.queued_bytes() > most) {
        core.clients.request_close(key, Disconnect::Slow);
    }
}
