//! The native dialect, `roomcast.v1`: JSON text messages, one object a message, described in `docs/PROTOCOL.md`.
//!
//! Owns the format of every native message, both ways. Never rebuilds a publisher's data: it is copied as it was written.
//! Always holds: every message written is one JSON object whose first field is `type`; a message to a room contains nothing of
//! its receiver.

mod decode;
mod encode;

use bytes::Bytes;

use super::{
    dialect::{Dialect, PresenceChange},
    message::{Message, Messages},
    opening::{OpenOutcome, Opening},
};
use crate::model::{
    Batch, Command, CommandError, CommandId, Disconnect, ErrorCode, Reply, Request, Retained, SignalNotice, Spelling,
};
use encode::Binary;

pub(super) use decode::id_bytes;
pub use decode::{MAX_ID_BYTES, MAX_ROOMS_A_COMMAND};

/// The WebSocket subprotocol that selects this dialect on any path (RFC 6455 section 1.9).
pub const SUBPROTOCOL: &str = "roomcast.v1";

/// The native dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Native;

impl Dialect for Native {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        encode::reply(&opening.welcome(), None, Binary::Base64, out);
        Ok(OpenOutcome::default())
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        decode::request(message)
    }

    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages) {
        encode::reply(reply, id, Binary::Base64, out);
    }

    fn batch(&self, batch: &Batch, _: Spelling, out: &mut Messages) {
        encode::batch(batch, Binary::Base64, out);
    }

    fn retained(&self, retained: &Retained, _: Spelling, out: &mut Messages) {
        encode::retained(retained, Binary::Base64, out);
    }

    fn presence(&self, change: &PresenceChange, out: &mut Messages) {
        encode::presence(change, out);
    }

    fn signal(&self, notice: &SignalNotice, _: Spelling, out: &mut Messages) {
        encode::signal(notice, Binary::Base64, out);
    }
}

/// Decodes a command whose `type` and binary data are outside of its other fields.
///
/// # Errors
/// What the client is told.
pub(super) fn named(kind: &str, fields: Option<&str>, parts: &[Bytes]) -> Result<Command, (ErrorCode, String)> {
    decode::named(kind, fields, parts)
}

/// A reply with binary data beside its text, and without a command's `id`.
pub(super) fn reply_beside(reply: &Reply, out: &mut Messages) {
    encode::reply(reply, None, Binary::Beside, out);
}

/// A batch with binary data beside its text.
pub(super) fn batch_beside(batch: &Batch, out: &mut Messages) {
    encode::batch(batch, Binary::Beside, out);
}

/// Retained values with binary data beside their text.
pub(super) fn retained_beside(retained: &Retained, out: &mut Messages) {
    encode::retained(retained, Binary::Beside, out);
}
