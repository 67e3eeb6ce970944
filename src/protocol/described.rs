//! A dialect that is described in the configuration (`[[dialect]]`).
//!
//! Owns only the description, which was compiled when the configuration was read. Never rebuilds a publisher's data. Always
//! holds: each message written is one JSON value; a message to a room contains nothing of its receiver but the spelling of
//! the room's name; a description without a text for a message writes nothing.

mod clock;
mod decode;
mod json_text;
mod occasion;
mod request;
mod spread;
mod write;

use http::Uri;

use super::{
    dialect::{Abilities, Dialect, PresenceChange},
    http_answer::HttpAnswer,
    message::{Message, MessageKind, Messages},
    opening::{OpenOutcome, Opening, ServerPush},
};
use crate::{
    dialect::{Action, Description, Envelope, Greet, MessageTemplate, RequestRule, ServerMessage},
    model::{
        Batch, CommandError, CommandId, Cursor, Disconnect, ErrorCode, Position, Progress, Reply, Request, Retained,
        Room, SignalNotice, Since, Spelling, SubscribeTo, UnixMillis,
    },
};
use decode::without_prefix;
use occasion::Occasion;
use request::filled;
use write::{Scene, write};

/// A dialect that is described.
#[derive(Debug, Clone)]
pub struct Described(Description);

impl Described {
    /// The dialect of a description.
    #[must_use]
    pub fn new(description: Description) -> Self {
        Self(description)
    }

    /// Writes one message of the server, if the description has a text for it.
    fn say(&self, message: ServerMessage, occasion: Occasion<'_>, id: Option<&CommandId>, out: &mut Messages) {
        // In Socket.IO a command has an id only if the client asked for an acknowledgement.
        let template = match id {
            Some(_) if self.0.envelope == Envelope::Socketio => self.0.acknowledges(message),
            _ => self.0.says(message),
        };
        let Some(template) = template else { return };
        self.put(template, &self.scene(occasion, id, 0, out.now), out);
    }

    fn scene<'a>(
        &'a self,
        occasion: Occasion<'a>,
        id: Option<&'a CommandId>,
        spelling: Spelling,
        now: UnixMillis,
    ) -> Scene<'a> {
        let prefix = usize::from(spelling).checked_sub(1).and_then(|at| self.0.prefixes.get(at));
        Scene { occasion, id, prefix: prefix.map_or("", String::as_str), now, events: &self.0.events }
    }

    fn put(&self, message: &MessageTemplate, scene: &Scene<'_>, out: &mut Messages) {
        out.push(MessageKind::Text, |out| write(message.steps(), scene, out));
    }

    /// Refuses a connection.
    fn refuse(&self, opening: &Opening<'_>, code: ErrorCode, message: &str, out: &mut Messages) {
        self.say(ServerMessage::Refused, Occasion::Refused(opening, code, message), None, out);
    }

    /// Adds the rooms of the cursor with which a connection goes on, each behind its position. One that is none, or has more rooms than a
    /// connection may be in, is told so.
    fn resume(&self, opening: &Opening<'_>, rooms: &mut Vec<SubscribeTo>, out: &mut Messages) {
        let Some(text) = self.0.resume.as_ref().and_then(|template| filled(template, opening)) else { return };
        let mut refuse = |code, message| {
            let error = Reply::Error { code, message, room: None };
            self.say(ServerMessage::Error, Occasion::Reply(&error), None, out);
        };
        let most = opening.limits.max_rooms;
        match Cursor::parse(&text) {
            Ok(cursor) if cursor.rooms() > most => {
                refuse(ErrorCode::LimitExceeded, format!("the cursor of the address: at most {most} rooms"));
            }
            Ok(cursor) => {
                for (room, Position { epoch, offset }) in cursor.into_positions() {
                    let since = Some(Since { epoch, offset });
                    match rooms.iter_mut().find(|joined| joined.room == room) {
                        Some(joined) => joined.since = since,
                        None => rooms.push(SubscribeTo { room, since, spelling: 0 }),
                    }
                }
            }
            Err(error) => refuse(ErrorCode::BadRequest, format!("the cursor of the address: {error}")),
        }
    }

    /// Events of a room: all in one message, or one each.
    fn events(&self, kind: ServerMessage, batch: &Batch, spelling: Spelling, out: &mut Messages) {
        if let Some(message) = self.0.says(kind).or_else(|| self.0.says(ServerMessage::Events)) {
            if !batch.events.is_empty() {
                self.put(message, &self.scene(Occasion::Batch(batch), None, spelling, out.now), out);
            }
            return;
        }
        for event in &batch.events {
            let scene = self.scene(Occasion::Event(batch, event), None, spelling, out.now);
            if let Some(rule) = scene.rule_of(event) {
                self.put(&rule.message, &scene, out);
            }
        }
    }
}

