//! Rooms without members are given up when they have lingered.

use std::time::{Duration, Instant};

use crate::hub::{ToSequencer, Worker};

impl Worker {
    /// How long a room without members stays, so that a reloading page finds it.
    const LINGER: Duration = Duration::from_secs(10);

    /// Gives up the rooms that no client came back to.
    pub(crate) fn sweep(&mut self, now: Instant) {
        while let Some(&(since, number)) = self.emptied.front()
            && now.duration_since(since) >= Self::LINGER
        {
            self.emptied.pop_front();
            let Some(local) = self.rooms.get(number) else { continue };
            if local.empty_since != Some(since) {
                continue;
            }
            let (name, log) = (local.name.clone(), local.shares());
            if !self.is_idle(number) {
                self.rooms[number].empty_since = None;
                self.note_if_empty(number);
                continue;
            }
            if let Some(log) = log {
                self.rooms.remove(number);
                if let Some(stream) = self.rooms[log].stream_mut() {
                    stream.remove_part(&name);
                }
                self.note_if_empty(log);
                continue;
            }
            if !self.services.queues.tell_sequencer(&name, ToSequencer::Leave(name.clone(), self.index)) {
                self.rooms[number].empty_since = None;
                self.note_if_empty(number);
                return;
            }
            self.rooms.remove(number);
        }
        self.rooms.shrink_when_empty();
    }
}
