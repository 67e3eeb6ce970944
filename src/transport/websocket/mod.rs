//! The WebSocket message layer (RFC 6455) with permessage-deflate (RFC 7692), above tungstenite's handshake and frame
//! header.
//!
//! Owns what lies between a byte stream and whole messages: the opening handshake, frames, fragments, control frames,
//! compression. Never does I/O, never reads a clock: bytes go in and messages come out, messages go in and bytes come
//! out.
//!
//! Always holds: an idle connection owns no heap memory here. A connection keeps a [`Reader`]; the [`Inflater`] and the
//! [`Deflaters`] belong to the worker and serve all its connections, which is possible because every message is
//! compressed independently of all others (`client_no_context_takeover` is always negotiated, RFC 7692 section 7.1.1.2).

mod deflate;
mod extension;
mod frame;
mod handshake;
mod inflate;
mod reader;
mod writer;

pub use deflate::{Deflater, Deflaters};
pub use extension::{AnswerError, Deflate, Offer, answer};
pub use frame::{Frame, Opcode, mask};
pub use handshake::{Accepted, Agreed, AnswerRefused, ClientHandshake, Refusal, accept, write_head};
pub use inflate::{InflateError, Inflater};
pub use reader::{Incoming, MessageLimits, Reader, Role};
pub use writer::{close_frame, frame_messages, ping_frame, pong_frame};

#[cfg(test)]
mod tests;
