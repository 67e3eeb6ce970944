//! A dialect of JSON arrays, as Socket.IO packets in one namespace.
//!
//! The dialect inside writes each thing that it says as a text message, a JSON array: an event's name and arguments, or, for
//! a reply that answers a command, an acknowledgement's arguments. Binary messages behind it are its parts, in the order
//! of its placeholders. Never looks into an array beyond its closing bracket. Always holds: what belongs to a batch ends
//! with an offset, nothing else does.

use std::{io::Write, slice::Iter};

use bytes::Bytes;

use super::StreamOffset;
use crate::{
    model::{Batch, CommandError, CommandId, Disconnect, Reply, Request, Retained, SignalNotice, Spelling},
    protocol::{Abilities, Dialect, Message, MessageKind, Messages, OpenOutcome, Opening, PresenceChange, ServerPush},
};

/// What is put before the data of each packet of a namespace: nothing for the main one.
fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

/// Writes the answer to a connect. Without `pid` the session cannot be recovered.
pub fn connected(namespace: &str, sid: &str, pid: Option<&str>, out: &mut Messages) {
    let prefix = prefix(namespace);
    // Both are ours, in base64url.
    let pid = pid.map(|pid| format!(",\"pid\":\"{pid}\"")).unwrap_or_default();
    out.push(MessageKind::Text, |out| {
        let _ = write!(out, "40{prefix}{{\"sid\":\"{sid}\"{pid}}}");
    });
}

/// Writes a refused connect.
pub fn connect_error(namespace: &str, message: &str, code: Option<&str>, out: &mut Messages) {
    #[derive(serde::Serialize)]
    struct Refused<'a> {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Data<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Data<'a> {
        code: &'a str,
    }
    let prefix = prefix(namespace);
    out.push(MessageKind::Text, |out| {
        let _ = write!(out, "44{prefix}");
        // Strings are always JSON, and a Vec takes every write.
        let _ = serde_json::to_writer(out, &Refused { message, data: code.map(|code| Data { code }) });
    });
}

/// Writes the server's leaving of a namespace: clients do not come back by themselves.
pub fn disconnect(namespace: &str, out: &mut Messages) {
    let prefix = prefix(namespace);
    out.push(MessageKind::Text, |out| {
        let _ = write!(out, "41{prefix}");
    });
}

/// The envelope of a namespace.
pub struct Envelope {
    prefix: Box<str>,
    inner: Box<dyn Dialect>,
    offsets: bool,
}

impl Envelope {
    /// Wraps a dialect of arrays. `offsets`: whether sessions can be recovered.
    #[must_use]
    pub fn new(namespace: &str, inner: Box<dyn Dialect>, offsets: bool) -> Self {
        Self { prefix: prefix(namespace).into(), inner, offsets }
    }

    /// The name of a command of this namespace: its acknowledgement's number, if it wants one.
    #[must_use]
    pub fn command_id(namespace: &str, ack: Option<&str>) -> CommandId {
        format!("{}{}", prefix(namespace), ack.unwrap_or_default()).into()
    }

    /// The namespace of a command, and the number of the acknowledgement that it wants.
    #[must_use]
    pub fn read_id(id: &str) -> (&str, Option<&str>) {
        let (namespace, ack) = id.rsplit_once(',').unwrap_or(("/", id));
        (namespace, (!ack.is_empty()).then_some(ack))
    }

    fn wrap(
        &self,
        plain: u8,
        ack: &str,
        inner: &Messages,
        offset: impl Fn(usize, usize, &mut Vec<u8>),
        out: &mut Messages,
    ) {
        let emissions = Emissions::of(inner);
        let count = emissions.0.len();
        for (index, (array, parts)) in emissions.0.iter().enumerate() {
            // An acknowledgement has one packet; what else is said in answer comes as events.
            let (plain, ack) = if index == 0 { (plain, ack) } else { (b'2', "") };
            out.push(MessageKind::Text, |out| {
                if parts.is_empty() {
                    out.extend_from_slice(&[b'4', plain]);
                } else {
                    // 5 and 6 are 2 and 3 with binary parts.
                    let _ = write!(out, "4{}{}-", char::from(plain + 3), parts.len());
                }
                out.extend_from_slice(self.prefix.as_bytes());
                out.extend_from_slice(ack.as_bytes());
                let Some(open) = array.strip_suffix(b"]") else { return out.extend_from_slice(array) };
                out.extend_from_slice(open);
                offset(index, count, out);
                out.push(b']');
            });
            for part in parts {
                out.push(MessageKind::Binary, |out| out.extend_from_slice(part));
            }
        }
    }
}

