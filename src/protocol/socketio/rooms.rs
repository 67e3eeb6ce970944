//! The native protocol over Socket.IO: its commands as events, its messages as events and acknowledgements.
//!
//! `emit("subscribe", {room, since?}, ack)`: an event's name is a command's `type`, its one argument holds the command's
//! other fields. A native message of type T is the event T with that message as its argument; a reply goes to the
//! acknowledgement, if there is one. Binary data travels as binary parts, not as base64.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    model::{
        Batch, Command, CommandError, CommandId, Disconnect, ErrorCode, Reply, Request, Retained, SignalNotice,
        Spelling,
    },
    protocol::{Dialect, Message, MessageKind, Messages, OpenOutcome, Opening, PresenceChange, native},
};

/// Roomcast's own events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rooms;

impl Rooms {
    fn command(message: Message<'_>, parts: &[Bytes]) -> Result<Command, (ErrorCode, String)> {
        let bad = |message: &str| (ErrorCode::BadRequest, message.to_owned());
        let Message::Text(text) = message else { return Err(bad("an event is needed")) };
        let array: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| bad("an event is needed"))?;
        let (name, argument) = match array.as_slice() {
            [name] => (name, None),
            [name, argument] => (name, Some(argument.get())),
            _ => return Err(bad("an event takes one argument, an object, and an acknowledgement")),
        };
        let Ok(name) = serde_json::from_str::<String>(name.get()) else {
            return Err(bad("an event's name is a string"));
        };
        native::named(&name, argument, parts)
    }

    /// Makes arrays of native messages. `event`: their types stand before them.
    fn arrays(native: &Messages, event: bool, out: &mut Messages) {
        for (kind, message) in native.iter() {
            out.push(kind, |out| {
                if kind == MessageKind::Binary {
                    return out.extend_from_slice(message);
                }
                out.push(b'[');
                if event {
                    // Each begins with its type: {"type":"events",…
                    let name = message.get(8..).unwrap_or_default();
                    let end = name.iter().skip(1).position(|byte| *byte == b'"').map_or(0, |at| at + 2);
                    out.extend_from_slice(&name[..end.min(name.len())]);
                    out.push(b',');
                }
                out.extend_from_slice(message);
                out.push(b']');
            });
        }
    }
}

impl Dialect for Rooms {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        self.reply(&opening.welcome(), None, out);
        Ok(OpenOutcome::default())
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        self.decode_parts(message, &[])
    }

    fn decode_parts(&self, message: Message<'_>, parts: &[Bytes]) -> Result<Request, CommandError> {
        match Self::command(message, parts) {
            Ok(command) => Ok(Request { id: None, command }),
            Err((code, message)) => Err(CommandError { code, message, id: None }),
        }
    }

    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages) {
        let mut native = Messages::at(out.now);
        native::reply_beside(reply, &mut native);
        Self::arrays(&native, id.is_none(), out);
    }

    fn batch(&self, batch: &Batch, _: Spelling, out: &mut Messages) {
        let mut native = Messages::at(out.now);
        native::batch_beside(batch, &mut native);
        Self::arrays(&native, true, out);
    }

    fn retained(&self, retained: &Retained, _: Spelling, out: &mut Messages) {
        let mut native = Messages::at(out.now);
        native::retained_beside(retained, &mut native);
        Self::arrays(&native, true, out);
    }

    fn presence(&self, change: &PresenceChange, out: &mut Messages) {
        let mut native = Messages::at(out.now);
        native::Native.presence(change, &mut native);
        Self::arrays(&native, true, out);
    }

    fn signal(&self, notice: &SignalNotice, spelling: Spelling, out: &mut Messages) {
        let mut native = Messages::at(out.now);
        native::Native.signal(notice, spelling, &mut native);
        Self::arrays(&native, true, out);
    }
}
