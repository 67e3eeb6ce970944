//! One receiver of one room: subscribes, and follows the room's position.
//!
//! ```text
//! Opening ──▶ Subscribing ──▶ Member       the pod
//! Opening ─────────────────▶ Member        the floor, which has no rooms
//! ```

use std::rc::Rc;

use super::{
    control::Target,
    frames::{Batch, Said, parse},
    tally::Tally,
    trips,
    websocket::{Hear, Link, Shared},
};
use crate::{content::Recipe, dialect::Dialect, edge::Ready, error::BenchError, verify::Tracker};

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
                    self.stage = Stage::Subscribing;
                    for message in self.dialect.subscribe(self.room) {
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
            Dialect::Native | Dialect::Socketio | Dialect::LivePolls => parse(message, self.room, self.recipe),
        }
    }
}

impl Hear for Member<'_> {
    fn recognise(&mut self, plaintext: &[u8]) -> Option<usize> {
        let (length, batch) = self.tally.known(self.room).recognise(plaintext)?;
        self.batch(&batch);
        Some(length)
    }

    fn text(&mut self, message: &str, frame: Option<&[u8]>) {
        match self.parse(message) {
            Said::Batch(batch) => {
                if let Some(frame) = frame {
                    self.tally.known(self.room).remember(frame, &Rc::clone(&batch));
                }
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
