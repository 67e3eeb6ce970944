//! What waits for one master, and what of it goes into the next call.
//!
//! Pure. Always holds: events go in the order in which they came; what waits is bounded by its number and its bytes; an event that
//! comes while no call is under way goes at once.

use std::collections::VecDeque;

/// The most events of a call. A call holds up everything else that its server does.
pub(super) const EVENTS: usize = 64;

/// The most bytes of a call with several events.
pub(super) const BYTES: usize = 256 << 10;

/// A second call begins beside the first when so many events wait: the server need not wait for the way back and forth, and
/// calls stay full.
const WORTH_A_CALL: usize = 8;

/// The most events that wait.
const WAITING: usize = 16_384;

/// And their most bytes.
const WAITING_BYTES: usize = 64 << 20;

/// There is no room for another event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("busy: {events} publishes with {bytes} bytes wait for this Redis server already; ask again later")]
pub(super) struct QueueFullError {
    events: usize,
    bytes: usize,
}

/// Names an event that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct WaitingEvent<T> {
    ticket: Ticket,
    bytes: usize,
    event: T,
}

/// The events that wait for one master.
#[derive(Debug)]
pub(super) struct WaitingEvents<T> {
    queue: VecDeque<WaitingEvent<T>>,
    bytes: usize,
    next: u64,
    /// How many calls are under way, and may be.
    calls: usize,
    most_calls: usize,
}

impl<T> WaitingEvents<T> {
    pub(super) fn new(most_calls: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, next: 0, calls: 0, most_calls }
    }

    /// Takes in an event of so many bytes. Returns whether another call is to begin, which then counts as under way.
    ///
    /// # Errors
    /// [`QueueFullError`].
    pub(super) fn push(&mut self, event: T, bytes: usize) -> Result<(Ticket, bool), QueueFullError> {
        let is_full = self.queue.len() >= WAITING || self.bytes.saturating_add(bytes) > WAITING_BYTES;
        if is_full && !self.queue.is_empty() {
            return Err(QueueFullError { events: self.queue.len(), bytes: self.bytes });
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.bytes += bytes;
        self.queue.push_back(WaitingEvent { ticket, bytes, event });
        let begins = self.calls == 0 || (self.calls < self.most_calls && self.queue.len() >= WORTH_A_CALL);
        self.calls += usize::from(begins);
        Ok((ticket, begins))
    }

    /// The events of the next call of one that is under way. There are none: it is over.
    pub(super) fn take(&mut self) -> Vec<T> {
        let (mut events, mut bytes) = (Vec::new(), 0_usize);
        while let Some(next) = self.queue.front() {
            bytes = bytes.saturating_add(next.bytes);
            if events.len() == EVENTS || (bytes > BYTES && !events.is_empty()) {
                break;
            }
            self.bytes -= next.bytes;
            events.extend(self.queue.pop_front().map(|next| next.event));
        }
        if events.is_empty() {
            self.calls -= 1;
        }
        events
    }

    /// Takes an event back. Returns whether it still waited.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> bool {
        let Ok(at) = self.queue.binary_search_by_key(&ticket, |waiting| waiting.ticket) else { return false };
        if let Some(withdrawn) = self.queue.remove(at) {
            self.bytes -= withdrawn.bytes;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(waiting: &mut WaitingEvents<u32>, events: std::ops::Range<u32>) -> usize {
        events.filter(|n| waiting.push(*n, 100).expect("room for it").1).count()
    }

    #[test]
    fn a_lone_event_goes_at_once_and_others_wait_for_its_call() {
        let mut waiting = WaitingEvents::new(2);
        assert_eq!(pushed(&mut waiting, 0..1), 1);
        assert_eq!(waiting.take(), [0]);
        assert_eq!(pushed(&mut waiting, 1..8), 0);
        assert_eq!(waiting.take(), (1..8).collect::<Vec<_>>());
        assert!(waiting.take().is_empty());
        assert_eq!(pushed(&mut waiting, 8..9), 1);
    }

    #[test]
    fn a_second_call_begins_when_it_is_worth_it_and_no_third() {
        let mut waiting = WaitingEvents::new(2);
        assert_eq!(pushed(&mut waiting, 0..1), 1);
        assert_eq!(waiting.take(), [0]);
        assert_eq!(pushed(&mut waiting, 1..9), 1);
        assert_eq!(waiting.take().len(), 8);
        assert_eq!(pushed(&mut waiting, 9..100), 0);
        let mut alone = WaitingEvents::new(1);
        assert_eq!(pushed(&mut alone, 0..100), 1);
    }

    #[test]
    fn calls_are_bounded_by_events_and_by_bytes_and_keep_the_order() {
        let mut waiting = WaitingEvents::new(1);
        pushed(&mut waiting, 0..100);
        assert_eq!(waiting.take(), (0..64).collect::<Vec<_>>());
        assert_eq!(waiting.take(), (64..100).collect::<Vec<_>>());
        assert!(waiting.take().is_empty());
        for (event, bytes) in [(0, 100_000), (1, 100_000), (2, 100_000), (3, 8 << 20), (4, 1)] {
            waiting.push(event, bytes).expect("room for it");
        }
        assert_eq!(waiting.take(), [0, 1]);
        assert_eq!(waiting.take(), [2]);
        assert_eq!(waiting.take(), [3]);
        assert_eq!(waiting.take(), [4]);
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = WaitingEvents::new(1);
        pushed(&mut waiting, 0..16_384);
        let refused = waiting.push(16_384, 100).expect_err("it is full");
        let words = "busy: 16384 publishes with 1638400 bytes wait for this Redis server already; ask again later";
        assert_eq!(refused.to_string(), words);
        waiting.take();
        assert!(waiting.push(16_384, 100).is_ok());
        let mut waiting = WaitingEvents::new(1);
        assert!(waiting.push(0, 100 << 20).is_ok(), "a single event always has room");
        assert!(waiting.push(1, 1).is_err());
        waiting.take();
        assert!(waiting.push(1, 1).is_ok());
    }

    #[test]
    fn an_event_is_withdrawn_as_long_as_it_waits() {
        let mut waiting = WaitingEvents::new(1);
        let tickets: Vec<_> = (0..5).map(|n| waiting.push(n, 10).expect("room for it").0).collect();
        assert!(waiting.withdraw(tickets[2]));
        assert!(!waiting.withdraw(tickets[2]));
        assert_eq!(waiting.take(), [0, 1, 3, 4]);
        assert!(!waiting.withdraw(tickets[0]));
        assert_eq!(waiting.bytes, 0);
    }
}
