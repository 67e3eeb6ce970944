//! What is told of a publish, and of its fan-out on one worker.
//!
//! Always holds: it has no token, no payload, no topic, key or id, no user's name and no address; the name of the room only where the operator
//! says so. A failure is a word of ours and never a sentence, in which a name could stand.

use std::sync::Arc;

use http::HeaderMap;

use super::trace_context::{SpanId, TraceFlags, TraceId};
use crate::model::{Epoch, Offset, Position, Room};

/// What publishes, and what it says of its trace. Never shows itself: the headers hold a key.
#[derive(Clone, Copy)]
pub enum Publisher<'a> {
    /// A backend over HTTP, by the headers of its request.
    Api(&'a HeaderMap),
    /// A backend over gRPC, by the metadata of its call.
    Grpc(&'a HeaderMap),
    /// A client. What it may say of a trace is not asked for: it could have every publish traced.
    Client,
}

impl<'a> Publisher<'a> {
    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Api(_) => "api",
            Self::Grpc(_) => "grpc",
            Self::Client => "client",
        }
    }

    /// Where it may name a trace.
    pub(super) fn headers(self) -> Option<&'a HeaderMap> {
        match self {
            Self::Api(headers) | Self::Grpc(headers) => Some(headers),
            Self::Client => None,
        }
    }
}

/// What all spans of a publish have in common.
#[derive(Debug, Clone)]
pub(super) struct SpanContext {
    pub(super) trace: TraceId,
    pub(super) flags: TraceFlags,
    /// The caller's `tracestate`.
    pub(super) state: Arc<str>,
    /// The pattern of the room's policy.
    pub(super) pattern: Arc<str>,
    /// The room, where it may be named.
    pub(super) room: Option<Room>,
}

/// What a span is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// Nothing: its trace begins with it.
    None,
    /// A span of the caller's.
    Remote(SpanId),
    /// A span of this pod's.
    Own(SpanId),
}

/// The fan-out of a batch on one worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FanOut {
    /// The batch has the events of this epoch in (`after`, `offset`].
    pub(super) epoch: Epoch,
    pub(super) after: Offset,
    pub(super) offset: Offset,
    /// How many events it still has.
    pub(super) events: usize,
    pub(super) worker: usize,
    /// To how many connections it went.
    pub(super) receivers: u64,
    /// In nanoseconds since 1970.
    pub(super) began: u64,
    pub(super) ended: u64,
}

impl FanOut {
    /// Whether an event was part of it, or of what conflation made of it.
    pub(super) fn covers(&self, position: &Position) -> bool {
        self.epoch == position.epoch && (self.after + 1..=self.offset).contains(&position.offset)
    }
}

/// A piece of work that is over.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) context: SpanContext,
    pub(super) id: SpanId,
    pub(super) parent: Parent,
    /// In nanoseconds since 1970.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) work: Work,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Work {
    /// A publish.
    Publish {
        /// The word for what published.
        source: &'static str,
        /// The bytes of its payload.
        bytes: usize,
        /// Where its event is, or the word for why it is nowhere.
        outcome: Result<Position, &'static str>,
    },
    /// A fan-out of its event, which is at `offset`.
    FanOut {
        /// It.
        fan_out: FanOut,
        /// Where the event is.
        offset: Offset,
    },
}
