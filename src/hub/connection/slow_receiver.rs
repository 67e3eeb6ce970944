//! What becomes of a member that reads slower than its room speaks, by the room's policy.
//!
//! Always holds: the client is told of everything that is left out, or it is closed.

use crate::hub::membership::pending_join::{JoinPurpose, Parts, PendingJoin};
use crate::{
    hub::{ConnectionKey, RoomIndex, Worker, fanout::subscription::Standing},
    model::{Disconnect, Since, SlowReceiver},
};

impl Worker {
    /// A connection owes more than it may, or the pod holds more than it may.
    pub(crate) fn overflow(&mut self, number: RoomIndex, key: ConnectionKey) {
        let Some(local) = self.rooms.get_mut(number) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let tells = self.encoder.tells_gaps(connection.format);
        let slow = match local.policy.slow {
            // There is nothing to come back through.
            SlowReceiver::Gap | SlowReceiver::Conflate if local.policy.history_size == 0 => {
                if tells {
                    SlowReceiver::Gap
                } else {
                    SlowReceiver::Close
                }
            }
            // Nothing is left out where the client could not be told of it.
            SlowReceiver::Gap if !tells => SlowReceiver::Conflate,
            slow => slow,
        };
        match slow {
            SlowReceiver::Close => self.close(key, Disconnect::Slow),
            SlowReceiver::Gap => {
                let keep = if self.services.budget.is_spent() { 0 } else { self.queue_limit / 2 };
                let dropped = connection.drop_oldest(keep);
                let stuck = connection.queued_bytes() > self.queue_limit;
                self.services.metrics.dropped.increment(dropped as u64);
                // What is left are replies: a client that asks and does not read.
                if stuck {
                    self.close(key, Disconnect::Slow);
                }
            }
            SlowReceiver::Conflate => {
                let Some(range) = connection.drop_room(number, &local.name) else { return };
                let Some(subscription) = connection.subscriptions.iter_mut().find(|s| s.room == number) else { return };
                let Standing::Member(place) = subscription.standing else { return };
                subscription.standing = Standing::Behind(Box::new(range));
                local.behind += 1;
                if let Some(moved) = local.members.remove(place) {
                    self.connections.set_seat(moved, number, place);
                }
            }
        }
    }

    /// A connection that had fallen behind has read everything: it comes back through what it missed.
    pub(crate) fn catch_up(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut arrivals = Vec::new();
        for subscription in &mut connection.subscriptions {
            if let Standing::Behind(range) = &subscription.standing {
                let since = Since { epoch: range.epoch.clone(), offset: range.after };
                let (since, parts) = (Some(since), Parts::new());
                let arrival = PendingJoin { key, since, purpose: JoinPurpose::CatchUp, snapshot: None, parts };
                arrivals.push((subscription.room, arrival));
                subscription.standing = Standing::Joining;
            }
        }
        for (number, arrival) in arrivals {
            self.rooms[number].behind -= 1;
            self.join(number, arrival);
        }
    }
}
