//! A simulated worker: rooms' streams and members, connections with real send queues, fan-outs a few members at a time.
//!
//! Stands in for [`Worker`](crate::hub::Worker) and what it does with sockets. Always holds: it asks nothing of the log but by a
//! [`LogRead`] that the script lets go on.

use std::{collections::VecDeque, sync::Arc};

use super::{
    client::Violation,
    connection::{FORMAT, SimulatedConnection, join_of, key},
    log_read::LogRead,
    reads::{answer_for_join, missed},
    world::SimulatedWorld,
};
use crate::{
    hub::{
        connection::{budget::Budget, key::ConnectionKey, offer::OfferOutcome},
        fanout::{
            admission::{Admission, FirstWords},
            broadcast::Broadcast,
            encoder::Encoder,
            members::{Members, Place},
            range::{Range, gap},
            room_index::RoomIndex,
            room_stream::RoomStream,
            stream_effect::{FanOutTo, StreamEffect},
            subscription::{Standing, Subscription},
            walk::Walk,
        },
        membership::pending_join::{JoinAnswer, JoinPurpose, PendingJoin},
        sequencer::update::StreamUpdate,
        worker::queues::{ToSequencer, ToWorker},
    },
    model::{Policy, Position, Reply, Room, Since},
    protocol::{DialectId, Dialects},
};

/// A fan-out in progress.
struct SimulatedFanOut {
    broadcast: Arc<Broadcast>,
    walk: Walk,
}

/// A room.
pub struct SimulatedRoom {
    stream: RoomStream,
    /// Its members.
    pub members: Members,
    fan_out: Option<SimulatedFanOut>,
    /// How many members have fallen behind.
    pub behind: usize,
}

/// A worker.
pub struct SimulatedWorker {
    index: usize,
    rooms: Vec<Option<SimulatedRoom>>,
    unasked: Vec<usize>,
    pub connections: Vec<Option<SimulatedConnection>>,
    pub encoder: Encoder,
    pub budget: Arc<Budget>,
    /// Whether the last read for joins brought all that they missed.
    reads_all: bool,
    /// Clients that the pod closed, to be disconnected.
    pub closed: Vec<usize>,
}

impl SimulatedWorker {
    /// A worker without connections.
    pub fn new(index: usize, budget: &Arc<Budget>) -> Self {
        let encoder = Encoder::new(Arc::new(Dialects::default()), 1, Arc::clone(budget));
        let budget = Arc::clone(budget);
        let (rooms, connections) = (Vec::new(), Vec::new());
        Self { index, rooms, unasked: Vec::new(), connections, encoder, budget, reads_all: false, closed: Vec::new() }
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.unasked.is_empty()
            && self.rooms.iter().flatten().all(|room| room.fan_out.is_none() && room.stream.is_idle())
    }

    pub fn connection(&mut self, client: usize) -> Option<&mut SimulatedConnection> {
        self.connections.get_mut(client)?.as_mut()
    }

    pub fn room(&mut self, at: usize) -> Option<&mut SimulatedRoom> {
        self.rooms.get_mut(at)?.as_mut()
    }

    /// A client's connection is gone.
    pub fn disconnect(&mut self, client: usize, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(client).and_then(Option::take) else { return Ok(()) };
        for subscription in connection.subscriptions {
            self.leave(client, subscription);
        }
        self.ask_sequencers(world);
        Ok(())
    }

    /// A client subscribes.
    pub fn subscribe(
        &mut self,
        client: usize,
        room: usize,
        since: Option<Since>,
        world: &mut SimulatedWorld,
    ) -> Result<(), Violation> {
        let Some(connection) = self.connection(client) else { return Ok(()) };
        let (standing, server_side, dialect, spelling) = (Standing::Joining, false, DialectId::NATIVE, 0);
        let subscription = Subscription { room: RoomIndex::of(room), standing, server_side, dialect, spelling };
        connection.subscriptions.push(subscription);
        if self.rooms.len() <= room {
            self.rooms.resize_with(room + 1, || None);
        }
        if self.rooms[room].is_none() {
            let stream = RoomStream::new(world.rooms[room].clone());
            self.rooms[room] = Some(SimulatedRoom { stream, members: Members::default(), fan_out: None, behind: 0 });
            self.unasked.push(room);
            self.ask_sequencers(world);
        }
        let join = join_of(client, since, JoinPurpose::Subscribe(None));
        self.stream_step(room, world, |stream, policy, effects| stream.join(join, policy, effects))
    }

    /// Asks the sequencers of new rooms where they stand; one whose queue is full is asked again.
    fn ask_sequencers(&mut self, world: &SimulatedWorld) {
        let Self { unasked, rooms, index, .. } = self;
        unasked.retain(|&room| {
            let name = &world.rooms[room];
            rooms[room].is_some() && !world.queues.tell_sequencer(name, ToSequencer::Join(name.clone(), *index))
        });
    }

