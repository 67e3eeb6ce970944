//! What a dialect is.
//!
//! Never knows a transport or a room's members. Always holds: what is written for a whole room contains nothing of its receiver.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;

use super::{
    http_answer::HttpAnswer,
    message::{Message, Messages},
    opening::{OpenOutcome, Opening, ServerPush},
};
use crate::model::{
    Batch, CommandError, CommandId, Disconnect, ErrorCode, Member, Reply, Request, Retained, Room, SignalNotice,
    Spelling, UnixMillis,
};

/// The members that joined and left a room, for its other members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceChange {
    /// The room.
    pub room: Room,
    /// The new members; empty in a room so large that only the total is sent.
    pub joined: Vec<Member>,
    /// The members that left; empty in such a room.
    pub left: Vec<Member>,
    /// All members, where they take the place of a list that is no good any more; otherwise empty, as `joined` and `left` are then.
    pub members: Vec<Member>,
    /// The number of members now.
    pub total: usize,
}

/// The abilities of a dialect that the hub must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it can express a gap. If not, no event is ever left out: a connection that falls behind catches up or is closed.
    pub tells_gaps: bool,
    /// Whether a message can bring a token. If not, a request that needs a token and has none is refused.
    pub takes_tokens: bool,
    /// The interval of [`ServerPush::Heartbeat`]; `None`: never.
    pub heartbeat: Option<Duration>,
    /// Whether its clients get a position in each room, and rely on it: rooms that share a log have no positions of their own.
    pub tells_positions: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { tells_gaps: true, takes_tokens: true, heartbeat: None, tells_positions: true }
    }
}

/// One client wire format. The bytes of a batch, a presence change or retained values contain nothing of their receiver, so that
/// all receivers share one encoding. (The spelling of a room's name is not the receiver's own: all connections with the same
/// spelling share the bytes.)
pub trait Dialect: Send + Sync {
    /// Begins a connection: writes its first messages, and names the rooms that it joins without a command.
    ///
    /// # Errors
    /// The connection is closed with that code after the messages were sent.
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect>;
    /// Writes a message to one connection that no command asked for. A dialect that has no such message writes nothing.
    fn push(&self, _push: &ServerPush<'_>, _out: &mut Messages) {}
    /// Decodes a client's message.
    ///
    /// # Errors
    /// The client gets the [`CommandError`] as an answer.
    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError>;
    /// Decodes a client's message that came with binary data beside it.
    ///
    /// # Errors
    /// The client gets the [`CommandError`] as an answer.
    fn decode_parts(&self, message: Message<'_>, parts: &[Bytes]) -> Result<Request, CommandError> {
        if parts.is_empty() {
            return self.decode(message);
        }
        let message = "binary data is not accepted here".to_owned();
        Err(CommandError { code: ErrorCode::BadRequest, message, id: None })
    }
    /// Writes a reply to one connection; `id` is that of the command. A dialect that has no such reply writes nothing.
    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages);
    /// Writes a batch, for all members with this spelling of the room's name.
    fn batch(&self, batch: &Batch, spelling: Spelling, out: &mut Messages);
    /// Writes retained values, for new members with this spelling.
    fn retained(&self, retained: &Retained, spelling: Spelling, out: &mut Messages);
    /// Writes a change of presence.
    fn presence(&self, change: &PresenceChange, out: &mut Messages);
    /// Writes a signal, for all members with this spelling but its sender. A dialect that has no such message writes nothing.
    fn signal(&self, _notice: &SignalNotice, _spelling: Spelling, _out: &mut Messages) {}
    /// The subprotocol that its clients are answered, of those that they offer; `None`: none is.
    fn subprotocol<'o>(&self, _offered: &mut dyn Iterator<Item = &'o str>) -> Option<&'o str> {
        None
    }
    /// The message that a `GET` stands for, which is at this place among the dialect's requests; `None`: there is none.
    fn request(&self, _at: usize, _target: &Uri) -> Option<String> {
        None
    }
    /// The body of an answer over HTTP.
    fn http_answer(&self, answer: &HttpAnswer<'_>, _now: UnixMillis) -> Vec<u8> {
        answer.native()
    }
    /// The body of a refusal over HTTP; `None`: in the API's shape.
    fn http_refusal(&self, _code: ErrorCode, _message: &str, _now: UnixMillis) -> Option<Vec<u8>> {
        None
    }
    /// Its abilities.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }
}
