//! What a connection has for each of its rooms, where its transport has something: streams, and what was sent on them.
//!
//! A WebSocket has nothing for a room: all are in one order, and one inflater reads them.

use crate::hub::{
    connection::{Connection, transport::ClientTransport, waker_or_noop},
    fanout::{frame::Frame, room_index::RoomIndex},
};

impl Connection {
    /// Whether its client can read a frame of a room, offered now. Every client can read an independent one.
    #[inline]
    #[must_use]
    pub fn takes(&self, frame: &Frame, room: RoomIndex) -> bool {
        match &self.transport {
            ClientTransport::WebTransport(streams) => streams.takes(frame, room),
            ClientTransport::WebSocket { .. } | ClientTransport::Mailbox(_) => {
                self.window.takes(frame, self.send_queue.is_some())
            }
        }
    }

    /// Whether it can read the frame that follows this one in the chain of a room.
    #[inline]
    #[must_use]
    pub fn holds(&self, frame: &Frame, room: RoomIndex) -> bool {
        match &self.transport {
            ClientTransport::WebTransport(streams) => streams.holds(frame, room),
            ClientTransport::WebSocket { .. } | ClientTransport::Mailbox(_) => self.window.holds(frame),
        }
    }

    /// Makes ready for what a room will say. `false`: the client has no place for it.
    #[must_use]
    pub fn begin_room(&mut self, room: RoomIndex, priority: u8) -> bool {
        match &mut self.transport {
            ClientTransport::WebTransport(streams) => streams.begin_room(room, priority, waker_or_noop(&self.waker)),
            ClientTransport::WebSocket { .. } | ClientTransport::Mailbox(_) => true,
        }
    }

    /// A room's policy has another priority.
    pub fn set_priority(&mut self, room: RoomIndex, priority: u8) {
        if let ClientTransport::WebTransport(streams) = &mut self.transport {
            streams.set_priority(room, priority);
        }
    }

    /// A room will say nothing more.
    pub fn end_room(&mut self, room: RoomIndex) {
        if let ClientTransport::WebTransport(streams) = &mut self.transport {
            streams.end_room(room, waker_or_noop(&self.waker));
        }
    }
}
