//! Members that owe more than they may, and members that come back.
//!
//! Never decides: that is [`slow_receiver`](crate::hub::connection::slow_receiver)'s. Always holds: a member that fell behind is out
//! of the fan-out and still counted in its room, until it is back or has left.

use crate::{
    hub::{
        connection::{
            key::ConnectionKey,
            offer::QueueBounds,
            slow_receiver::{SlowAction, come_back, fall_behind},
        },
        core::Core,
        fanout::room_index::RoomIndex,
    },
    model::Disconnect,
};

impl Core {
    /// A connection owes more than it may, or the pod holds more than it may.
    pub(crate) fn overflow(&mut self, index: RoomIndex, key: ConnectionKey) {
        let Self { clients, rooms, .. } = self;
        let Some(local) = rooms.get_mut(index) else { return };
        let Some(connection) = clients.connections.get_mut(key) else { return };
        let tells_gaps = clients.encoder.tells_gaps(connection.format);
        let bounds = QueueBounds::now(clients.settings.queue_limit, &clients.services.budget);
        match SlowAction::of(&local.policy, tells_gaps, bounds) {
            SlowAction::Close => clients.request_close(key, Disconnect::Slow),
            SlowAction::DropOldest(keep) => {
                let dropped = connection.drop_oldest(keep);
                let stuck = connection.queued_bytes() > bounds.limit;
                clients.services.metrics.dropped.increment(dropped as u64);
                if stuck {
                    clients.request_close(key, Disconnect::Slow);
                }
            }
            SlowAction::FallBehind => {
                let Some(range) = connection.drop_room(index, &local.name) else { return };
                let Some(place) = fall_behind(&mut connection.subscriptions, index, range) else { return };
                local.behind += 1;
                if let Some(moved) = local.members.remove(place) {
                    clients.connections.set_seat(moved, index, place);
                }
            }
        }
    }

    /// A connection has read everything: where it had fallen behind, it comes back through what it missed.
    pub(crate) fn catch_up(&mut self, key: ConnectionKey) {
        let Some(connection) = self.clients.connections.get_mut(key) else { return };
        for (index, join) in come_back(key, &mut connection.subscriptions) {
            self.rooms.change_members(index, |local| local.behind -= 1);
            self.join(index, join);
        }
    }
}
