//! A connection without a socket of its own: what is said to it waits until requests of its client fetch it.
//!
//! Three kinds of client fetch. A session's comes again and again, in order. An event stream is one request that goes on
//! fetching. A poll is one request that is answered once: it waits until there is something worth an answer, takes no more
//! than one answer holds, and the next poll goes on from its cursor, on any pod. Always holds: the cursor is where
//! the client stands once it has read what was fetched.

use std::{net::SocketAddr, task::Waker};

use crate::{
    hub::fanout::range::Range,
    model::{Cursor, ErrorCode, Position, Reply},
};

/// Where a connection's client comes from that fetches what waits for it, and the fetch that is under way.
#[derive(Debug)]
pub struct Mailbox {
    /// What the requests are called, for the API and the log.
    pub transport: &'static str,
    /// Where the first of them came from.
    pub address: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub tls: bool,
    poll: Option<Waker>,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Session,
    Stream(ReaderPosition),
    Poll {
        place: ReaderPosition,
        /// Something waits that is worth an answer.
        due: bool,
        /// As much waits as an answer holds: what is said from now on is left to the next poll.
        full: bool,
    },
}

/// Where the client stands.
#[derive(Debug, Default)]
struct ReaderPosition {
    cursor: Cursor,
    /// It moved since it was last written down.
    moved: bool,
    /// The client has said which rooms it wants, and from where. What is said of rooms before that is superseded.
    asked: bool,
}

impl Mailbox {
    /// A mailbox that a session fetches from.
    #[must_use]
    pub fn new(transport: &'static str, address: Option<SocketAddr>, tls: bool) -> Self {
        Self { transport, address, tls, poll: None, reading: Reading::Session }
    }

    /// A mailbox that one request fetches from as long as it lasts.
    #[must_use]
    pub fn event_stream(address: Option<SocketAddr>, tls: bool) -> Self {
        Self { reading: Reading::Stream(ReaderPosition::default()), ..Self::new("sse", address, tls) }
    }

    /// A mailbox that one request fetches from once.
    #[must_use]
    pub fn poll(address: Option<SocketAddr>, tls: bool) -> Self {
        let reading = Reading::Poll { place: ReaderPosition::default(), due: false, full: false };
        Self { reading, ..Self::new("poll", address, tls) }
    }

    /// Whether presence shows its client: a poll would come and go with each answer.
    #[must_use]
    pub fn attends(&self) -> bool {
        !matches!(self.reading, Reading::Poll { .. })
    }

    /// The client has said which rooms it wants.
    pub(crate) fn asked(&mut self) {
        if let Some(place) = self.place_mut() {
            place.asked = true;
        }
    }

    /// Remembers the fetch that waits.
    pub(crate) fn wait_with(&mut self, waker: &Waker) {
        self.poll = Some(waker.clone());
    }