    /// A client leaves a room.
    pub fn unsubscribe(&mut self, client: usize, room: usize, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let Some(connection) = self.connection(client) else { return Ok(()) };
        let is_of = |subscription: &Subscription| subscription.room == RoomIndex::of(room);
        let Some(at) = connection.subscriptions.iter().position(is_of) else { return Ok(()) };
        let subscription = connection.subscriptions.swap_remove(at);
        let unsubscribed = Reply::Unsubscribed { room: Room::parse(&format!("r{room}")).unwrap(), code: None };
        let mut out = VecDeque::new();
        self.reply(client, &unsubscribed, &mut out);
        self.leave(client, subscription);
        hear(world, client, out)
    }

    fn leave(&mut self, client: usize, subscription: Subscription) {
        let Subscription { room: index, standing, .. } = subscription;
        let at = index.0 as usize;
        let Some(room) = self.room(at) else { return };
        room.stream.cancel_join(key(client), index);
        let moved = match standing {
            Standing::Member(place) => room.members.remove(place).map(|moved| (moved, place)),
            Standing::Behind(_) => {
                room.behind -= 1;
                None
            }
            Standing::Joining => None,
        };
        if let Some((moved, place)) = moved {
            self.move_to(moved, at, place);
        }
    }

    pub fn move_to(&mut self, key: ConnectionKey, room: usize, place: Place) {
        if let Some(connection) = self.connection(key.at())
            && let Some(subscription) = connection.subscription(RoomIndex::of(room))
        {
            subscription.standing = Standing::Member(place);
        }
    }

    /// Gives up rooms without members.
    pub fn sweep(&mut self, world: &mut SimulatedWorld) -> Result<(), Violation> {
        for at in 0..self.rooms.len() {
            let unused = |room: &SimulatedRoom| {
                room.stream.is_unused() && room.members.is_empty() && !room.members.is_pinned() && room.behind == 0
            };
            let name = &world.rooms[at];
            if self.rooms[at].as_ref().is_some_and(unused)
                && !self.unasked.contains(&at)
                && world.queues.tell_sequencer(name, ToSequencer::Leave(name.clone(), self.index))
            {
                self.rooms[at] = None;
            }
        }
        Ok(())
    }

    /// Takes what the sequencers sent.
    pub fn work(&mut self, messages: Vec<ToWorker>, world: &mut SimulatedWorld) -> Result<(), Violation> {
        self.ask_sequencers(world);
        for message in messages {
            let ToWorker::Room(name, update) = message else { continue };
            self.update(world.room_at(&name), update, world)?;
        }
        Ok(())
    }

    fn update(&mut self, at: usize, update: StreamUpdate, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let now = world.now;
        self.stream_step(at, world, |stream, policy, effects| stream.update(update, now, policy, effects))
    }

    /// A read that this worker asked for goes on.
    pub fn read(&mut self, read: LogRead, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let now = world.now;
        match read {
            LogRead::Sequencer { .. } => Ok(()),
            LogRead::Hole { worker, room, since, until, answer: None } => {
                let answer = Some(missed(world, &room, &since, &until));
                world.reads.push(LogRead::Hole { worker, room, since, until, answer });
                Ok(())
            }
            LogRead::Hole { room, since, until, answer: Some(answer), .. } => {
                let at = world.room_at(&room);
                self.stream_step(at, world, |stream, policy, effects| {
                    stream.hole_read((since, until), answer, now, policy, effects);
                })
            }
            LogRead::Join { worker, room, ticket, since, target, answer: None } => {
                let answer = Some(answer_for_join(world, &room, since.as_ref(), &target));
                world.reads.push(LogRead::Join { worker, room, ticket, since, target, answer });
                Ok(())
            }
            LogRead::Join { room, ticket, answer: Some(answer), .. } => {
                let at = world.room_at(&room);
                self.reads_all = matches!(answer, Ok(JoinAnswer::Missed(_)));
                self.stream_step(at, world, |stream, policy, effects| stream.join_read(ticket, answer, policy, effects))
            }
        }
    }

