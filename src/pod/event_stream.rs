//! `GET /events`: an answer that never ends, as a browser's EventSource reads it (HTML, section 9.2).
//!
//! Always holds: each message that moves the client's position carries the position as its `id`, in one event with it, so
//! that a client that comes back with `Last-Event-ID` misses nothing and gets nothing twice.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use crate::{config::Config, hub::ConnectionTask, model::Disconnect};

/// The most bytes that are taken out of the queue at once: what is taken no longer counts as owed.
const CHUNK: usize = 16 * 1024;

/// How long a browser waits before it comes back, at least, and how far these times are spread, in milliseconds.
const RETRY_MS: u64 = 1_000;
const RETRY_SPREAD_MS: u64 = 4_000;

/// The event streams under way on one HTTP connection, which is one at most: what cuts it off when its reader is stuck.
#[derive(Clone, Default)]
pub struct UnderWay(Rc<RefCell<Weak<ConnectionTask>>>);

impl UnderWay {
    /// Ready when the stream was closed by the pod and its reader took no notice.
    pub fn poll_stuck(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.borrow().upgrade() {
            Some(task) => task.poll_gone(cx),
            None => Poll::Pending,
        }
    }
}

/// A body that goes on until the connection is closed.
pub struct EventStream {
    task: Rc<ConnectionTask>,
    greeting: Option<Bytes>,
    /// A sign of life is due: proxies and clients end what is silent.
    keep_alive: Pin<Box<Sleep>>,
    interval: Duration,
    ended: bool,
}

/// Begins the answer.
pub fn answer(
    task: ConnectionTask,
    under_way: &UnderWay,
    config: &Config,
    headers: HeaderMap,
) -> Response<EventStream> {
    // Connection names are spread evenly, so that clients that lost a pod together do not come back together.
    let retry = RETRY_MS + task.name().map_or(0, |name| name.0 % RETRY_SPREAD_MS);
    let task = Rc::new(task);
    *under_way.0.borrow_mut() = Rc::downgrade(&task);
    let interval = config.timeouts.ping;
    let mut response = Response::new(EventStream {
        task,
        greeting: Some(format!("retry: {retry}\n\n").into()),
        keep_alive: Box::pin(sleep(interval)),
        interval,
        ended: false,
    });
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx holds answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl EventStream {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(greeting));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        match self.task.poll_waiting(CHUNK, cx) {
            Poll::Ready(Ok(events)) => {
                self.rest();
                return Poll::Ready(Some(events.into()));
            }
            Poll::Ready(Err(closed)) => {
                self.ended = true;
                return Poll::Ready(closed.map(|closed| goodbye(closed).into()));
            }
            Poll::Pending => {}
        }
        if self.keep_alive.as_mut().poll(cx).is_ready() {
            self.rest();
            // Polled, so that it wakes this task.
            let _ = self.keep_alive.as_mut().poll(cx);
            return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
        }
        Poll::Pending
    }

    fn rest(&mut self) {
        let at = tokio::time::Instant::now() + self.interval;
        self.keep_alive.as_mut().reset(at);
    }
}

/// The last event of a stream. A browser's EventSource comes back by itself, whatever it says, unless its page closes it.
fn goodbye(closed: Disconnect) -> String {
    format!("event: close\ndata: {{\"code\":{},\"reason\":\"{}\"}}\n\n", closed.code(), closed.reason())
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