    /// Something waits now.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.poll.take() {
            waker.wake();
        }
    }

    /// Whether a room's frame is to be queued. `spent`: what is owed already is as much as may be.
    pub(crate) fn takes_frame(&mut self, spent: bool) -> bool {
        if let Reading::Poll { due, full, .. } = &mut self.reading {
            *due = true;
            *full |= spent;
            return !*full;
        }
        true
    }

    /// Whether the room's policy decides when more is owed than may be. A poll is never slow: what it does not take
    /// stays in the log.
    pub(crate) fn can_be_slow(&self) -> bool {
        !matches!(self.reading, Reading::Poll { .. })
    }

    /// Whether a reply is to be queued; where it says where the client stands, that is noted.
    pub(crate) fn takes_reply(&mut self, reply: &Reply) -> bool {
        let (place, mut due) = match &mut self.reading {
            Reading::Session => return true,
            Reading::Stream(place) => (place, None),
            Reading::Poll { place, due, .. } => (place, Some(due)),
        };
        match reply {
            // It names a connection, which a poll's client does not have; and it polls again anyway.
            Reply::Welcome { .. } | Reply::Reconnect { .. } => return due.is_none(),
            Reply::Subscribed { .. } | Reply::Unsubscribed { .. } if !place.asked => return false,
            Reply::Subscribed { room, position, recovered } => {
                place.set(room, position.clone());
                // Going on where one was is no news.
                if *recovered {
                    due = None;
                }
            }
            // The latter where it was not told yet that it is in the room.
            Reply::Unsubscribed { room, .. } | Reply::Error { code: ErrorCode::Removed, room: Some(room), .. } => {
                place.cursor.forget(room);
                place.moved = true;
            }
            Reply::Gap { room, epoch, offset, .. } if !epoch.is_none() => {
                place.set(room, Position::new(epoch.clone(), *offset))
            }
            _ => {}
        }
        if let Some(due) = due {
            *due = true;
        }
        true
    }

    /// Whether a fetch is answered now. `joining`: some room has not answered yet.
    pub(crate) fn is_due(&self, joining: bool) -> bool {
        match self.reading {
            Reading::Session | Reading::Stream(_) => true,
            Reading::Poll { due, .. } => due && !joining,
        }
    }

    /// Events in this range were fetched.
    pub(crate) fn taken(&mut self, range: Option<&Range>) {
        let range = range.filter(|range| !range.epoch.is_none());
        if let (Some(place), Some(range)) = (self.place_mut(), range) {
            place.set(&range.room, Position::new(range.epoch.clone(), range.offset));
        }
    }

    /// Where the client of an event stream stands, if it moved since this was last asked.
    pub(crate) fn moved(&mut self) -> Option<&Cursor> {
        match &mut self.reading {
            Reading::Stream(place) => std::mem::take(&mut place.moved).then_some(&place.cursor),
            Reading::Session | Reading::Poll { .. } => None,
        }
    }

    /// Where the client stands.
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        match &self.reading {
            Reading::Session => None,
            Reading::Stream(place) | Reading::Poll { place, .. } => Some(&place.cursor),
        }
    }

    fn place_mut(&mut self) -> Option<&mut ReaderPosition> {
        match &mut self.reading {
            Reading::Session => None,
            Reading::Stream(place) | Reading::Poll { place, .. } => Some(place),
        }
    }
}

impl ReaderPosition {
    fn set(&mut self, room: &crate::model::Room, position: Position) {
        self.cursor.set(room, position);
        self.moved = true;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Epoch, Room};

    fn subscribed(room: &str, offset: u64, recovered: bool) -> Reply {
        let position = Position::new(Epoch::new("e"), offset);
        Reply::Subscribed { room: Room::parse(room).unwrap(), position, recovered }
    }

    #[test]
    fn a_poll_is_answered_when_there_is_news_and_all_rooms_have_answered() {
        let mut poll = Mailbox::poll(None, false);
        assert!(!poll.takes_reply(&subscribed("own", 9, false)), "superseded by what is asked for");
        poll.asked();
        assert!(poll.takes_reply(&subscribed("a", 4, true)) && !poll.is_due(false), "no news");
        assert!(poll.takes_frame(false) && !poll.is_due(true) && poll.is_due(false));
        poll.taken(Some(&Range { room: Room::parse("a").unwrap(), epoch: Epoch::new("e"), after: 4, offset: 6 }));
        assert!(poll.takes_reply(&subscribed("b", 1, false)));
        assert_eq!(poll.cursor().unwrap().to_string(), "a=e:6&b=e:1");
        assert!(!poll.takes_frame(true) && !poll.takes_frame(false), "what is full stays full");
        assert!(!poll.takes_reply(&Reply::Reconnect { after_ms: 5 }));
    }

    #[test]
    fn an_event_stream_writes_down_where_it_stands_once() {
        let mut stream = Mailbox::event_stream(None, false);
        stream.asked();
        assert!(stream.takes_reply(&subscribed("a", 4, true)) && stream.is_due(true));
        assert_eq!(stream.moved().map(ToString::to_string).as_deref(), Some("a=e:4"));
        assert!(stream.moved().is_none() && stream.takes_frame(true));
        stream.takes_reply(&Reply::Unsubscribed { room: Room::parse("a").unwrap(), code: None });
        assert_eq!(stream.moved().map(ToString::to_string).as_deref(), Some(""));
        stream.takes_reply(&subscribed("b", 1, false));
        stream.moved();
        let (code, room) = (ErrorCode::Removed, Some(Room::parse("b").unwrap()));
        stream.takes_reply(&Reply::Error { code, message: String::new(), room });
        assert_eq!(stream.moved().map(ToString::to_string).as_deref(), Some(""));
    }
}
