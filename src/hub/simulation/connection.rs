//! A simulated connection: what it reads and what waits for it.

use crate::{
    hub::{
        connection::{key::ConnectionKey, send_queue::SendQueue},
        fanout::{
            room_index::RoomIndex,
            subscription::{Standing, Subscription},
        },
        membership::pending_join::{JoinPurpose, Parts, PendingJoin},
    },
    model::Since,
    protocol::{DialectId, Framing, WireFormat},
};

/// How many bytes may wait for a simulated client.
pub const SEND_QUEUE: usize = 700;

/// How all simulated clients are written to.
pub const FORMAT: WireFormat = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing: Framing::Elements };

/// A connection.
pub struct SimulatedConnection {
    /// What it has not read.
    pub queue: SendQueue,
    /// Whether it reads.
    pub reads: bool,
    /// The rooms that it is in or joins.
    pub subscriptions: Vec<Subscription>,
    /// How many frames in a row were queued behind more than may wait.
    pub beyond: usize,
}

impl SimulatedConnection {
    /// How it stands in a room.
    pub fn subscription(&mut self, room: RoomIndex) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.room == room)
    }

    /// Whether it is on its way into a room: what it gets there ahead of the live stream is bounded by what a recovery may hold.
    pub fn is_joining(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.standing == Standing::Joining)
    }
}

/// The key of a client's connection.
pub fn key(client: usize) -> ConnectionKey {
    ConnectionKey::of(client)
}

/// A client's join.
pub fn join_of(client: usize, since: Option<Since>, purpose: JoinPurpose) -> PendingJoin {
    PendingJoin { key: key(client), since, purpose, snapshot: None, parts: Parts::new() }
}
