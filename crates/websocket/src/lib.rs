#![doc = include_str!("../README.md")]
//! ## Owns, never, always
//!
//! Owns what lies between a byte stream and whole messages: the opening handshake, frames, fragments, control frames,
//! compression. Never does I/O, never reads a clock. Always holds: an idle connection owns no heap memory here. A connection
//! keeps a [`Reader`]; the [`Inflater`] and the [`Deflaters`] belong to a thread and serve all its connections.

mod client_handshake;
mod deflate;
mod extension;
mod extension_header;
mod frame;
mod incoming;
mod inflate;
mod reader;
mod server_handshake;
mod writer;

pub use client_handshake::{Agreed, AnswerError, ClientHandshake};
pub use deflate::{Deflater, Deflaters};
pub use extension::{Deflate, ExtensionError, Offer, answer};
pub use frame::{Frame, Opcode, mask};
pub use incoming::{Incoming, MessageLimits, ReadError};
pub use inflate::{InflateError, Inflater};
pub use reader::{Reader, Role};
pub use server_handshake::{Accepted, RequestError, accept, offered_protocols, write_head};
pub use writer::{close_frame, message_frame, next_message_frame, ping_frame, pong_frame};