impl Dialect for Described {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        if let Some(missing) =
            self.0.required_query.iter().find(|name| opening.query(name).is_none_or(|v| v.is_empty()))
        {
            let message = format!("{missing} is missing in the query of the address");
            self.refuse(opening, ErrorCode::BadRequest, &message, out);
            return Err(Disconnect::Refused);
        }
        let mut rooms = Vec::new();
        if self.0.greet == Greet::First {
            self.say(ServerMessage::Welcome, Occasion::Opening(opening, false), None, out);
        }
        for template in &self.0.rooms {
            let Some(name) = filled(template, opening) else { continue };
            let (name, spelling) = without_prefix(name, &self.0.prefixes);
            match Room::parse(&name) {
                Ok(room) => rooms.push(SubscribeTo { room, since: None, spelling }),
                Err(error) => {
                    self.refuse(opening, ErrorCode::BadRoom, &error.to_string(), out);
                    return Err(Disconnect::Refused);
                }
            }
        }
        // Others' clients may leave them.
        let named = rooms.iter().filter(|_| self.0.idempotent).map(|joined| joined.room.clone()).collect();
        // A room of the cursor may be one that the client lost: it is not the one on which the connection depends.
        let greets_in_room = self.0.greet == Greet::InRoom && !rooms.is_empty();
        if self.0.greet == Greet::InRoom && rooms.is_empty() {
            self.say(ServerMessage::Welcome, Occasion::Opening(opening, false), None, out);
        }
        if opening.resumes {
            self.resume(opening, &mut rooms, out);
        }
        let after = self.0.continue_after.as_ref().and_then(|template| filled(template, opening)).map(Into::into);
        // A position says more than an event: the event is one of the room that the position is of.
        let after = after.filter(|_| rooms.first().is_none_or(|first| first.since.is_none()));
        Ok(OpenOutcome { rooms, named, greets_in_room, after })
    }

    fn push(&self, push: &ServerPush<'_>, out: &mut Messages) {
        match *push {
            ServerPush::Greeting { opening, replayed } if self.0.greet == Greet::InRoom => {
                self.say(ServerMessage::Welcome, Occasion::Opening(opening, replayed), None, out);
            }
            ServerPush::Greeting { .. } => {}
            ServerPush::Refused { opening, code, message } => self.refuse(opening, code, message, out),
            ServerPush::Heartbeat => self.say(ServerMessage::Heartbeat, Occasion::Heartbeat, None, out),
        }
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        decode::request(&self.0, message)
    }

    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages) {
        let message = match reply {
            // The room is as the client wants it. One that waits for an answer gets one.
            Reply::Error { code: ErrorCode::AlreadySubscribed | ErrorCode::NotSubscribed, .. }
                if self.0.idempotent && id.is_none() =>
            {
                return;
            }
            // Occasion by `open`; not asked for.
            Reply::Welcome { .. } | Reply::Stats(_) | Reply::Answer(_) => return,
            Reply::History { room, epoch, after, offset, complete, events } => {
                let (room, epoch, events) = (room.clone(), epoch.clone(), events.clone());
                let part = Batch { room, epoch, after: *after, offset: *offset, events };
                return self.say(ServerMessage::History, Occasion::History(&part, *complete), id, out);
            }
            // A command with an id has its answer.
            Reply::Unread { rooms } if rooms.is_empty() && id.is_some() => ServerMessage::Done,
            // Each room is a message of its own; of an acknowledgement there is one.
            Reply::Unread { rooms } => {
                for (at, room) in rooms.iter().enumerate() {
                    let id = id.filter(|_| at == 0 || self.0.envelope != Envelope::Socketio);
                    self.say(ServerMessage::Unread, Occasion::Unread(room), id, out);
                }
                return;
            }
            Reply::Receipts { receipts } => {
                for receipt in receipts {
                    let message = match receipt.progress {
                        Progress::Delivered => ServerMessage::Delivered,
                        Progress::Read => ServerMessage::Receipt,
                    };
                    self.say(message, Occasion::Receipt(receipt), id, out);
                }
                return;
            }
            Reply::Subscribed { .. } => ServerMessage::Subscribed,
            Reply::Unsubscribed { .. } => ServerMessage::Unsubscribed,
            Reply::Published(_) => ServerMessage::Published,
            Reply::Gap { .. } => ServerMessage::Gap,
            Reply::Presence { .. } => ServerMessage::Presence,
            Reply::Done { .. } => ServerMessage::Done,
            Reply::Result { .. } => ServerMessage::Result,
            Reply::Pong => ServerMessage::Pong,
            Reply::Refresh { .. } => ServerMessage::Refresh,
            Reply::Reconnect { .. } => ServerMessage::Reconnect,
            Reply::Error { .. } => ServerMessage::Error,
        };
        self.say(message, Occasion::Reply(reply), id, out);
    }

    fn batch(&self, batch: &Batch, spelling: Spelling, out: &mut Messages) {
        self.events(ServerMessage::Events, batch, spelling, out);
    }

    fn retained(&self, retained: &Retained, spelling: Spelling, out: &mut Messages) {
        let Retained { room, epoch, offset, events } = retained;
        let (room, epoch, events) = (room.clone(), epoch.clone(), events.clone());
        self.events(
            ServerMessage::Retained,
            &Batch { room, epoch, after: *offset, offset: *offset, events },
            spelling,
            out,
        );
    }

    fn presence(&self, change: &PresenceChange, out: &mut Messages) {
        if change.joined.is_empty() && change.left.is_empty() {
            self.say(
                ServerMessage::Presence,
                Occasion::Members(&change.room, &change.members, change.total),
                None,
                out,
            );
        }
        for (message, members) in [(ServerMessage::Joined, &change.joined), (ServerMessage::Left, &change.left)] {
            if !members.is_empty() {
                self.say(message, Occasion::Members(&change.room, members, change.total), None, out);
            }
        }
    }

    fn signal(&self, notice: &SignalNotice, spelling: Spelling, out: &mut Messages) {
        let end = self.0.says(ServerMessage::SignalEnd).filter(|_| notice.ttl_ms == 0);
        if let Some(message) = end.or_else(|| self.0.says(ServerMessage::Signal)) {
            self.put(message, &self.scene(Occasion::Signal(notice), None, spelling, out.now), out);
        }
    }

    fn subprotocol<'o>(&self, offered: &mut dyn Iterator<Item = &'o str>) -> Option<&'o str> {
        let (known, mut offered) = (&self.0.subprotocols, offered);
        Iterator::find(&mut offered, |offer| known.is_empty() || known.iter().any(|known| known == offer))
    }

    fn request(&self, at: usize, target: &Uri) -> Option<String> {
        let RequestRule { path, message } = self.0.requests.get(at)?;
        let mut text = Vec::new();
        write(message.steps(), &self.scene(Occasion::Request(target, path), None, 0, UnixMillis::default()), &mut text);
        String::from_utf8(text).ok()
    }

    fn http_answer(&self, answer: &HttpAnswer<'_>, now: UnixMillis) -> Vec<u8> {
        let on = if answer.cursor.is_some() { ServerMessage::Polled } else { ServerMessage::Sent };
        let Some(message) = self.0.says(on) else { return answer.native() };
        let mut body = Vec::with_capacity(answer.messages.len() + 256);
        write(message.steps(), &self.scene(Occasion::Http(answer), None, 0, now), &mut body);
        body
    }

    fn http_refusal(&self, code: ErrorCode, message: &str, now: UnixMillis) -> Option<Vec<u8>> {
        let error = Reply::Error { code, message: message.to_owned(), room: None };
        let mut body = Vec::new();
        write(
            self.0.says(ServerMessage::Error)?.steps(),
            &self.scene(Occasion::Reply(&error), None, 0, now),
            &mut body,
        );
        Some(body)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            tells_gaps: self.0.says(ServerMessage::Gap).is_some(),
            takes_tokens: self.0.commands.iter().any(|command| matches!(command.does, Action::Connect(_))),
            heartbeat: self.0.heartbeat,
            tells_positions: false,
        }
    }
}

#[cfg(test)]
mod tests;
