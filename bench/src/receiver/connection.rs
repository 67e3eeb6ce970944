//! One receiver of one room: subscribes, and follows the room's position.
//!
//! ```text
//! Opening ──▶ Subscribing ──▶ Member       the pod
//! Opening ─────────────────▶ Member        the floor, which has no rooms, and servers whose rooms stand in the request
//! ```

use std::rc::Rc;

use super::{
    control::Target,
    frames::{Batch, Said, parse, start},
    tally::Tally,
    trips,
    websocket::{Hear, Link, Shared},
};
use crate::{
    content::{Recipe, Stamp},
    dialect::{Dialect, room_name},
    edge::Ready,
    error::BenchError,
    foreign::{Foreign, fossil, utterance::Utterance},
    verify::Tracker,
};

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// TCP, TLS, upgrade.
    Opening,
    /// `subscribe` is sent.
    Subscribing,
    /// It receives.
    Member,
}

/// One connection in one room.
pub(super) struct Connection {
    /// The transport.
    pub(super) link: Link,
    /// The room's number.
    pub(super) room: u32,
    /// How far it is.
    pub(super) stage: Stage,
    /// What it has received.
    pub(super) tracker: Tracker,
    /// Of a stream whose cuts mean nothing: what is not whole yet.
    pub(super) pending: Vec<u8>,
    /// When it was started, on the monotonic clock.
    pub(super) started: u64,
    /// Whether it will subscribe once it is open.
    pub(super) subscribes: bool,
    /// What it speaks.
    pub(super) dialect: Dialect,
}

impl Connection {
    /// The socket is ready. An error ends the connection.
    pub(super) fn ready(
        &mut self,
        ready: Ready,
        shared: &mut Shared,
        tally: &mut Tally,
        recipe: &Recipe,
    ) -> Result<(), BenchError> {
        let mut member = Member {
            room: self.room,
            dialect: self.dialect,
            stage: &mut self.stage,
            tracker: &mut self.tracker,
            pending: &mut self.pending,
            tally,
            recipe,
            ended: None,
            says: Vec::new(),
        };
        let read = self.link.ready(ready, shared, &mut member)?;
        let (ended, says) = (member.ended.take(), std::mem::take(&mut member.says));
        tally.wire_bytes += read as u64;
        if let Some(reason) = ended {
            return Err(BenchError::Protocol(reason));
        }
        for message in says {
            if message.starts_with(b"420") {
                self.stage = Stage::Subscribing;
            }
            self.link.send(&message, shared)?;
        }
        if self.stage == Stage::Opening && self.link.is_open() && !self.dialect.is_socketio() {
            match tally.target {
                Target::Pod if self.subscribes => {
                    let messages = self.dialect.subscribe(self.room);
                    self.stage = if messages.is_empty() { Stage::Member } else { Stage::Subscribing };
                    for message in messages {
                        self.link.send(message.as_bytes(), shared)?;
                    }
                }
                Target::Pod | Target::Floor => self.stage = Stage::Member,
            }
        }
        Ok(())
    }
}

/// The part of a connection that hears.
struct Member<'a> {
    room: u32,
    dialect: Dialect,
    stage: &'a mut Stage,
    tracker: &'a mut Tracker,
    pending: &'a mut Vec<u8>,
    tally: &'a mut Tally,
    recipe: &'a Recipe,
    ended: Option<String>,
    /// What is to be answered.
    says: Vec<Vec<u8>>,
}

