//! A dialect's messages as Engine.IO messages, without Socket.IO around them.

use bytes::Bytes;

use crate::{
    model::{Batch, CommandError, CommandId, Disconnect, Reply, Request, Retained, SignalNotice, Spelling},
    protocol::{Abilities, Dialect, Message, MessageKind, Messages, OpenOutcome, Opening, PresenceChange, ServerPush},
};

/// A dialect over bare Engine.IO.
pub struct Plain(pub Box<dyn Dialect>);

impl Plain {
    fn wrap(inner: &Messages, out: &mut Messages) {
        for (kind, message) in inner.iter() {
            out.push(kind, |out| {
                if kind == MessageKind::Text {
                    out.push(b'4');
                }
                out.extend_from_slice(message);
            });
        }
    }
}

impl Dialect for Plain {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        let mut inner = Messages::at(out.now);
        let outcome = self.0.open(opening, &mut inner);
        Self::wrap(&inner, out);
        outcome
    }

    fn push(&self, push: &ServerPush<'_>, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.0.push(push, &mut inner);
        Self::wrap(&inner, out);
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        self.0.decode(message)
    }

    fn decode_parts(&self, message: Message<'_>, parts: &[Bytes]) -> Result<Request, CommandError> {
        self.0.decode_parts(message, parts)
    }

    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.0.reply(reply, id, &mut inner);
        Self::wrap(&inner, out);
    }

    fn batch(&self, batch: &Batch, spelling: Spelling, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.0.batch(batch, spelling, &mut inner);
        Self::wrap(&inner, out);
    }

    fn retained(&self, retained: &Retained, spelling: Spelling, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.0.retained(retained, spelling, &mut inner);
        Self::wrap(&inner, out);
    }

    fn presence(&self, change: &PresenceChange, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.0.presence(change, &mut inner);
        Self::wrap(&inner, out);
    }

    fn signal(&self, notice: &SignalNotice, spelling: Spelling, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.0.signal(notice, spelling, &mut inner);
        Self::wrap(&inner, out);
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}
