//! Rooms of which a worker's full queue refused something, in a line for each worker.
//!
//! Pure. Never knows what was refused: that is [`WorkerSeats`](super::worker_seats::WorkerSeats)'. Always holds: a room stands at most
//! once in a worker's line, and the one that stands longest comes next.

use std::collections::{HashSet, VecDeque};

use crate::model::Room;

/// A line of rooms for each worker.
#[derive(Debug)]
pub struct WorkerLag(Vec<Line>);

#[derive(Debug, Default)]
struct Line {
    order: VecDeque<Room>,
    rooms: HashSet<Room>,
}

impl WorkerLag {
    /// So many workers that miss nothing.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Line::default()).collect())
    }

    /// Whether no worker missed anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|line| line.order.is_empty())
    }

    /// A worker missed something of a room. One that waits already keeps its place.
    pub fn note(&mut self, worker: usize, room: &Room) {
        let line = &mut self.0[worker];
        if line.rooms.insert(room.clone()) {
            line.order.push_back(room.clone());
        }
    }

    /// Takes the room that waits longest for a worker.
    pub fn next(&mut self, worker: usize) -> Option<Room> {
        let line = &mut self.0[worker];
        let room = line.order.pop_front()?;
        line.rooms.remove(&room);
        if line.order.is_empty() {
            // What a wave needed is given back.
            *line = Line::default();
        }
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_waits_once_and_in_order() {
        let room = |name: &str| Room::parse(name).expect("a name");
        let mut lag = WorkerLag::new(2);
        for name in ["a", "b", "a"] {
            lag.note(1, &room(name));
        }
        assert!(!lag.is_empty());
        assert_eq!(lag.next(0), None, "the other worker missed nothing");
        assert_eq!(lag.next(1), Some(room("a")));
        lag.note(1, &room("a"));
        assert_eq!(lag.next(1), Some(room("b")));
        assert_eq!(lag.next(1), Some(room("a")));
        assert_eq!(lag.next(1), None);
        assert!(lag.is_empty());
    }
}
