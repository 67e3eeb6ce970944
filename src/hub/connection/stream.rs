//! One stream of a WebTransport session: what leaves on it, what waits for space on it, and what the client's inflater of it holds.
//!
//! Never knows the other streams. Always holds: what is on a deflate stream is in its window, said to this client alone or to all; so
//! a frame that refers to others leaves directly behind them.

use std::{
    io,
    task::{Context, Waker},
};

use bytes::Bytes;
use quinn::SendStream;

use crate::{
    hub::{
        connection::{queue_account::QueueAccount, send_queue::Waiting, stream_queue::StreamQueue},
        fanout::{client_window::ClientWindow, frame::Frame, range::Range},
    },
    transport::webtransport::{SendState, write_some},
};

/// One stream of a session.
pub(super) struct Stream {
    pub(super) send: SendStream,
    pub(super) queue: Option<Box<StreamQueue>>,
    /// What the client's inflater of it holds of a room's chain.
    pub(super) window: ClientWindow,
    pub(super) priority: u8,
    /// It ends when its queue is empty: the connection has left its rooms.
    pub(super) ending: bool,
}

impl Stream {
    /// A stream that was just opened.
    pub(super) fn new(send: SendStream, priority: u8) -> Self {
        Self { send, queue: None, window: ClientWindow::new(), priority, ending: false }
    }

    /// Whether nothing waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_none()
    }

    /// Whether the client can read a frame, offered now.
    #[inline]
    pub(super) fn takes(&self, frame: &Frame) -> bool {
        self.window.takes(frame, self.queue.is_some())
    }

    /// Writes a frame that it takes. `false`: it waits, or a part of it.
    ///
    /// # Errors
    /// The connection was lost.
    #[inline]
    pub(super) fn offer(&mut self, frame: &Frame, account: &mut QueueAccount, waker: &Waker) -> io::Result<bool> {
        let mut begun = None;
        if self.queue.is_none() {
            let mut bytes = frame.shared();
            match write_some(&mut self.send, &mut bytes, &mut Context::from_waker(waker))? {
                SendState::Done | SendState::Stopped => {
                    self.window.written(frame);
                    return Ok(true);
                }
                // What is chained follows what has left: nothing may come before it, and it may not be dropped, as if it had begun.
                SendState::Full => {
                    let left = frame.bytes().len() - bytes.len();
                    begun = (left > 0 || !frame.is_independent()).then_some(left);
                }
            }
        }
        match begun {
            Some(_) => self.window.written(frame),
            None => self.window.queued(frame),
        }
        self.wait(Waiting::Shared(frame.clone()), begun, account);
        Ok(false)
    }

    fn wait(&mut self, waiting: Waiting, begun: Option<usize>, account: &mut QueueAccount) {
        self.queue.get_or_insert_default().push(waiting, begun, account);
    }

    /// Writes what is said to this client alone, or has it wait.
    ///
    /// # Errors
    /// The connection was lost.
    pub(super) fn say(&mut self, bytes: Bytes, account: &mut QueueAccount, waker: &Waker) -> io::Result<()> {
        // It is in the window of a deflate stream, and in no other client's.
        self.window = ClientWindow::new();
        let mut rest = bytes.clone();
        if self.queue.is_none() {
            match write_some(&mut self.send, &mut rest, &mut Context::from_waker(waker))? {
                SendState::Done | SendState::Stopped => return Ok(()),
                SendState::Full => {}
            }
        }
        // In whole, so that nothing is put in front of what has begun.
        let begun = Some(bytes.len() - rest.len()).filter(|begun| *begun > 0);
        self.wait(Waiting::Private(Box::from(&bytes[..])), begun, account);
        Ok(())
    }

    /// Writes until the stream is full or nothing waits for it. `gap` writes a gap's bytes.
    ///
    /// # Errors
    /// The connection was lost.
    pub(super) fn drain(
        &mut self,
        account: &mut QueueAccount,
        cx: &mut Context<'_>,
        gap: &mut impl FnMut(&Range) -> Vec<u8>,
    ) -> io::Result<()> {
        while let Some(queue) = &mut self.queue {
            // What is said to this client alone stands before what was dropped: `subscribed`, for one.
            let replies_first = matches!(queue.waiting.front(), Some(Waiting::Private(_)));
            if queue.begun.is_none() && !replies_first && !queue.gaps.is_empty() {
                let bytes = Waiting::Private(gap(&queue.gaps.remove(0)).into());
                account.add(bytes.queued_bytes(), bytes.private());
                queue.queued += bytes.queued_bytes();
                queue.waiting.push_front(bytes);
            }
            let Some(first) = queue.waiting.front() else {
                self.queue = None;
                break;
            };
            let begun = queue.begun.unwrap_or(0);
            let mut bytes = match first {
                Waiting::Shared(frame) => frame.shared().slice(begun..),
                Waiting::Private(bytes) => Bytes::copy_from_slice(bytes.get(begun..).unwrap_or_default()),
            };
            let before = bytes.len();
            match write_some(&mut self.send, &mut bytes, cx)? {
                SendState::Done | SendState::Stopped => {
                    queue.begun = None;
                    queue.take_first(account);
                }
                SendState::Full => {
                    if bytes.len() < before {
                        queue.begun = Some(begun + before - bytes.len());
                    }
                    break;
                }
            }
        }
        Ok(())
    }
}
