//! What becomes of a member that reads slower than its room speaks, by the room's policy.
//!
//! Pure: what the connection owes and what the policy says come in, what is to be done goes out. Pods and the simulation ask the
//! same. Always holds: the client is told of everything that is left out, or it is closed.

use crate::{
    hub::{
        connection::{key::ConnectionKey, offer::QueueBounds},
        fanout::{
            members::Place,
            range::Range,
            room_index::RoomIndex,
            subscription::{Standing, Subscription},
        },
        membership::pending_join::{JoinPurpose, Parts, PendingJoin},
        planted::{Fault, planted},
    },
    model::{Policy, Since, SlowReceiver},
};

/// What is to be done with a slow receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowAction {
    /// Close it.
    Close,
    /// Drop the oldest frames until at most so many bytes are owed, and tell a gap. What is left above the limit are replies,
    /// of a client that asks and does not read: then it is closed.
    DropOldest(usize),
    /// Drop the room's frames and keep only where the member stopped: it comes back when it has read the rest.
    FallBehind,
}

impl SlowAction {
    /// What a room's policy says of a member that owes more than it may. `tells_gaps`: whether its dialect has words for a gap.
    #[must_use]
    pub fn of(policy: &Policy, tells_gaps: bool, bounds: QueueBounds) -> Self {
        let drop_oldest = Self::DropOldest(if bounds.spent { 0 } else { bounds.limit / 2 });
        match policy.slow {
            SlowReceiver::Close => Self::Close,
            // There is nothing to come back through.
            SlowReceiver::Gap | SlowReceiver::Conflate if policy.history_size == 0 => {
                if tells_gaps {
                    drop_oldest
                } else {
                    Self::Close
                }
            }
            // Nothing is left out where the client could not be told of it.
            SlowReceiver::Gap if !tells_gaps => Self::FallBehind,
            SlowReceiver::Gap => drop_oldest,
            SlowReceiver::Conflate => Self::FallBehind,
        }
    }
}

/// A member of a room falls behind, from `range` on. Returns the place that it leaves; `None`: it was no member.
pub fn fall_behind(subscriptions: &mut [Subscription], room: RoomIndex, range: Range) -> Option<Place> {
    let subscription = subscriptions.iter_mut().find(|subscription| subscription.room == room)?;
    let Standing::Member(place) = subscription.standing else { return None };
    subscription.standing = Standing::Behind(Box::new(range));
    Some(place)
}

/// A connection has read everything: it comes back to each room in which it fell behind, through what it missed.
pub fn come_back(key: ConnectionKey, subscriptions: &mut [Subscription]) -> Vec<(RoomIndex, PendingJoin)> {
    let mut joins = Vec::new();
    for subscription in subscriptions {
        let Standing::Behind(range) = &subscription.standing else { continue };
        let offset = if planted(Fault::LateCatchUp) { range.offset } else { range.after };
        let since = Some(Since { epoch: range.epoch.clone(), offset });
        let join = PendingJoin { key, since, purpose: JoinPurpose::CatchUp, snapshot: None, parts: Parts::new() };
        joins.push((subscription.room, join));
        subscription.standing = Standing::Joining;
    }
    joins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_that_cannot_be_told_or_caught_up_with() {
        let bounds = QueueBounds { limit: 100, spent: false };
        let of = |slow, history_size, tells| {
            SlowAction::of(&Policy { slow, history_size, ..Policy::default() }, tells, bounds)
        };
        assert_eq!(of(SlowReceiver::Gap, 10, true), SlowAction::DropOldest(50));
        assert_eq!(of(SlowReceiver::Gap, 10, false), SlowAction::FallBehind);
        assert_eq!(of(SlowReceiver::Gap, 0, false), SlowAction::Close);
        assert_eq!(of(SlowReceiver::Conflate, 10, true), SlowAction::FallBehind);
        assert_eq!(of(SlowReceiver::Conflate, 0, true), SlowAction::DropOldest(50));
        assert_eq!(of(SlowReceiver::Conflate, 0, false), SlowAction::Close);
        assert_eq!(of(SlowReceiver::Close, 10, true), SlowAction::Close);
    }

    #[test]
    fn a_pod_without_memory_drops_everything_that_may_be_dropped() {
        let policy = Policy { slow: SlowReceiver::Gap, history_size: 10, ..Policy::default() };
        let action = SlowAction::of(&policy, true, QueueBounds { limit: 100, spent: true });
        assert_eq!(action, SlowAction::DropOldest(0));
    }
}
