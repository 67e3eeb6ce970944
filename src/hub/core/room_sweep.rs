//! Rooms without members are given up when they have lingered.

use std::time::{Duration, Instant};

use crate::hub::{core::Core, worker::queues::ToSequencer};

impl Core {
    /// How long a room without members stays, so that a reloading page finds it.
    const LINGER: Duration = Duration::from_secs(10);

    /// Gives up the rooms that no client came back to.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let Some(until) = now.checked_sub(Self::LINGER) else { return };
        let Self { rooms, clients, index, .. } = self;
        while let Some(number) = rooms.next_emptied(until) {
            let local = &mut rooms[number];
            let (name, log) = (local.name.clone(), local.shares());
            if !rooms.is_idle(number) {
                rooms[number].empty_since = None;
                rooms.note_if_empty(number, now);
                continue;
            }
            if let Some(log) = log {
                rooms.remove(number);
                if let Some(stream) = rooms[log].stream_mut() {
                    stream.remove_part(&name);
                }
                rooms.note_if_empty(log, now);
                continue;
            }
            if !clients.services.queues.tell_sequencer(&name, ToSequencer::Leave(name.clone(), *index)) {
                rooms[number].empty_since = None;
                rooms.note_if_empty(number, now);
                return;
            }
            rooms.remove(number);
        }
        rooms.shrink_when_empty();
    }
}
