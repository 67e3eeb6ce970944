//! Tells a room's members of joins and leaves, and of all members where what they were told before does not add up to them.
//!
//! Never knows where a room stands: presence is in no log. Always holds: changes are told in their order, and what a full queue
//! dropped is made good by the whole list the next time.

use std::{rc::Rc, sync::Arc, time::Instant};

use crate::{
    hub::{
        fanout::{
            broadcast::{Broadcast, Content},
            room_window::RoomWindow,
        },
        sequencer::{room_sequencer::RoomSequencer, update::StreamUpdate},
        worker::{queues::ToWorker, services::Services},
    },
    model::{Member, Policy, PresenceList, Room},
    protocol::PresenceChange,
};

/// Above this many members only counts are told of joins and leaves.
const PRESENCE_NAMES_UP_TO: usize = 200;

/// Where counts were told, names are told again from so few members on: less than above, so that a room at the border is not told
/// whole lists all the time.
const PRESENCE_NAMES_AGAIN: usize = 190;

/// Whether the lists that a room's members keep are no good any more. Locked while one change of presence is told, so that
/// changes are told in their order.
pub(super) type ListLost = Rc<tokio::sync::Mutex<bool>>;

/// How a room's members are told something now.
pub(super) struct RoomNow {
    policy: Arc<Policy>,
    window: Option<Arc<RoomWindow>>,
}

impl RoomNow {
    /// How those of a sequencer are.
    pub(super) fn of(sequencer: &RoomSequencer) -> Self {
        Self { policy: Arc::clone(sequencer.policy()), window: sequencer.window().cloned() }
    }
}

/// Tells a room's members of all of them, because what they were told before does not add up to that.
pub(super) fn announce_list(
    services: &Arc<Services>,
    room: &Room,
    told_by: RoomNow,
    workers: Vec<usize>,
    lost: ListLost,
) {
    let (services, room) = (Arc::clone(services), room.clone());
    tokio::task::spawn_local(async move {
        *lost.lock().await = true;
        announce(&services, &room, told_by, workers, (Vec::new(), Vec::new()), lost);
    });
}

/// Tells a room's members of joins and leaves, with the number of members as of now; of all members where what they were told before
/// does not add up to them.
pub(super) fn announce(
    services: &Arc<Services>,
    room: &Room,
    told_by: RoomNow,
    workers: Vec<usize>,
    (joined, left): (Vec<Member>, Vec<Member>),
    lost: ListLost,
) {
    let (services, room, now) = (Arc::clone(services), room.clone(), Instant::now());
    tokio::task::spawn_local(async move {
        let mut lost = lost.lock().await;
        let wanted = if *lost { PRESENCE_NAMES_AGAIN } else { 0 };
        let Ok(list) = services.presence.list(&room, wanted).await else {
            *lost = true;
            return;
        };
        let PresenceList { members, total } = list;
        let mut change = PresenceChange { room: room.clone(), joined, left, members: Vec::new(), total };
        if *lost && total <= PRESENCE_NAMES_AGAIN {
            (change.joined, change.left, change.members) = (Vec::new(), Vec::new(), members);
            *lost = false;
        } else if *lost || total > PRESENCE_NAMES_UP_TO {
            (change.joined, change.left) = (Vec::new(), Vec::new());
            *lost = true;
        }
        let broadcast =
            Broadcast::new(Content::Presence(change), told_by.policy, now).in_window(told_by.window.as_ref());
        let update = StreamUpdate::Broadcast(Arc::new(broadcast));
        for worker in workers {
            // No offset, no promise: a full queue drops it, and the whole list is told next time.
            *lost |= !services.queues.tell_worker(worker, ToWorker::Room(room.clone(), update.clone()));
        }
    });
}
