//! Rooms without members are given up when they have lingered.
//!
//! Always holds: a step gives up a bounded number, because a wave of rooms that clients made up lingers out in one moment, and broadcasts
//! would wait for all of them here and in the sequencers' queues.

use std::time::{Duration, Instant};

use crate::hub::{core::Core, worker::queues::ToSequencer};

impl Core {
    /// How long a room without members stays, so that a reloading page finds it.
    const LINGER: Duration = Duration::from_secs(10);

    /// So many rooms may linger on a worker, however few connections the pod may have.
    const FEWEST_LINGERING: usize = 1_024;

    /// The most rooms that one step gives up.
    const STEP: usize = 64;

    /// Gives up some of the rooms that no client came back to. Returns whether more may be due.
    pub(crate) fn sweep(&mut self, now: Instant) -> bool {
        let Some(until) = now.checked_sub(Self::LINGER) else { return false };
        let Self { rooms, clients, index: worker, .. } = self;
        // As many as there may be connections, each in a room of its own, can all come back. More were made up.
        let share = clients.settings.config.max_connections / clients.services.queues.workers();
        let most = share.max(Self::FEWEST_LINGERING);
        for _ in 0..Self::STEP {
            let Some(index) = rooms.next_emptied(until, most) else {
                rooms.shrink_when_empty();
                return false;
            };
            let local = &mut rooms[index];
            let (name, log) = (local.name.clone(), local.shares());
            if !rooms.is_idle(index) {
                rooms[index].empty_since = None;
                rooms.note_if_empty(index, now);
                continue;
            }
            if let Some(log) = log {
                rooms.remove(index);
                if let Some(stream) = rooms[log].stream_mut() {
                    stream.remove_part(&name);
                }
                rooms.note_if_empty(log, now);
                continue;
            }
            if !clients.services.queues.tell_sequencer(&name, ToSequencer::Leave(name.clone(), *worker)) {
                rooms[index].empty_since = None;
                rooms.note_if_empty(index, now);
                // The sequencer's queue is full: the next tick goes on.
                return false;
            }
            rooms.remove(index);
        }
        true
    }
}
