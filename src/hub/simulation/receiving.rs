//! What simulated clients read, and what becomes of those that do not.
//!
//! Decides nothing: when a queue is too full and what follows is the hub's own
//! [`slow_receiver`](crate::hub::connection::slow_receiver) and [`offer`](crate::hub::connection::offer). Always holds: a member's
//! queue does not go on growing beyond its limit.

use std::{collections::VecDeque, sync::Arc};

use super::{
    client::Violation,
    connection::{FORMAT, SEND_QUEUE, SimulatedConnection, key},
    script::ROOMS,
    worker::SimulatedWorker,
    world::SimulatedWorld,
};
use crate::{
    hub::{
        connection::{
            offer::{OfferOutcome, QueueBounds},
            reply_bounds::ReplyBounds,
            send_queue::{SendQueue, Waiting},
            slow_receiver::{SlowAction, come_back, fall_behind},
        },
        fanout::{broadcast::Broadcast, range::gap, room_index::RoomIndex},
    },
    model::Reply,
};

impl SimulatedWorker {
    /// A client connects.
    pub fn connect(&mut self, client: usize) {
        if self.connections.len() <= client {
            self.connections.resize_with(client + 1, || None);
        }
        let queue = SendQueue::new(Arc::clone(&self.budget));
        self.connections[client] =
            Some(SimulatedConnection { queue, reads: true, subscriptions: Vec::new(), beyond: 0 });
    }

    /// A client reads no more.
    pub fn stop_reading(&mut self, client: usize) {
        if let Some(connection) = self.connection(client) {
            connection.reads = false;
        }
    }

    /// A client reads what waits, and goes on reading.
    pub fn resume(&mut self, client: usize, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else { return Ok(()) };
        connection.reads = true;
        while !connection.queue.is_empty() {
            let mut bytes = Vec::new();
            if let Some((_, range)) = connection.queue.take_gap() {
                self.encoder.reply(FORMAT, &gap(&range), None, &mut bytes);
            } else {
                match connection.queue.take() {
                    Some(Waiting::Shared(frame)) => bytes.extend_from_slice(frame.bytes()),
                    Some(Waiting::Private(private)) => bytes.extend_from_slice(&private),
                    None => break,
                }
            }
            world.clients[client].receive(&bytes, &world.logs)?;
        }
        for (room, join) in come_back(key(client), &mut connection.subscriptions) {
            let at = room.0 as usize;
            if let Some(room) = self.room(at) {
                room.behind -= 1;
            }
            self.stream_step(at, world, |stream, policy, effects| stream.join(join, policy, effects))?;
        }
        Ok(())
    }

    /// Offers a frame.
    pub fn offer(
        &mut self,
        client: usize,
        broadcast: &Broadcast,
        world: &mut SimulatedWorld,
    ) -> Result<OfferOutcome, Violation> {
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else {
            return Ok(OfferOutcome::Failed);
        };
        let frame = self.encoder.frame(broadcast, FORMAT);
        if connection.reads && connection.queue.is_empty() {
            world.clients[client].receive(frame.bytes(), &world.logs)?;
            return Ok(OfferOutcome::Sent);
        }
        // One frame may pass the limit. The next one is noticed, and after it less waits, or the client is closed.
        let before = connection.queue.queued_bytes();
        let counts = before > SEND_QUEUE && !connection.is_joining() && !self.closed.contains(&client);
        connection.beyond = if counts { connection.beyond + 1 } else { 0 };
        if connection.beyond > ROOMS {
            return Err(Violation(format!("{before} bytes wait for client {client}, and more and more is queued")));
        }
        Ok(connection.queue.offer(&frame, QueueBounds::now(SEND_QUEUE, &self.budget)))
    }

    /// Says something to one connection; where it is read at once, it is left in `read`.
    pub fn reply(&mut self, client: usize, reply: &Reply, read: &mut VecDeque<Vec<u8>>) {
        let mut bytes = Vec::new();
        self.encoder.reply(FORMAT, reply, None, &mut bytes);
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else { return };
        if connection.reads && connection.queue.is_empty() {
            read.push_back(bytes);
        } else {
            connection.queue.push(Waiting::Private(bytes.into()));
            if ReplyBounds::now(SEND_QUEUE, &self.budget).are_flooded(connection.queue.queued_bytes()) {
                self.closed.push(client);
            }
        }
    }

    /// A connection owes more than it may.
    pub fn overflow(&mut self, at: usize, client: usize, world: &SimulatedWorld) {
        let bounds = QueueBounds::now(SEND_QUEUE, &self.budget);
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else { return };
        match SlowAction::of(&world.policies[at], true, bounds) {
            SlowAction::Close => self.closed.push(client),
            SlowAction::DropOldest(keep) => {
                connection.queue.drop_oldest(keep);
                if connection.queue.queued_bytes() > bounds.limit {
                    self.closed.push(client);
                }
            }
            SlowAction::FallBehind => {
                let Some(range) = connection.queue.drop_room(&world.rooms[at]) else { return };
                let place = fall_behind(&mut connection.subscriptions, RoomIndex::of(at), range);
                let Some((place, room)) = place.zip(self.room(at)) else { return };
                room.behind += 1;
                if let Some(moved) = room.members.remove(place) {
                    self.move_to(moved, at, place);
                }
            }
        }
    }
}