/// What a dialect wrote: each text with the binary messages behind it.
struct Emissions<'a>(Vec<(&'a [u8], Vec<&'a [u8]>)>);

impl<'a> Emissions<'a> {
    fn of(messages: &'a Messages) -> Self {
        let mut emissions: Vec<(&[u8], Vec<&[u8]>)> = Vec::new();
        for (kind, message) in messages.iter() {
            match (kind, emissions.last_mut()) {
                (MessageKind::Binary, Some((_, parts))) => parts.push(message),
                (MessageKind::Binary, None) => {}
                (MessageKind::Text, _) => emissions.push((message, Vec::new())),
            }
        }
        Self(emissions)
    }
}

fn no_offset(_: usize, _: usize, _: &mut Vec<u8>) {}

impl Dialect for Envelope {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        let mut inner = Messages::at(out.now);
        let outcome = self.inner.open(opening, &mut inner);
        self.wrap(b'2', "", &inner, no_offset, out);
        outcome
    }

    fn push(&self, push: &ServerPush<'_>, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.inner.push(push, &mut inner);
        self.wrap(b'2', "", &inner, no_offset, out);
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        self.inner.decode(message)
    }

    fn decode_parts(&self, message: Message<'_>, parts: &[Bytes]) -> Result<Request, CommandError> {
        self.inner.decode_parts(message, parts)
    }

    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        let ack = id.and_then(|id| Self::read_id(id).1);
        match ack {
            // What the dialect says itself in answer to a message is no acknowledgement, unless it is asked for one.
            None => {
                self.inner.reply(reply, None, &mut inner);
                self.wrap(b'2', "", &inner, no_offset, out);
            }
            Some(ack) => {
                self.inner.reply(reply, Some(&ack.into()), &mut inner);
                if inner.is_empty() {
                    inner.push(MessageKind::Text, |out| out.extend_from_slice(b"[]"));
                }
                self.wrap(b'3', ack, &inner, no_offset, out);
            }
        }
    }

    fn batch(&self, batch: &Batch, spelling: Spelling, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.inner.batch(batch, spelling, &mut inner);
        let time = batch.events.last().map_or(out.now, |event| event.time);
        let offset = |index: usize, count: usize, out: &mut Vec<u8>| {
            if !self.offsets || !batch.is_logged() {
                return;
            }
            // The last packet covers the batch. One before it covers its own event where each has one, else nothing new.
            let events: Iter<'_, _> = batch.events.iter();
            let (offset, time) = match events.as_slice().get(index) {
                _ if index + 1 == count => (batch.offset, time),
                Some(event) if count == batch.events.len() => (event.offset, event.time),
                _ => (batch.after, batch.events.first().map_or(time, |event| event.time)),
            };
            out.push(b',');
            StreamOffset::write_json(batch, offset, time, out);
        };
        self.wrap(b'2', "", &inner, offset, out);
    }

    fn retained(&self, retained: &Retained, spelling: Spelling, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.inner.retained(retained, spelling, &mut inner);
        self.wrap(b'2', "", &inner, no_offset, out);
    }

    fn presence(&self, change: &PresenceChange, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.inner.presence(change, &mut inner);
        self.wrap(b'2', "", &inner, no_offset, out);
    }

    fn signal(&self, notice: &SignalNotice, spelling: Spelling, out: &mut Messages) {
        let mut inner = Messages::at(out.now);
        self.inner.signal(notice, spelling, &mut inner);
        self.wrap(b'2', "", &inner, no_offset, out);
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }
}
