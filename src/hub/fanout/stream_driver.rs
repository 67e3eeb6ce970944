//! Drives the rooms' streams of a worker: hands them what the sequencers and the log say, performs what they want.
//!
//! Never decides where a stream stands: that is [`RoomStream`]'s. Always holds: effects are performed in their order, before
//! the next input of the same kind reaches the stream.

use std::{sync::Arc, time::Instant};

use crate::{
    hub::{
        Broadcast, Content, RoomIndex, Worker,
        fanout::{
            fan_out::SMALL,
            room::{LocalRoom, RoomLog, Run},
            room_stream::RoomStream,
            stream_effect::{FanOutTo, StreamEffect},
        },
        sequencer::update::StreamUpdate,
    },
    model::{Policy, Position, Room, Since},
};

impl Worker {
    /// A room's sequencer tells something.
    pub fn update_room(&mut self, room: &Room, update: StreamUpdate) {
        let Some(index) = self.rooms.find(room) else { return };
        let now = Instant::now();
        self.step_stream(index, |stream, policy, effects| stream.update(update, now, policy, effects));
    }

    /// Gives a room's own stream an input, and performs what it wants.
    pub(crate) fn step_stream(
        &mut self,
        index: RoomIndex,
        input: impl FnOnce(&mut RoomStream, &Arc<Policy>, &mut Vec<StreamEffect>),
    ) {
        let mut effects = std::mem::take(&mut self.stream_effects);
        if let Some(LocalRoom { log: RoomLog::Own(stream), policy, .. }) = self.rooms.get_mut(index) {
            input(stream, policy, &mut effects);
        }
        for effect in effects.drain(..) {
            self.perform(index, effect);
        }
        self.stream_effects = effects;
    }

    fn perform(&mut self, index: RoomIndex, effect: StreamEffect) {
        match effect {
            StreamEffect::StartFanOut(broadcast, to) => self.start_fan_out(index, broadcast, to),
            StreamEffect::ReadHole { since, until } => self.read_hole(index, since, until),
            StreamEffect::ReadForJoin { ticket, since, target, parts } => {
                self.read_for_join(index, ticket, since, target, &parts);
            }
            StreamEffect::Admit(admission) => self.admit(index, admission),
            StreamEffect::TurnAway(join, error) => self.turn_away(index, join, &error),
            StreamEffect::CountRecoveries(recovered, count) => {
                let recoveries = &self.services.metrics.recoveries;
                let outcome = if recovered { &recoveries.recovered } else { &recoveries.gone };
                outcome.increment(count as u64);
            }
            StreamEffect::CountDropped => {
                let members = self.rooms.get(index).map_or(0, |local| local.members.len());
                self.services.metrics.dropped.increment(members as u64);
            }
        }
    }

    fn start_fan_out(&mut self, index: RoomIndex, broadcast: Arc<Broadcast>, to: FanOutTo) {
        let part = match to {
            FanOutTo::Own => index,
            FanOutTo::Part(part) => part,
        };
        let except = broadcast.except.as_deref().map(|user| self.connections.users.of(user)).unwrap_or_default();
        let Some(members) = self.rooms.get_mut(part).map(|room| &mut room.members) else { return };
        let (ends, small) = (members.pin(), members.len() <= SMALL);
        self.broadcasts += 1;
        let Some(local) = self.rooms.get_mut(index) else { return };
        local.fan_out_span = (self.broadcasts, u64::MAX);
        local.run = Some(Run::new(broadcast, part, ends, except, Instant::now()));
        if small {
            self.active.push_front(index);
        } else {
            self.active.push_back(index);
        }
        self.activity.notify_one();
    }

    /// A room's fan-out has reached every member.
    pub(crate) fn finish_run(&mut self, index: RoomIndex) {
        let Some(local) = self.rooms.get_mut(index) else { return };
        let Some(run) = local.run.take() else { return };
        self.broadcasts += 1;
        local.fan_out_span.1 = self.broadcasts;
        let part = run.part;
        let mut moved = Vec::new();
        if let Some(local) = self.rooms.get_mut(part) {
            local.members.unpin(|key, place| moved.push((key, place)));
        }
        for (key, place) in moved {
            self.connections.set_seat(key, part, place);
        }
        self.count_run(&run);
        drop(run);
        self.note_if_empty(index);
        if part != index {
            self.note_if_empty(part);
        }
        let now = Instant::now();
        self.step_stream(index, |stream, policy, effects| stream.fan_out_finished(now, policy, effects));
    }

    fn count_run(&self, run: &Run) {
        let metrics = &self.services.metrics;
        metrics.frames.increment(run.receivers);
        metrics.sent.add(run.bytes_plain, run.bytes_framed);
        let deliveries = run.receivers * run.broadcast.events() as u64;
        metrics.deliveries.increment(deliveries);
        metrics.workers[self.index].deliveries.increment(deliveries);
        if let (Some(observer), Content::Events(batch) | Content::Unlogged(batch)) =
            (&metrics.observer, &run.broadcast.content)
        {
            observer.batch_delivered(batch, run.receivers);
        }
        metrics.fan_out.record(run.began.elapsed());
        if run.broadcast.is_live() {
            metrics.publish_to_write.record(run.broadcast.arrived.elapsed());
        }
    }

    /// Reads what a stream missed, for all members at once.
    fn read_hole(&self, index: RoomIndex, since: Since, until: Position) {
        self.services.metrics.holes.increment(1);
        let Some(local) = self.rooms.get(index) else { return };
        let (services, room, policy) = (Arc::clone(&self.services), local.name.clone(), Arc::clone(&local.policy));
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let missed = services.recoveries.missed(&*services.broker, &policy, &room, &since, &until).await;
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            let Some(index) = worker.rooms.find(&room) else { return };
            let now = Instant::now();
            worker.step_stream(index, |stream, policy, effects| {
                stream.hole_read((since, until), missed, now, policy, effects);
            });
        });
    }

    /// The room that has a room's stream: itself, or the one whose log it shares.
    pub(crate) fn stream_of(&self, index: RoomIndex) -> RoomIndex {
        self.rooms.get(index).and_then(LocalRoom::shares).unwrap_or(index)
    }

    /// Where a room's stream stands.
    pub(crate) fn position_of(&self, index: RoomIndex) -> Option<&Position> {
        self.rooms.get(self.stream_of(index))?.stream()?.position()
    }
}
