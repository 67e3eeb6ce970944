//! The streams of one WebTransport session: one of commands and replies, and one for each room.
//!
//! Each stream has its own queue, so that what one room's stream does not take holds up no other. What QUIC takes counts
//! as what a kernel's send buffer takes. Never waits and has no task: a write is polled once, and the connection's own
//! task is told when there is space. Always holds: a message begun on a stream is finished before anything else leaves on
//! it; gaps leave before any later frame of their room; replies leave before rooms, and rooms by their priority.

use std::{
    cmp::Reverse,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use smallvec::SmallVec;

use crate::{
    hub::{
        connection::{
            budget::Budget,
            offer::{OfferOutcome, QueueBounds},
            queue_account::QueueAccount,
            stream::Stream,
        },
        fanout::{frame::Frame, range::Range, room_index::RoomIndex},
    },
    model::{Disconnect, Room},
    transport::{
        socket::{Buffers, Read},
        webtransport::{self, MessageReader, STREAM_END, Session},
    },
};

/// The first byte of a room's stream: what follows is messages as they are.
const PLAIN: u8 = 0;
/// Or a raw deflate stream of them.
const DEFLATE: u8 = 1;

/// Replies leave before any room: above every policy's priority.
const REPLIES: i32 = 100;

/// The streams of one session. Boxed by its connection.
pub struct Streams {
    session: Session,
    commands: RecvStream,
    /// What is incomplete of a command.
    pub reader: MessageReader,
    replies: Stream,
    /// Which room's messages leave on which of `streams`. Short, and walked: a connection is in few rooms.
    seats: SmallVec<[(RoomIndex, usize); 1]>,
    /// A hole where a stream has ended.
    streams: SmallVec<[Option<Stream>; 1]>,
    deflate: bool,
    account: QueueAccount,
    /// Since when QUIC has taken nothing of what waits, as far as that was looked at, in milliseconds since the worker began.
    stuck_ms: Option<u64>,
}

impl Streams {
    /// The streams of a session whose handshake is over.
    #[must_use]
    pub fn new(
        session: Session,
        (send, commands): (SendStream, RecvStream),
        deflate: bool,
        budget: &Arc<Budget>,
    ) -> Self {
        // It was just opened and is not closed.
        let _ = send.set_priority(REPLIES);
        Self {
            session,
            commands,
            reader: MessageReader::default(),
            replies: Stream::new(send, u8::MAX),
            seats: SmallVec::new(),
            streams: SmallVec::new(),
            deflate,
            account: QueueAccount::new(Arc::clone(budget)),
            stuck_ms: None,
        }
    }

    /// Where the client is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.session.address()
    }

    /// The bytes that wait.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.account.queued_bytes()
    }

    /// Whether something waits of which QUIC has taken nothing for `time_ms`, since this was first asked.
    pub fn is_stuck(&mut self, now_ms: u64, time_ms: u64) -> bool {
        if self.queued_bytes() == 0 {
            self.stuck_ms = None;
            return false;
        }
        now_ms.saturating_sub(*self.stuck_ms.get_or_insert(now_ms)) >= time_ms
    }

    /// Whether a room has a stream.
    #[must_use]
    pub fn has(&self, room: RoomIndex) -> bool {
        self.seats.iter().any(|seat| seat.0 == room)
    }

    /// Gives a room a stream of its own; where the client allows no more, it shares the newest. `false`: there is none.
    #[must_use]
    pub fn begin_room(&mut self, room: RoomIndex, priority: u8, waker: &Waker) -> bool {
        let mut head = Vec::with_capacity(8);
        let Some(send) = self.session.open(&mut head) else {
            let newest = self.streams.iter().rposition(|stream| stream.as_ref().is_some_and(|stream| !stream.ending));
            let Some(at) = newest else { return false };
            self.seats.push((room, at));
            return true;
        };
        head.push(if self.deflate { DEFLATE } else { PLAIN });
        let _ = send.set_priority(priority.into());
        let mut stream = Stream::new(send, priority);
        // A lost connection shows at its next write.
        let _ = stream.say(head.into(), &mut self.account, waker);
        let hole = self.streams.iter().position(Option::is_none);
        let at = hole.unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        self.streams[at] = Some(stream);
        self.seats.push((room, at));
        true
    }

    /// A room's policy has another priority. Rooms that share a stream have that of the last one that was set.
    pub fn set_priority(&mut self, room: RoomIndex, priority: u8) {
        let Some(&(_, at)) = self.seats.iter().find(|seat| seat.0 == room) else { return };
        let Some(Some(stream)) = self.streams.get_mut(at) else { return };
        stream.priority = priority;
        // It fails where the stream has ended, and then it does not matter.
        let _ = stream.send.set_priority(priority.into());
    }

    /// Nothing more of a room will come: its stream ends behind what waits, unless other rooms share it.
    pub fn end_room(&mut self, room: RoomIndex, waker: &Waker) {
        let Some(seat) = self.seats.iter().position(|seat| seat.0 == room) else { return };
        let (_, at) = self.seats.swap_remove(seat);
        if self.seats.iter().any(|seat| seat.1 == at) {
            return;
        }
        let Some(place) = self.streams.get_mut(at) else { return };
        let Some(stream) = place else { return };
        stream.ending = true;
        if self.deflate {
            let _ = stream.say(Bytes::from_static(&STREAM_END), &mut self.account, waker);
        }
        if stream.queue.is_none() {
            *place = None;
        }
    }

    /// Whether the client can read a frame of a room, offered now.
    #[inline]
    #[must_use]
    pub fn takes(&self, frame: &Frame, room: RoomIndex) -> bool {
        // Where the room has no stream nothing is sent.
        frame.is_independent() || self.of(room).is_none_or(|stream| stream.takes(frame))
    }

    /// Whether the client can read the frame that follows this one in a room's chain.
    #[inline]
    #[must_use]
    pub fn holds(&self, frame: &Frame, room: RoomIndex) -> bool {
        self.of(room).is_some_and(|stream| stream.window.holds(frame))
    }

    #[inline]
    fn of(&self, room: RoomIndex) -> Option<&Stream> {
        let &(_, at) = self.seats.iter().find(|seat| seat.0 == room)?;
        self.streams.get(at)?.as_ref()
    }

    /// Offers a room's frame, one that it [takes](Self::takes): QUIC takes it, shared, or it waits.
    #[inline]
    pub fn offer(
        &mut self,
        frame: &Frame,
        room: RoomIndex,
        limit: usize,
        budget: &Budget,
        waker: &Waker,
    ) -> OfferOutcome {
        if let Some(datagram) = frame.datagram()
            && self.session.send_datagram(datagram)
        {
            return OfferOutcome::Sent;
        }
        let Some(at) = self.seats.iter().find(|seat| seat.0 == room).map(|seat| seat.1) else {
            return OfferOutcome::Sent;
        };
        let Some(Some(stream)) = self.streams.get_mut(at) else { return OfferOutcome::Sent };
        match stream.offer(frame, &mut self.account, waker) {
            Ok(true) => return OfferOutcome::Sent,
            Ok(false) => {}
            Err(_) => return OfferOutcome::Failed,
        }
        // What fits QUIC's window has left already: what waits, this frame among it, is what the client does not read.
        QueueBounds::now(limit, budget).outcome(self.account.queued_bytes())
    }

    /// Says something to this client alone: on a room's stream, or as a reply.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn say(&mut self, bytes: Bytes, room: Option<RoomIndex>, waker: &Waker) -> io::Result<()> {
        let stream = match room.and_then(|room| self.seats.iter().find(|seat| seat.0 == room)) {
            Some(&(_, at)) => self.streams.get_mut(at).and_then(Option::as_mut),
            None => None,
        };
        stream.unwrap_or(&mut self.replies).say(bytes, &mut self.account, waker)
    }

    /// Writes what waits, as far as QUIC takes it. `Ready`: nothing waits any more. `gap` writes a gap's bytes.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, mut gap: impl FnMut(&Range) -> Vec<u8>) -> Poll<io::Result<()>> {
        if self.account.queued_bytes() == 0
            && self.replies.queue.is_none()
            && self.streams.iter().flatten().all(Stream::is_idle)
        {
            return Poll::Ready(Ok(()));
        }
        let before = self.account.queued_bytes();
        self.replies.drain(&mut self.account, cx, &mut gap)?;
        // Where priorities are equal, a small room does not wait for all that a busy one owes.
        let mut order: SmallVec<[(Reverse<u8>, usize, usize); 8]> = SmallVec::new();
        for (at, stream) in self.streams.iter().enumerate() {
            let Some(Stream { queue: Some(queue), priority, .. }) = stream else { continue };
            order.push((Reverse(*priority), queue.queued, at));
        }
        order.sort_unstable();
        for (.., at) in order {
            let Some(Some(stream)) = self.streams.get_mut(at) else { continue };
            stream.drain(&mut self.account, cx, &mut gap)?;
            if stream.ending && stream.queue.is_none() {
                self.streams[at] = None;
            }
        }
        if self.account.queued_bytes() < before {
            self.stuck_ms = None;
        }
        let idle = self.replies.is_idle() && self.streams.iter().flatten().all(Stream::is_idle);
        if idle { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Drops shared frames until at most `limit` bytes are owed, the oldest of the stream that owes most first; a gap is
    /// kept for each range. Replies stay. Returns how many frames went.
    pub fn drop_oldest(&mut self, limit: usize) -> usize {
        let mut dropped = 0;
        while self.account.queued_bytes() > limit {
            let streams = self.streams.iter_mut().flatten();
            let queues = streams.filter_map(|stream| stream.queue.as_deref_mut()).filter(|queue| queue.has_frames());
            let Some(queue) = queues.max_by_key(|queue| queue.queued) else { break };
            queue.drop_first(&mut self.account);
            dropped += 1;
        }
        dropped
    }

    /// Drops every frame of one room, without gaps: the caller remembers where the connection stopped. Returns the first
    /// range that was dropped, an earlier gap included.
    pub fn drop_room(&mut self, index: RoomIndex, room: &Room) -> Option<Range> {
        let at = self.seats.iter().find(|seat| seat.0 == index)?.1;
        let queue = self.streams.get_mut(at)?.as_mut()?.queue.as_deref_mut()?;
        queue.drop_room(room, &mut self.account)
    }

    /// Forgets what waits and tells the client that the session is closed and why.
    pub fn close(&mut self, disconnect: Disconnect) {
        for stream in self.streams.iter_mut().flatten().chain([&mut self.replies]) {
            if let Some(queue) = stream.queue.take() {
                queue.settle_all(&mut self.account);
            }
        }
        webtransport::close(&mut self.session, disconnect);
    }

    /// Reads from the stream of commands into `buffers.plain`, and notices the session's end.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<Read>> {
        if self.session.poll_end(cx).is_ready() {
            return Poll::Ready(Ok(Read::Closed));
        }
        if self.session.is_closing() {
            // The client's end is waited for, its commands are not heard any more.
            return Poll::Pending;
        }
        let read = std::task::ready!(self.commands.poll_read(cx, buffers.received()))?;
        buffers.take_received(read);
        Poll::Ready(Ok(if read == 0 { Read::Closed } else { Read::Some }))
    }
}
