//! The hot path: one broadcast to a room's members on this worker.
//!
//! Nothing happens per receiver but the TLS record and the write. Runs in slices, so that a large room does not delay
//! a small one. Always holds: each member of the moment the fan-out began gets the frame once, or is handed to the
//! slow path.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::{
    hub::{
        Content, Worker,
        connection::Offer,
        connection::key::ConnectionKey,
        fanout::{room::Run, room_index::RoomIndex},
    },
    model::Disconnect,
};

/// How long fan-outs may hold the worker before everything else on it has a turn.
pub const SLICE: Duration = Duration::from_micros(500);

/// A room with at most this many members goes ahead of larger ones: it costs them little and saves it much.
pub const SMALL: usize = 64;

/// How many receivers are written to between two looks at the clock.
const STRIDE: usize = 16;

impl Worker {
    /// Serves active rooms for one slice. Returns whether any room is still active.
    pub fn run_slice(&mut self) -> bool {
        let deadline = Instant::now() + SLICE;
        while let Some(number) = self.active.pop_front() {
            self.run_room(number, deadline);
            if Instant::now() >= deadline {
                break;
            }
        }
        !self.active.is_empty()
    }

    fn run_room(&mut self, number: RoomIndex, deadline: Instant) {
        let Some(mut run) = self.rooms.get_mut(number).and_then(|room| room.run.take()) else { return };
        let mut exceptions = Vec::new();
        // A panic is one connection's: that connection goes, the room goes on behind it.
        let done = catch_unwind(AssertUnwindSafe(|| self.fan_out(&mut run, deadline, &mut exceptions)));
        let done = done.unwrap_or_else(|_| {
            exceptions.extend(self.culprits(&mut run).into_iter().map(|key| (key, None)));
            false
        });
        let part = run.part;
        if let Some(room) = self.rooms.get_mut(number) {
            room.run = Some(run);
        }
        for (key, offer) in exceptions {
            match offer {
                Some(Offer::Overflow) => self.overflow(part, key),
                Some(Offer::Untold) => self.close(key, Disconnect::Missed),
                Some(_) => self.connections.wake(key),
                None => self.close(key, Disconnect::InternalError),
            }
        }
        if done {
            self.finish_run(number);
        } else {
            self.active.push_back(number);
        }
    }

    /// Writes to members until all are served (`true`) or the time is up (`false`).
    fn fan_out(
        &mut self,
        run: &mut Run,
        deadline: Instant,
        exceptions: &mut Vec<(ConnectionKey, Option<Offer>)>,
    ) -> bool {
        let number = run.part;
        let Some(room) = self.rooms.get(number) else { return true };
        while let Some(&end) = run.ends.get(run.group) {
            let group = &room.members.groups()[run.group];
            let encoder = &mut self.encoder;
            let frame = run.frame.get_or_insert_with(|| run.broadcast.frame(group.format, encoder));
            if frame.bytes().is_empty() {
                // This dialect cannot express it. A gap must not go unnoticed, so a member that cannot be told is closed.
                if matches!(run.broadcast.content, Content::Gap(_)) {
                    exceptions.extend((run.slot..end).filter_map(|slot| Some((group.at(slot)?, Some(Offer::Untold)))));
                }
                run.frame = None;
                run.group += 1;
                run.slot = 0;
                continue;
            }
            while run.slot < end {
                let stop = (run.slot + STRIDE).min(end);
                // Measured: what a connection needs is rarely in the cache, and fetched one by one it costs a tenth.
                let members = (run.slot..stop).filter_map(|slot| self.connections.get(group.at(slot)?));
                std::hint::black_box(members.map(|connection| connection.warm()).sum::<usize>());
                let before = run.receivers;
                while run.slot < stop {
                    let member = group.at(run.slot);
                    run.slot += 1;
                    let Some(key) = member else { continue };
                    if run.except.contains(&key) {
                        continue;
                    }
                    let Some(connection) = self.connections.get_mut(key) else { continue };
                    run.receivers += 1;
                    let (sealed, budget) = (&mut self.buffers.sealed, &self.services.budget);
                    match connection.offer(frame, number, sealed, self.queue_limit, budget) {
                        Offer::Sent | Offer::Queued => {}
                        exception => exceptions.push((key, Some(exception))),
                    }
                }
                let served = run.receivers - before;
                run.bytes_plain += served * frame.plain() as u64;
                run.bytes_framed += served * frame.bytes().len() as u64;
                if Instant::now() >= deadline {
                    return false;
                }
            }
            run.frame = None;
            run.group += 1;
            run.slot = 0;
        }
        true
    }

    /// What a panicked slice was serving: one connection, or a whole group whose frame could not be made.
    fn culprits(&self, run: &mut Run) -> Vec<ConnectionKey> {
        let Some(room) = self.rooms.get(run.part) else { return Vec::new() };
        let Some(group) = room.members.groups().get(run.group) else { return Vec::new() };
        if run.frame.is_some() {
            return run.slot.checked_sub(1).and_then(|slot| group.at(slot)).into_iter().collect();
        }
        let end = run.ends.get(run.group).copied().unwrap_or(0);
        run.group += 1;
        run.slot = 0;
        (0..end).filter_map(|slot| group.at(slot)).collect()
    }
}
