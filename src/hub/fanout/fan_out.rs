//! The hot path: one broadcast to a room's members on this worker.
//!
//! Nothing happens per receiver but the TLS record and the write. Runs in slices, so that a large room does not delay
//! a small one. Always holds: each connection that was a member when the fan-out began gets the frame once, or is
//! handed to the slow path; none that is to be closed gets another frame.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::{
    hub::{
        connection::{key::ConnectionKey, offer::OfferOutcome},
        core::{Core, clients::Clients},
        fanout::{broadcast::Content, chain::FrameReach, room::FanOut, room_index::RoomIndex, rooms::Rooms},
    },
    model::Disconnect,
    protocol::WireFormat,
};

/// How long fan-outs may hold the worker before everything else on it has a turn.
pub const SLICE: Duration = Duration::from_micros(500);

/// How many receivers are written to between two looks at the clock.
const STRIDE: usize = 16;

/// The connections of a slice that were not simply written to, each with what became of its frame. `None`: a panic was its.
type Exceptions = Vec<(ConnectionKey, Option<OfferOutcome>)>;

impl Core {
    /// Serves an active room until `deadline`. What its connections' sends have as a consequence is left on the agenda.
    pub(crate) fn serve_room(&mut self, index: RoomIndex, deadline: Instant) {
        let Some(mut fan_out) = self.rooms.get_mut(index).and_then(|room| room.fan_out.take()) else { return };
        let mut exceptions = Vec::new();
        let (rooms, clients, worker) = (&self.rooms, &mut self.clients, self.index);
        // A panic is one connection's: that connection goes, the room goes on behind it.
        let done = catch_unwind(AssertUnwindSafe(|| fan_out.serve(rooms, clients, worker, deadline, &mut exceptions)));
        let done = done.unwrap_or_else(|_| {
            exceptions.extend(fan_out.culprits(rooms).into_iter().map(|key| (key, None)));
            false
        });
        let part = fan_out.part;
        if let Some(room) = self.rooms.get_mut(index) {
            room.fan_out = Some(fan_out);
        }
        for (key, outcome) in exceptions {
            match outcome {
                Some(OfferOutcome::Overflow) => self.overflow(part, key),
                Some(OfferOutcome::Untold) => self.clients.request_close(key, Disconnect::Missed),
                Some(_) => self.clients.connections.wake(key),
                None => self.clients.request_close(key, Disconnect::InternalError),
            }
        }
        if done {
            self.finish_fan_out(index);
        } else {
            self.fan_outs.put_back(index);
        }
    }
}

impl FanOut {
    /// Writes to members until all are served (`true`) or the time is up (`false`).
    fn serve(
        &mut self,
        rooms: &Rooms,
        clients: &mut Clients,
        worker: usize,
        deadline: Instant,
        exceptions: &mut Exceptions,
    ) -> bool {
        let index = self.part;
        let Some(room) = rooms.get(index) else { return true };
        let Clients { connections, encoder, buffers, services, settings, .. } = clients;
        let limit = settings.queue_limit;
        while let Some(group) = self.walk.group(room.members.groups()) {
            let frame = self.frame.get_or_insert_with(|| encoder.frame(&self.broadcast, group.format));
            if frame.bytes().is_empty() {
                // This dialect cannot express it. A gap must not go unnoticed, so a member that cannot be told is closed.
                if matches!(self.broadcast.content, Content::Gap(_)) {
                    exceptions.extend(self.walk.rest(group).map(|key| (key, Some(OfferOutcome::Untold))));
                }
                self.next_group(group.format, worker);
                continue;
            }
            // Only a chain asks which receivers its next frame can follow.
            let chained = frame.window().place.is_some();
            while let Some(stop) = self.walk.stretch(group, STRIDE) {
                // Measured: what a connection needs is rarely in the cache, and fetched one by one it costs a tenth.
                let members = self.walk.ahead(group, stop).filter_map(|key| connections.get(key));
                std::hint::black_box(members.map(|connection| connection.warm()).sum::<usize>());
                while let Some(key) = self.walk.next(group, stop) {
                    if self.except.contains(&key) {
                        continue;
                    }
                    let Some(connection) = connections.get_mut(key) else { continue };
                    let takes = connection.takes(frame, index);
                    let readable = if takes {
                        &*frame
                    } else {
                        self.independent.get_or_insert_with(|| encoder.independent(&self.broadcast, group.format))
                    };
                    self.receivers += 1;
                    self.reach.receivers += 1;
                    self.reach.took += u64::from(takes);
                    self.bytes_plain += readable.plain() as u64;
                    self.bytes_framed += readable.bytes().len() as u64;
                    match connection.offer(readable, index, &mut buffers.sealed, limit, &services.budget) {
                        OfferOutcome::Sent | OfferOutcome::Queued => {}
                        exception => exceptions.push((key, Some(exception))),
                    }
                    if chained {
                        self.reach.stayed += u64::from(connection.holds(frame, index));
                    }
                }
                if Instant::now() >= deadline {
                    return false;
                }
            }
            self.next_group(group.format, worker);
        }
        true
    }

    /// The group in progress is served.
    fn next_group(&mut self, format: WireFormat, worker: usize) {
        if let (Some(window), Some(frame)) = (self.broadcast.window(), &self.frame) {
            window.served(format, worker, frame.window(), self.reach);
        }
        (self.frame, self.independent, self.reach) = (None, None, FrameReach::default());
        self.walk.next_group();
    }

    /// What a panicked slice was serving: one connection, or a whole group whose frame could not be made.
    fn culprits(&mut self, rooms: &Rooms) -> Vec<ConnectionKey> {
        let Some(room) = rooms.get(self.part) else { return Vec::new() };
        let Some(group) = self.walk.group(room.members.groups()) else { return Vec::new() };
        if self.frame.is_some() {
            return self.walk.last(group).into_iter().collect();
        }
        let members = self.walk.rest(group).collect();
        (self.independent, self.reach) = (None, FrameReach::default());
        self.walk.next_group();
        members
    }
}
