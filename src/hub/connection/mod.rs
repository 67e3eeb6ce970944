//! One connection on its worker: what carries it, what it is owed, and a session.
//!
//! Owned by one worker for life. Never waits: what the transport does not take goes to the send queue, and the worker's task
//! for this connection drains it when the socket is writable (a mailbox is drained by requests). Always holds: bytes
//! leave in the order they were offered, control frames excepted.

pub mod budget;
mod closing;
pub mod connections;
pub mod drain;
pub mod incomplete;
pub mod inflated_input;
pub mod key;
pub mod mailbox;
pub mod offer;
pub mod open_calls;
pub mod paused_input;
pub mod queue_account;
pub mod reply_bounds;
mod room_places;
pub mod send_queue;
pub mod slow_receiver;
pub mod state;
mod stream;
mod stream_queue;
pub mod streams;
pub mod task;
pub mod totals;
pub mod transport;
pub mod user_agents;

use std::{
    io,
    sync::Arc,
    task::{Context, Waker},
};

use smallvec::SmallVec;

use crate::{
    hooks::ClientRequest,
    hub::{
        commands::publish_queue::PublishQueue,
        connection::{
            budget::Budget,
            incomplete::IncompleteMessage,
            offer::{OfferOutcome, QueueBounds},
            paused_input::PausedInput,
            reply_bounds::ReplyBounds,
            send_queue::{SendQueue, Waiting},
            state::{ColdState, State},
            totals::Totals,
            transport::ClientTransport,
        },
        fanout::{
            client_window::ClientWindow, encoder::Encoder, frame::Frame, room_index::RoomIndex,
            subscription::Subscription,
        },
        worker::seat::Seat,
    },
    model::{CommandId, Disconnect, Reply},
    protocol::{DialectId, WireFormat},
    session::{Link, Session},
    transport::{
        scratch::Scratch,
        socket::{Buffers, Written},
        websocket::MessageLimits,
    },
};

/// One connection. In this order in memory: what a fan-out touches stands together, first.
#[repr(C)]
pub struct Connection {
    pub(crate) send_queue: Option<Box<SendQueue>>,
    /// What its client's inflater holds of a room's chain. The streams of a session each have their own.
    window: ClientWindow,
    /// What carries it.
    pub transport: ClientTransport,
    /// Counted at its end.
    pub totals: Totals,
    waker: Option<Waker>,
    /// What makes its frames differ from others'.
    pub format: WireFormat,
    /// The session.
    pub session: Session,
    /// The rooms that it is in.
    pub subscriptions: SmallVec<[Subscription; 1]>,
    /// Whether it still talks.
    pub state: State,
    /// When it came, in milliseconds since the worker began.
    pub since_ms: u64,
    /// When something was last heard, in milliseconds since the worker began.
    pub heard_ms: u64,
    /// When its token must have come or been replaced, in milliseconds since the worker began; 0: never.
    pub identity_due: u64,
    /// What only some connections have.
    pub cold: Option<Box<ColdState>>,
    /// Publishes that wait for the one before them.
    pub publish_queue: Option<Box<PublishQueue>>,
    /// What there is of a message that has not ended.
    pub(crate) incomplete: Option<Box<IncompleteMessage>>,
    /// Why the pod closed it, if it did.
    pub closed_with: Option<Disconnect>,
    /// What its client calls itself.
    pub user_agent: Option<Arc<str>>,
    /// Held until its end.
    _seat: Seat,
}

impl Connection {
    /// A connection whose handshake is over.
    #[must_use]
    pub fn new(
        transport: ClientTransport,
        format: WireFormat,
        session: Session,
        seat: Seat,
        budget: &Arc<Budget>,
        now_ms: u64,
    ) -> Self {
        // What is said to a mailbox always waits.
        let waits = matches!(transport, ClientTransport::Mailbox(_));
        Self {
            send_queue: waits.then(|| Box::new(SendQueue::new(Arc::clone(budget)))),
            window: ClientWindow::new(),
            transport,
            totals: Totals::default(),
            waker: None,
            format,
            session,
            subscriptions: SmallVec::new(),
            state: State::Open,
            since_ms: now_ms,
            heard_ms: now_ms,
            identity_due: 0,
            cold: None,
            publish_queue: None,
            incomplete: None,
            closed_with: None,
            user_agent: None,
            _seat: seat,
        }
    }

