//! A simulated connection on a worker: what it reads, what waits for it, what becomes of it when it reads too slowly.

use std::{collections::VecDeque, sync::Arc};

use super::{client::Violation, pod::SimulatedPod, worker::SimulatedWorker};
use crate::{
    hub::{
        Broadcast, ConnectionKey, Frame,
        connection::send_queue::{SendQueue, Waiting},
        fanout::{
            broadcast::{Range, gap},
            members::Place,
        },
        membership::pending_join::{JoinPurpose, Parts, PendingJoin},
        planted::{Fault, planted},
    },
    model::{Reply, Since, SlowReceiver},
    protocol::{DialectId, Framing, WireFormat},
};

/// How many bytes may wait for a simulated client.
const SEND_QUEUE: usize = 700;

/// How all simulated clients are written to.
pub const FORMAT: WireFormat = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing: Framing::Elements };

/// How a connection stands in a room.
#[derive(Debug)]
pub enum Membership {
    /// It is on its way.
    Joining,
    /// It gets every frame.
    Member(Place),
    /// It fell behind, from there on.
    Behind(Range),
}

/// A connection.
pub struct SimulatedConnection {
    /// What it has not read.
    pub queue: SendQueue,
    /// Whether it reads.
    pub reads: bool,
    /// The rooms that it is in or joins.
    pub subscriptions: Vec<(usize, Membership)>,
}

impl SimulatedWorker {
    /// A client connects.
    pub fn connect(&mut self, client: usize) {
        if self.connections.len() <= client {
            self.connections.resize_with(client + 1, || None);
        }
        let queue = SendQueue::new(Arc::clone(&self.budget));
        self.connections[client] = Some(SimulatedConnection { queue, reads: true, subscriptions: Vec::new() });
    }

    /// A client reads no more.
    pub fn stop_reading(&mut self, client: usize) {
        if let Some(connection) = self.connection(client) {
            connection.reads = false;
        }
    }

    /// A client reads what waits, and goes on reading.
    pub fn resume(&mut self, client: usize, pod: &mut SimulatedPod) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else { return Ok(()) };
        connection.reads = true;
        while !connection.queue.is_empty() {
            let mut bytes = Vec::new();
            if let Some((_, range)) = connection.queue.take_gap() {
                if let Some(encoder) = &mut self.encoder {
                    encoder.reply(FORMAT, &gap(&range), None, &mut bytes);
                }
            } else {
                match connection.queue.take() {
                    Some(Waiting::Shared(frame)) => bytes.extend_from_slice(frame.bytes()),
                    Some(Waiting::Private(private)) => bytes.extend_from_slice(&private),
                    None => break,
                }
            }
            pod.clients[client].receive(&bytes, &pod.logs)?;
        }
        self.catch_up(client, pod)
    }

    /// A connection that fell behind has read everything: it comes back through what it missed.
    fn catch_up(&mut self, client: usize, pod: &mut SimulatedPod) -> Result<(), Violation> {
        let Some(connection) = self.connection(client) else { return Ok(()) };
        let mut joins = Vec::new();
        for (room, standing) in &mut connection.subscriptions {
            if let Membership::Behind(range) = standing {
                let offset = if planted(Fault::LateCatchUp) { range.offset } else { range.after };
                joins.push((*room, Since { epoch: range.epoch.clone(), offset }));
                *standing = Membership::Joining;
            }
        }
        for (at, since) in joins {
            let join = join_of(client, Some(since), JoinPurpose::CatchUp);
            if let Some(room) = self.room(at) {
                room.behind -= 1;
            }
            self.stream_step(at, pod, |stream, policy, effects| stream.join(join, policy, effects))?;
        }
        Ok(())
    }

    /// Offers a frame; whether the connection owes too much then.
    pub fn offer(&mut self, client: usize, broadcast: &Broadcast, pod: &mut SimulatedPod) -> Result<bool, Violation> {
        let Some(encoder) = &mut self.encoder else { return Ok(false) };
        let frame: Frame = broadcast.frame(FORMAT, encoder);
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else { return Ok(false) };
        if connection.reads && connection.queue.is_empty() {
            pod.clients[client].receive(frame.bytes(), &pod.logs)?;
            return Ok(false);
        }
        connection.queue.push(Waiting::Shared(frame));
        Ok(connection.queue.queued_bytes() > SEND_QUEUE)
    }

    /// Says something to one connection; where it is read at once, it is left in `read`.
    pub fn reply(&mut self, client: usize, reply: &Reply, read: &mut VecDeque<Vec<u8>>) {
        let Some(encoder) = &mut self.encoder else { return };
        let mut bytes = Vec::new();
        encoder.reply(FORMAT, reply, None, &mut bytes);
        let Some(connection) = self.connections.get_mut(client).and_then(Option::as_mut) else { return };
        if connection.reads && connection.queue.is_empty() {
            read.push_back(bytes);
        } else {
            connection.queue.push(Waiting::Private(bytes.into()));
        }
    }

    pub fn overflow(&mut self, at: usize, client: usize, pod: &SimulatedPod) -> Result<(), Violation> {
        let (slow, name) = (pod.policies[at].slow, pod.rooms[at].clone());
        let Some(connection) = self.connection(client) else { return Ok(()) };
        match slow {
            SlowReceiver::Close => self.closed.push(client),
            SlowReceiver::Gap => {
                connection.queue.drop_oldest(SEND_QUEUE / 2);
                if connection.queue.queued_bytes() > SEND_QUEUE {
                    self.closed.push(client);
                }
            }
            SlowReceiver::Conflate => {
                let Some(range) = connection.queue.drop_room(&name) else { return Ok(()) };
                let Some((_, standing)) = connection.subscriptions.iter_mut().find(|(room, _)| *room == at) else {
                    return Ok(());
                };
                let Membership::Member(place) = std::mem::replace(standing, Membership::Behind(range)) else {
                    return Ok(());
                };
                let Some(room) = self.room(at) else { return Ok(()) };
                room.behind += 1;
                if let Some(moved) = room.members.remove(place) {
                    self.move_to(moved, at, place);
                }
            }
        }
        Ok(())
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