impl Member<'_> {
    fn batch(&mut self, batch: &Batch) {
        let before = self.tally.faults;
        let offsets = batch.events.iter().map(|&(offset, _)| offset);
        self.tracker.events(batch.after, batch.offset, offsets, &mut self.tally.faults);
        if before != self.tally.faults {
            self.tally
                .example(|| format!("room {}: a frame that covers ({}, {}]", self.room, batch.after, batch.offset));
        }
        self.tally.collapsed += self.tracker.collapsed(&batch.collapsed);
        self.tally.batch(self.room, batch);
    }

    fn parse(&self, message: &str) -> Said {
        match self.dialect {
            Dialect::Trips => trips::parse(message, self.room, self.recipe),
            Dialect::Native | Dialect::Socketio | Dialect::LivePolls | Dialect::Foreign(_) => {
                parse(message, self.room, self.recipe)
            }
        }
    }

    /// Takes what a server of others sent; what is not whole waits.
    fn foreign(&mut self, language: Foreign, bytes: &[u8]) {
        let mut pending = std::mem::take(self.pending);
        let mut rest = if pending.is_empty() {
            bytes
        } else {
            pending.extend_from_slice(bytes);
            &pending
        };
        let room = room_name(self.room);
        while !rest.is_empty() && self.ended.is_none() {
            // JSON and operations say where they end: what begins with a known one is that one.
            let known = self.tally.known(self.room).recognise(rest);
            let taken = if let Some((length, batch)) = known {
                self.batch(&batch);
                length
            } else {
                let Some((length, said)) = language.first(rest, &room) else { break };
                self.utterance(language, &rest[..length], said);
                length
            };
            rest = &rest[taken..];
        }
        *self.pending = rest.to_vec();
    }

    fn utterance(&mut self, language: Foreign, bytes: &[u8], said: Utterance<'_>) {
        match said {
            Utterance::Joined => {
                // The rooms are new.
                self.tracker.subscribed(0);
                *self.stage = Stage::Member;
            }
            Utterance::Event(data) => self.event(language, bytes, data),
            Utterance::Delta(delta) => {
                let base = self.tally.known(self.room).data(self.tracker.position());
                let data = base.and_then(|base| String::from_utf8(fossil::apply(base.as_bytes(), delta)?).ok());
                match data {
                    Some(data) => self.event(language, bytes, &data),
                    None => self.ended = Some("a delta does not fit the event before".to_owned()),
                }
            }
            Utterance::Answer(answer) => self.says.push(answer.into_bytes()),
            Utterance::Nothing => {}
            Utterance::Wrong => {
                self.ended = Some(format!("the server said: {}", start(&String::from_utf8_lossy(bytes))))
            }
        }
    }

    /// An event of a server of others: where it stands is what its data say, since not all of them number events.
    fn event(&mut self, language: Foreign, bytes: &[u8], data: &str) {
        let Ok(Stamp { n, .. }) = serde_json::from_str(data) else {
            self.ended = Some(format!("the server said: {}", start(data)));
            return;
        };
        let stamp = match language {
            // Node reads and writes the data.
            Foreign::Socketio => self.recipe.check_values(self.room, data),
            _ => self.recipe.check(self.room, data),
        };
        let batch = Rc::new(Batch { after: n, offset: n + 1, events: vec![(n + 1, stamp)], collapsed: Vec::new() });
        let known = self.tally.known(self.room);
        known.remember(bytes, &batch);
        if language == Foreign::CentrifugoDeltas {
            known.remember_data(n + 1, data);
        }
        self.batch(&batch);
    }
}

impl Hear for Member<'_> {
    fn recognise(&mut self, plaintext: &[u8]) -> Option<usize> {
        let (length, batch) = self.tally.known(self.room).recognise(plaintext)?;
        self.batch(&batch);
        Some(length)
    }

    fn text(&mut self, message: &str, frame: Option<&[u8]>) {
        if let Dialect::Foreign(language) = self.dialect {
            return self.foreign(language, message.as_bytes());
        }
        // Where frames differ from connection to connection, what they say does not.
        if frame.is_none()
            && let Some((length, batch)) = self.tally.known(self.room).recognise(message.as_bytes())
            && length == message.len()
        {
            return self.batch(&batch);
        }
        match self.parse(message) {
            Said::Batch(batch) => {
                self.tally.known(self.room).remember(frame.unwrap_or(message.as_bytes()), &batch);
                self.batch(&batch);
            }
            Said::Subscribed(offset) => {
                self.tracker.subscribed(offset);
                *self.stage = Stage::Member;
            }
            Said::Gap { after, offset } => {
                self.tracker.gap(after, offset, &mut self.tally.faults);
                self.tally.example(|| format!("a gap in room {}: ({after}, {offset}]", self.room));
            }
            Said::Opened => self.says.push(b"40".to_vec()),
            // It is in its session already.
            Said::Connected if self.dialect == Dialect::LivePolls => *self.stage = Stage::Subscribing,
            Said::Heartbeat => self.says.push(b"42[\"heartbeat:pong\"]".to_vec()),
            Said::Connected => {
                self.says.extend(self.dialect.subscribe(self.room).into_iter().map(String::into_bytes));
            }
            Said::Ping => {
                self.tally.pings += 1;
                self.says.push(b"3".to_vec());
            }
            Said::Other => {}
            Said::Wrong(what) => self.ended = Some(format!("the server said: {what}")),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Dialect::Foreign(language) = self.dialect {
            self.foreign(language, bytes);
        }
    }

    fn ping(&mut self) {
        self.tally.pings += 1;
    }

    fn close(&mut self, reason: Option<(u16, &str)>) {
        self.ended = Some(match reason {
            Some((code, reason)) => format!("the server closed with {code} {reason}"),
            None => "the server closed without a code".to_owned(),
        });
    }
}