    /// The Engine.IO session, if it is one.
    pub fn link(&mut self) -> Option<&mut Link> {
        self.cold.as_mut()?.link.as_mut()
    }

    /// Whether it is an Engine.IO session.
    #[must_use]
    pub fn is_engine(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.link.is_some())
    }

    /// How large its messages may be: an Engine.IO client is told a limit of its own.
    #[must_use]
    pub fn limits(&self, limits: MessageLimits) -> MessageLimits {
        let link = self.cold.as_ref().and_then(|cold| cold.link.as_ref());
        link.map_or(limits, |link| MessageLimits { max_message: link.endpoint.max_payload, ..limits })
    }

    /// What the backend is told of its request, if it is asked.
    #[must_use]
    pub fn client_request(&self) -> Option<Arc<ClientRequest>> {
        self.cold.as_ref()?.client_request.clone()
    }

    /// What comes waits from now on until it is taken up.
    pub fn pause_input(&mut self) {
        self.cold.get_or_insert_default().paused_input.get_or_insert_default().waits += 1;
    }

    /// One of the decisions that input waits for was made. What came meanwhile, once it was the last.
    pub fn decided(&mut self) -> Option<PausedInput> {
        let cold = self.cold.as_mut()?;
        let paused_input = cold.paused_input.as_mut()?;
        paused_input.waits = paused_input.waits.saturating_sub(1);
        if paused_input.waits > 0 { None } else { cold.paused_input.take() }
    }

    /// Whether something waits already for a decision about its client.
    #[must_use]
    pub fn has_paused_input(&self) -> bool {
        let paused_input = self.cold.as_ref().and_then(|cold| cold.paused_input.as_ref());
        paused_input.is_some_and(|paused_input| !paused_input.is_empty())
    }

    /// The format of what it is told of a room.
    #[must_use]
    pub fn format_of(&self, subscription: &Subscription) -> WireFormat {
        WireFormat { dialect: subscription.dialect, spelling: subscription.spelling, ..self.format }
    }

    /// In which dialect a command is answered: that of its namespace, where there are several. `None`: the client is not
    /// there.
    #[must_use]
    pub fn dialect_of(&self, id: Option<&CommandId>) -> Option<DialectId> {
        let Some(link) = self.cold.as_ref().and_then(|cold| cold.link.as_ref()) else {
            return Some(self.format.dialect);
        };
        link.dialect_of(id)
    }

    /// Whether its client waits for an answer to a command that is answered only on request.
    #[must_use]
    pub fn asks_for_answer(&self, id: Option<&CommandId>) -> bool {
        match self.cold.as_ref().and_then(|cold| cold.link.as_ref()) {
            Some(link) => link.asks_for_answer(id),
            None => id.is_some(),
        }
    }

    /// Offers a room's frame, one that it [takes](Self::takes): written at once, or queued within the connection's `limit` of owed bytes
    /// and the pod's budget. `room`: its index, for a transport with a stream for each. The hot path: on it a frame costs one seal and one
    /// system call.
    #[inline]
    pub fn offer(
        &mut self,
        frame: &Frame,
        room: RoomIndex,
        scratch: &mut Scratch,
        limit: usize,
        budget: &Arc<Budget>,
    ) -> OfferOutcome {
        debug_assert!(self.takes(frame, room), "a frame that its client cannot read");
        let Some(send_queue) = &mut self.send_queue else {
            self.totals.sent(frame.bytes().len(), frame.plain());
            if let ClientTransport::WebTransport(streams) = &mut self.transport {
                return streams.offer(frame, room, limit, budget, waker_or_noop(&self.waker));
            }
            self.window.written(frame);
            return match self.transport.write(frame.bytes(), scratch) {
                Ok(Written::All) => OfferOutcome::Sent,
                Ok(Written::Rest(rest)) => {
                    self.keep(rest, budget);
                    OfferOutcome::Queued
                }
                Err(_) => OfferOutcome::Failed,
            };
        };
        let mut slow = true;
        let bounds = QueueBounds::now(limit, budget);
        if let ClientTransport::Mailbox(mailbox) = &mut self.transport {
            mailbox.wake();
            if !mailbox.takes_frame(bounds.are_passed(send_queue.queued_bytes())) {
                return OfferOutcome::Queued;
            }
            slow = mailbox.can_be_slow();
        }
        self.totals.sent(frame.bytes().len(), frame.plain());
        self.window.queued(frame);
        let outcome = send_queue.offer(frame, bounds);
        if slow { outcome } else { OfferOutcome::Queued }
    }

    /// Touches what an offer will need; see [`ClientTransport::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        // The totals lie behind the keys, too far for the processor to have fetched them with the rest.
        self.transport.warm() + usize::from(self.send_queue.is_some()) + self.totals.frames_out as usize
    }

    /// Says something to this connection alone.
    ///
    /// # Errors
    /// The socket failed.
    pub fn say(&mut self, bytes: &[u8], scratch: &mut Scratch, budget: &Arc<Budget>) -> io::Result<()> {
        self.totals.sent(bytes.len(), bytes.len());
        if let ClientTransport::WebTransport(streams) = &mut self.transport {
            return streams.say(bytes.to_vec().into(), None, waker_or_noop(&self.waker));
        }
        if let Some(send_queue) = &mut self.send_queue {
            send_queue.push(Waiting::Private(bytes.into()));
            if let ClientTransport::Mailbox(mailbox) = &mut self.transport {
                mailbox.wake();
            }
            return Ok(());
        }
        if let Written::Rest(rest) = self.transport.write(bytes, scratch)? {
            self.keep(rest, budget);
        }
        Ok(())
    }

    /// Sends a control frame ahead of what waits.
    ///
    /// # Errors
    /// The socket failed.
    pub fn say_urgent(&mut self, bytes: &[u8], scratch: &mut Scratch, budget: &Arc<Budget>) -> io::Result<()> {
        match &mut self.send_queue {
            Some(send_queue) => {
                send_queue.push_urgent(bytes);
                Ok(())
            }
            None => self.say(bytes, scratch, budget),
        }
    }

    /// Sends a reply. `room`: the index of the one whose stream it belongs on, for a transport with a stream for each. `false`: it
    /// is too large for what `bounds` leave.
    ///
    /// # Errors
    /// The socket failed.
    #[expect(clippy::too_many_arguments, reason = "what a worker shares among its connections comes apart")]
    pub fn reply(
        &mut self,
        reply: &Reply,
        id: Option<&CommandId>,
        room: Option<RoomIndex>,
        bounds: ReplyBounds,
        encoder: &mut Encoder,
        buffers: &mut Buffers,
        budget: &Arc<Budget>,
    ) -> io::Result<bool> {
        if let ClientTransport::Mailbox(mailbox) = &mut self.transport
            && !mailbox.takes_reply(reply)
        {
            return Ok(true);
        }
        let Some(dialect) = self.dialect_of(id) else { return Ok(true) };
        let mut bytes = Vec::new();
        if let ClientTransport::WebTransport(streams) = &mut self.transport {
            let room = room.filter(|room| streams.has(*room));
            let format = if room.is_some() { self.format } else { self.format.of_commands() };
            encoder.reply(format, reply, id, &mut bytes);
            if bytes.is_empty() || bounds.refuse(bytes.len()) {
                return Ok(bytes.is_empty());
            }
            self.totals.sent(bytes.len(), bytes.len());
            return streams.say(bytes.into(), room, waker_or_noop(&self.waker)).map(|()| true);
        }
        encoder.reply(WireFormat { dialect, ..self.format }, reply, id, &mut bytes);
        if bytes.is_empty() || bounds.refuse(bytes.len()) {
            return Ok(bytes.is_empty());
        }
        self.say(&bytes, &mut buffers.sealed, budget).map(|()| true)
    }

    /// Remembers the task that drives this connection.
    pub fn polled_by(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(own) => own.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Has the connection's task look at it.
    pub fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Starts the queue with the rest of a write; the task is woken when the kernel takes more.
    fn keep(&mut self, rest: Vec<u8>, budget: &Arc<Budget>) {
        let mut send_queue = Box::new(SendQueue::new(Arc::clone(budget)));
        send_queue.keep_sealed(rest);
        self.send_queue = Some(send_queue);
        let Some(waker) = &self.waker else { return };
        if self.transport.poll_writable(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        }
    }
}

/// The waker to be told of space to write. A connection without a task yet is looked at when it has one.
fn waker_or_noop(waker: &Option<Waker>) -> &Waker {
    waker.as_ref().unwrap_or(Waker::noop())
}