    pub fn stream_step(
        &mut self,
        at: usize,
        world: &mut SimulatedWorld,
        input: impl FnOnce(&mut RoomStream, &Arc<Policy>, &mut Vec<StreamEffect>),
    ) -> Result<(), Violation> {
        let (policy, name) = (Arc::clone(&world.policies[at]), world.rooms[at].clone());
        let Some(room) = self.room(at) else { return Ok(()) };
        let mut effects = Vec::new();
        input(&mut room.stream, &policy, &mut effects);
        for effect in effects {
            match effect {
                StreamEffect::StartFanOut(broadcast, to) => {
                    assert_eq!(to, FanOutTo::Own, "no simulated room shares a log");
                    let Some(room) = self.room(at) else { continue };
                    assert!(room.fan_out.is_none(), "two fan-outs of one stream overlap");
                    room.fan_out = Some(SimulatedFanOut { broadcast, walk: Walk::new(room.members.pin()) });
                }
                StreamEffect::ReadHole { since, until } => {
                    let (worker, room) = (self.index, name.clone());
                    world.reads.push(LogRead::Hole { worker, room, since, until, answer: None });
                }
                StreamEffect::ReadForJoin { ticket, since, target, .. } => {
                    let (worker, room) = (self.index, name.clone());
                    world.reads.push(LogRead::Join { worker, room, ticket, since, target, answer: None });
                }
                StreamEffect::Admit(admission) => self.admit(at, admission, world)?,
                StreamEffect::TurnAway(join, _) => self.turn_away(at, join, world)?,
                // All was read, and more came meanwhile than is held.
                StreamEffect::CountRecoveries(false, _) if self.reads_all => world.holds_overflowed = true,
                StreamEffect::CountRecoveries(..) | StreamEffect::CountDropped => {}
            }
        }
        Ok(())
    }

    fn admit(&mut self, at: usize, admission: Admission, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let first_words = admission.first_words(true);
        let Admission { join, position, recovered, before } = admission;
        let client = join.key.at();
        let subscription = self.connection(client).and_then(|connection| connection.subscription(RoomIndex::of(at)));
        if subscription.is_none_or(|subscription| subscription.standing != Standing::Joining) {
            return Ok(());
        }
        let (room, mut out) = (world.rooms[at].clone(), VecDeque::new());
        match first_words {
            FirstWords::Subscribed => {
                self.reply(client, &Reply::Subscribed { room, position, recovered }, &mut out);
            }
            FirstWords::Gap(after) => {
                let Position { epoch, offset } = position;
                self.reply(client, &gap(&Range { room, epoch, after, offset }), &mut out);
            }
            FirstWords::Nothing | FirstWords::Untold => {}
        }
        hear(world, client, out)?;
        let mut overflow = false;
        for broadcast in before.iter() {
            overflow |= self.offer(client, broadcast, world)? == OfferOutcome::Overflow;
        }
        let Some(room) = self.room(at) else { return Ok(()) };
        let place = room.members.add(key(client), FORMAT);
        self.move_to(key(client), at, place);
        if overflow {
            self.overflow(at, client, world);
        }
        Ok(())
    }

    fn turn_away(&mut self, at: usize, join: PendingJoin, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let client = join.key.at();
        if let (JoinPurpose::CatchUp, Some(_)) = (&join.purpose, &join.since) {
            let Some(position) = self.room(at).and_then(|room| room.stream.position().cloned()) else { return Ok(()) };
            let before = Arc::new([]);
            return self.admit(at, Admission { join, position, recovered: false, before }, world);
        }
        if let Some(connection) = self.connection(client) {
            connection.subscriptions.retain(|subscription| subscription.room != RoomIndex::of(at));
            world.clients[client].refused(at);
        }
        Ok(())
    }

    /// Reaches so many members more.
    pub fn fan_out(&mut self, count: usize, world: &mut SimulatedWorld) -> Result<(), Violation> {
        let mut left = count;
        while left > 0 {
            let Some(at) = self.rooms.iter().position(|room| room.as_ref().is_some_and(|room| room.fan_out.is_some()))
            else {
                return Ok(());
            };
            let Some(room) = self.room(at) else { return Ok(()) };
            let Some(fan_out) = &mut room.fan_out else { return Ok(()) };
            match fan_out.walk.group(room.members.groups()) {
                Some(group) => {
                    let Some(stop) = fan_out.walk.stretch(group, 1) else {
                        fan_out.walk.next_group();
                        continue;
                    };
                    left -= 1;
                    let (member, broadcast) = (fan_out.walk.next(group, stop), Arc::clone(&fan_out.broadcast));
                    if let Some(key) = member
                        && self.offer(key.at(), &broadcast, world)? == OfferOutcome::Overflow
                    {
                        self.overflow(at, key.at(), world);
                    }
                }
                None => {
                    room.fan_out = None;
                    let mut moved = Vec::new();
                    room.members.unpin(|key, place| moved.push((key, place)));
                    moved.into_iter().for_each(|(key, place)| self.move_to(key, at, place));
                    let now = world.now;
                    self.stream_step(at, world, |stream, policy, effects| {
                        stream.fan_out_finished(now, policy, effects)
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn hear(world: &mut SimulatedWorld, client: usize, said: VecDeque<Vec<u8>>) -> Result<(), Violation> {
    said.iter().try_for_each(|bytes| world.clients[client].receive(bytes, &world.logs))
}
