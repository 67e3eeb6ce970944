//! Which rooms of a worker are being sent to, and in which turn.
//!
//! Never writes to a connection: that is [`FanOut`]'s. Always holds: a room that has a fan-out in progress stands in the line once, or is
//! being served.

use std::{collections::VecDeque, rc::Rc, sync::Arc, time::Instant};

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::hub::{
    connection::connections::Connections,
    fanout::{
        broadcast::{Broadcast, Excluded},
        room::FanOut,
        room_index::RoomIndex,
        rooms::Rooms,
        stream_effect::FanOutTo,
    },
};

/// A room with at most this many members goes ahead of larger ones: it costs them little and saves it much.
const SMALL: usize = 64;

/// The fan-outs of one worker.
#[derive(Debug, Default)]
pub struct FanOuts {
    /// Rooms with a fan-out in progress, in turn.
    active: VecDeque<RoomIndex>,
    /// Told when a room becomes active outside of the worker's turn: an answer from the log begins a fan-out as well.
    pub activity: Rc<Notify>,
    /// How many fan-outs began or ended.
    count: u64,
}

impl FanOuts {
    /// The room whose turn it is.
    pub fn take(&mut self) -> Option<RoomIndex> {
        self.active.pop_front()
    }

    /// A room's fan-out is not over: it has another turn behind the others.
    pub fn put_back(&mut self, index: RoomIndex) {
        self.active.push_back(index);
    }

    /// Whether none is in progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Begins the fan-out of a room.
    pub fn start(
        &mut self,
        index: RoomIndex,
        broadcast: Arc<Broadcast>,
        to: FanOutTo,
        rooms: &mut Rooms,
        connections: &Connections,
    ) {
        let part = match to {
            FanOutTo::Own => index,
            FanOutTo::Part(part) => part,
        };
        let except = match &broadcast.except {
            None => SmallVec::new(),
            Some(Excluded::User(user)) => connections.users.of(user),
            Some(Excluded::Connection(name)) => connections.find(*name).into_iter().map(|(key, _)| key).collect(),
        };
        let Some(members) = rooms.get_mut(part).map(|room| &mut room.members) else { return };
        let (ends, small) = (members.pin(), members.len() <= SMALL);
        self.count += 1;
        let Some(local) = rooms.get_mut(index) else { return };
        local.fan_out_span = (self.count, u64::MAX);
        local.fan_out = Some(FanOut::new(broadcast, part, ends, except, Instant::now()));
        if small {
            self.active.push_front(index);
        } else {
            self.active.push_back(index);
        }
        self.activity.notify_one();
    }

    /// Ends the fan-out of a room, whose members may move again. Returns what was sent.
    pub fn finish(&mut self, index: RoomIndex, rooms: &mut Rooms, connections: &mut Connections) -> Option<FanOut> {
        let local = rooms.get_mut(index)?;
        let fan_out = local.fan_out.take()?;
        self.count += 1;
        local.fan_out_span.1 = self.count;
        let part = fan_out.part;
        if let Some(local) = rooms.get_mut(part) {
            local.members.unpin(|key, place| connections.set_seat(key, part, place));
        }
        Some(fan_out)
    }
}
