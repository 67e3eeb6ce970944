//! Drives the rooms' streams of a worker: hands them what the sequencers and the log say, performs what they want.
//!
//! Never decides where a stream stands: that is [`RoomStream`]'s. Always holds: effects are performed in their order, before
//! the next input of the same kind reaches the stream.

use std::{sync::Arc, time::Instant};

use crate::{
    hub::{
        core::Core,
        fanout::{
            broadcast::Content,
            room::{FanOut, LocalRoom, RoomLog},
            room_index::RoomIndex,
            room_stream::RoomStream,
            stream_effect::StreamEffect,
        },
        sequencer::update::StreamUpdate,
    },
    model::{Policy, Position, Room, Since},
};

impl Core {
    /// A room's sequencer tells something.
    pub fn update_room(&mut self, room: &Room, update: StreamUpdate) {
        let Some(index) = self.rooms.find(room) else { return };
        let now = Instant::now();
        if let StreamUpdate::Broadcast(broadcast) = &update
            && matches!(broadcast.content, Content::Signal(_))
            && !self.may_signal(index)
        {
            self.clients.services.metrics.signals.limited.increment(1);
            return;
        }
        self.step_stream(index, |stream, policy, effects| stream.update(update, now, policy, effects));
    }

    /// Whether the members of a room may be told of one more signal.
    fn may_signal(&mut self, index: RoomIndex) -> bool {
        let members = self.rooms.get(index).map_or(0, |local| local.members.len());
        self.signal_share.take(members, self.clients.timers.now_ms())
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
            StreamEffect::StartFanOut(broadcast, to) => {
                let Self { fan_outs, rooms, clients, .. } = self;
                fan_outs.start(index, broadcast, to, rooms, &clients.connections);
            }
            StreamEffect::ReadHole { since, until } => self.read_hole(index, since, until),
            StreamEffect::ReadForJoin { ticket, since, target, parts } => {
                self.read_for_join(index, ticket, since, target, &parts);
            }
            StreamEffect::Admit(admission) => self.admit(index, admission),
            StreamEffect::TurnAway(join, error) => self.turn_away(index, join, &error),
            StreamEffect::CountRecoveries(recovered, count) => {
                let recoveries = &self.clients.services.metrics.recoveries;
                let outcome = if recovered { &recoveries.recovered } else { &recoveries.gone };
                outcome.increment(count as u64);
            }
            StreamEffect::CountDropped => {
                let members = self.rooms.get(index).map_or(0, |local| local.members.len());
                self.clients.services.metrics.dropped.increment(members as u64);
            }
        }
    }

    /// A room's fan-out has reached every member.
    pub(crate) fn finish_fan_out(&mut self, index: RoomIndex) {
        let Self { fan_outs, rooms, clients, .. } = self;
        let Some(fan_out) = fan_outs.finish(index, rooms, &mut clients.connections) else { return };
        self.count_fan_out(&fan_out);
        let now = Instant::now();
        self.rooms.note_if_empty(index, now);
        if fan_out.part != index {
            self.rooms.note_if_empty(fan_out.part, now);
        }
        drop(fan_out);
        self.step_stream(index, |stream, policy, effects| stream.fan_out_finished(now, policy, effects));
    }

    fn count_fan_out(&self, fan_out: &FanOut) {
        let metrics = &self.clients.services.metrics;
        metrics.frames.increment(fan_out.receivers);
        metrics.sent.add(fan_out.bytes_plain, fan_out.bytes_framed);
        let deliveries = fan_out.receivers * fan_out.broadcast.events() as u64;
        metrics.deliveries.increment(deliveries);
        metrics.workers[self.index].deliveries.increment(deliveries);
        if let (Some(observer), Content::Events(batch) | Content::Unlogged(batch)) =
            (&metrics.observer, &fan_out.broadcast.content)
        {
            observer.batch_delivered(batch, fan_out.receivers);
        }
        if let (Some(traces), Content::Events(batch), false) =
            (&self.clients.services.traces, &fan_out.broadcast.content, fan_out.broadcast.recovered)
        {
            traces.fanned_out(batch, self.index, fan_out.receivers, fan_out.began);
        }
        metrics.fan_out.record(fan_out.began.elapsed());
        if fan_out.broadcast.is_live() {
            metrics.publish_to_write.record(fan_out.broadcast.arrived.elapsed());
        }
    }

    /// Reads what a stream missed, for all members at once.
    fn read_hole(&self, index: RoomIndex, since: Since, until: Position) {
        self.clients.services.metrics.holes.increment(1);
        let Some(local) = self.rooms.get(index) else { return };
        let (services, room, policy) =
            (Arc::clone(&self.clients.services), local.name.clone(), Arc::clone(&local.policy));
        let doorway = self.doorway.clone();
        tokio::task::spawn_local(async move {
            let missed = services.recoveries.missed(&*services.broker, &policy, &room, &since, &until).await;
            doorway.enter(|core| {
                let (now, Some(index)) = (Instant::now(), core.rooms.find(&room)) else { return };
                core.step_stream(index, |stream, policy, effects| {
                    stream.hole_read((since, until), missed, now, policy, effects);
                });
            });
        });
    }
}
