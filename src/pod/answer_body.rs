//! The body of an answer on the public listeners, handed to hyper in pieces.
//!
//! Always holds: hyper holds one piece of it besides the body itself, however slowly the client reads; what is there of it is on the
//! account; when the body has gone, the connection waits for its next request.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{
    entrance::{HeldBytes, Stage, Visit},
    event_stream::EventStream,
};

/// The most bytes of a piece: hyper copies each into a buffer of its own.
const PIECE: usize = 16 * 1024;

/// What an answer says.
pub enum Content {
    /// Bytes that are there.
    Whole(Bytes),
    /// A stream that goes on.
    Stream(EventStream),
}

/// An answer's body. The visit is idle when it has gone.
pub struct AnswerBody {
    content: Content,
    visit: Visit,
    /// On the visit's account until the last piece has gone.
    _held: HeldBytes,
}

impl AnswerBody {
    /// The body of an answer to the request that a visit is serving.
    #[must_use]
    pub fn new(content: Content, visit: Visit) -> Self {
        let bytes = if let Content::Whole(bytes) = &content { bytes.len() } else { 0 };
        Self { content, _held: visit.hold(bytes), visit }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.visit.enter(Stage::Idle);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match &mut self.get_mut().content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(bytes.split_to(bytes.len().min(PIECE))))),
            Content::Stream(stream) => ready!(Pin::new(stream).poll_frame(cx)),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
