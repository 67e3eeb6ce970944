//! How an event is stored and published, byte by byte. Pure.
//!
//! A stored event, version 1:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | `0x10`, and bits: 1 the payload is opaque bytes, otherwise JSON; 2 a key, 4 a user, 8 an id follows the topic |
//! | 2 | the length of the head, most significant byte first |
//! | head | topic, key, user, id: each a length of 2 bytes and UTF-8 text |
//! | rest | the payload, as the publisher wrote it |
//!
//! Version 2, for logs that several rooms share, begins with `0x20` instead, and its head with the name of the room that the
//! event was published to.
//!
//! A message on a room's channel is one of
//! `e EPOCH SP OFFSET SP TIME LF` and a stored event; `a EXCEPT LF` and one that enters no log, where `EXCEPT` is the user that
//! does not get it, as a JSON text; `s TTL SP HAS SP CONNECTION LF` and a stored event for a signal, where `TTL` is in milliseconds,
//! `-` for one that is taken back and `x` where its connection left, and `HAS` is `d` where it has data; `u LF` and lines
//! `ROOM SP EPOCH SP OFFSET SP END` for how far a user has read in rooms, and where these end; `r LF` and lines
//! `ROOM SP EPOCH SP OFFSET SP USER` for how far others have read what it wrote, where `USER` is a JSON text; `d LF` and such lines
//! behind `r SP`, or behind `d SP` for how far devices of others have got it; `j CONNECTION LF USER` and `l CONNECTION LF USER` for joins
//! and leaves, where `USER` is `u` and a name, or nothing; `f LF` where the room was forgotten (without the spaces between the words, but
//! `SP`).
//!
//! Bytes that do not follow this are refused, never guessed at: a newer build may have written them.

use std::{str, sync::Arc};

use bytes::{BufMut, Bytes};

use crate::{
    broker::BrokerError,
    model::{
        Epoch, Event, MAX_OFFSET, Member, Notice, Offset, Payload, Position, Progress, Publication, Receipt, Room,
        Signal, SignalAct, UnixMillis, Unread,
    },
};

const VERSION: u8 = 0x10;
const VERSION_OF_A_PART: u8 = 0x20;
const BINARY: u8 = 1;
const KEY: u8 = 2;
const USER: u8 = 4;
const ID: u8 = 8;

/// Why bytes from Redis are no stored event or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// They end too soon.
    #[error("it is cut short")]
    Short,
    /// They begin with a version or kind that this build does not know.
    #[error("it is of an unknown kind or version ({0:#04x})")]
    Version(u8),
    /// A text is not UTF-8 (RFC 3629), a number not one, or lengths do not add up.
    #[error("its head is malformed")]
    Head,
    /// The payload is not the JSON that it says it is (RFC 8259).
    #[error("its payload is not JSON")]
    Json,
}

/// A message on a room's channel.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelMessage {
    /// An event and its epoch.
    Event(Epoch, Event),
    /// An event that enters no log, and the user that does not get it.
    Unlogged(Publication, Box<str>),
    /// A signal.
    Signal(Box<Signal>),
    /// Something for the connections of one user.
    Notice(Box<Notice>),
    /// A member joined.
    Joined(Member),
    /// A member left.
    Left(Member),
    /// The room was forgotten, and begins anew.
    Forgotten,
}

/// The message that a room was forgotten.
pub(super) const FORGOTTEN: &str = "f\n";

/// An event as it is stored; `part`: the room that it is published to, if it shares its log.
///
/// # Errors
/// [`BrokerError::TooLarge`]: topic, key, user and id together exceed what a head holds.
pub fn encode(publication: &Publication, part: Option<&Room>) -> Result<Bytes, BrokerError> {
    let optional = [(KEY, &publication.key), (USER, &publication.user), (ID, &publication.id)];
    let texts = || {
        let optional = optional.iter().filter_map(|(_, text)| text.as_deref());
        part.map(Room::as_str).into_iter().chain([&*publication.topic]).chain(optional)
    };
    let head: usize = texts().map(|text| 2 + text.len()).sum();
    let limit = usize::from(u16::MAX);
    let Ok(head_bytes) = u16::try_from(head) else { return Err(BrokerError::TooLarge { bytes: head, limit }) };
    let (binary, payload) = match &publication.payload {
        Payload::Json(raw) => (0, raw.get().as_bytes()),
        Payload::Binary(bytes) => (BINARY, &bytes[..]),
    };
    let present = optional.iter().filter(|(_, text)| text.is_some()).fold(binary, |bits, (bit, _)| bits | bit);
    let mut out = Vec::with_capacity(3 + head + payload.len());
    out.put_u8(part.map_or(VERSION, |_| VERSION_OF_A_PART) | present);
    out.put_u16(head_bytes);
    for text in texts() {
        // Shorter than the head, whose length fits.
        out.put_u16(text.len() as u16);
        out.put_slice(text.as_bytes());
    }
    out.put_slice(payload);
    Ok(out.into())
}

/// A message with an event that enters no log. The connections of user `except` do not get it.
///
/// # Errors
/// As [`encode`].
pub fn unlogged_message(publication: &Publication, except: &str) -> Result<Bytes, BrokerError> {
    let event = encode(publication, None)?;
    // JSON, for a name may hold a line feed.
    let except = serde_json::Value::from(except).to_string();
    let mut out = Vec::with_capacity(2 + except.len() + event.len());
    out.put_u8(b'a');
    out.put_slice(except.as_bytes());
    out.put_u8(b'\n');
    out.put_slice(&event);
    Ok(out.into())
}

/// A message with a signal.
///
/// # Errors
/// As [`encode`].
pub fn signal_message(signal: &Signal) -> Result<Bytes, BrokerError> {
    let Signal { topic, sender: Member { connection, user }, data, act } = signal;
    let publication = Publication {
        topic: topic.clone(),
        key: None,
        payload: data.clone().unwrap_or(Payload::Binary(Bytes::new())),
        user: user.as_deref().map(Into::into),
        id: None,
        idempotency_key: None,
    };
    let ttl = match act {
        SignalAct::Show(ttl) => ttl.to_string(),
        SignalAct::Stop => "-".to_owned(),
        SignalAct::Leave => "x".to_owned(),
    };
    let has = if data.is_some() { 'd' } else { '-' };
    let mut out = format!("s{ttl} {has} {connection}\n").into_bytes();
    out.extend_from_slice(&encode(&publication, None)?);
    Ok(out.into())
}

fn signal_of(line: &str, event: &Bytes) -> Result<Signal, EntryError> {
    let mut words = line.splitn(3, ' ');
    let (Some(ttl), Some(has), Some(connection)) = (words.next(), words.next(), words.next()) else {
        return Err(EntryError::Head);
    };
    let act = match ttl {
        "-" => SignalAct::Stop,
        "x" => SignalAct::Leave,
        ttl => match ttl.parse::<u32>().map_err(|_| EntryError::Head)? {
            ttl @ 1..=Signal::MAX_TTL_MS => SignalAct::Show(ttl),
            _ => return Err(EntryError::Head),
        },
    };
    let Event { topic, payload, user, .. } = decode(event, 0, 0)?;
    let sender = Member { connection: connection.into(), user: user.map(Into::into) };
    Ok(Signal { topic, sender, data: (has == "d").then_some(payload), act })
}

/// A message with a notice.
#[must_use]
pub fn notice_message(notice: &Notice) -> Bytes {
    let mut out = String::new();
    match notice {
        Notice::Unread(rooms) => {
            out.push_str("u\n");
            for Unread { room, read, end } in rooms {
                out.push_str(&format!("{room} {} {} {end}\n", read.epoch, read.offset));
            }
        }
        Notice::Receipts(receipts) => {
            // Pods of an older build know those of one kind only.
            let are_mixed = receipts.iter().any(|receipt| receipt.progress == Progress::Delivered);
            out.push_str(if are_mixed { "d\n" } else { "r\n" });
            for Receipt { progress, room, user, position } in receipts {
                let word = match progress {
                    _ if !are_mixed => "",
                    Progress::Delivered => "d ",
                    Progress::Read => "r ",
                };
                let user = serde_json::Value::from(&**user);
                out.push_str(&format!("{word}{room} {} {} {user}\n", position.epoch, position.offset));
            }
        }
    }
    out.into()
}

fn mixed_receipt_of(line: &str) -> Result<Receipt, EntryError> {
    match line.split_at_checked(2).ok_or(EntryError::Head)? {
        ("d ", line) => receipt_of(line).map(|receipt| Receipt { progress: Progress::Delivered, ..receipt }),
        ("r ", line) => receipt_of(line),
        _ => Err(EntryError::Head),
    }
}

fn receipt_of(line: &str) -> Result<Receipt, EntryError> {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().ok_or(EntryError::Head);
    let room = Room::parse(word()?).map_err(|_| EntryError::Head)?;
    let position = Position::new(Epoch::new(word()?), number(word()?)?);
    let user: String = serde_json::from_str(word()?).map_err(|_| EntryError::Head)?;
    Ok(Receipt { progress: Progress::Read, room, user: user.into(), position })
}

fn unread_of(line: &str) -> Result<Unread, EntryError> {
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(EntryError::Head);
    let room = Room::parse(word()?).map_err(|_| EntryError::Head)?;
    let read = Position::new(Epoch::new(word()?), number(word()?)?);
    Ok(Unread { room, read, end: number(word()?)? })
}

/// The event that was stored at `offset`.
///
/// # Errors
/// [`EntryError`]: it is not one, or not of this build.
pub fn decode(stored: &Bytes, offset: Offset, time: UnixMillis) -> Result<Event, EntryError> {
    let [first, high, low, ..] = stored[..] else { return Err(EntryError::Short) };
    let is_part = first & 0xf0 == VERSION_OF_A_PART;
    if first & 0xf0 != VERSION && !is_part {
        return Err(EntryError::Version(first));
    }
    let end = 3 + usize::from(u16::from_be_bytes([high, low]));
    let mut head = stored.get(3..end).ok_or(EntryError::Short)?;
    let room = is_part.then(|| Room::parse(&text(&mut head)?).map_err(|_| EntryError::Head)).transpose()?;
    let topic = text(&mut head)?;
    let mut optional = |bit| if first & bit == 0 { Ok(None) } else { text(&mut head).map(Some) };
    let (key, user, id) = (optional(KEY)?, optional(USER)?, optional(ID)?);
    if !head.is_empty() {
        return Err(EntryError::Head);
    }
    let payload = if first & BINARY != 0 {
        Payload::Binary(stored.slice(end..))
    } else {
        Payload::Json(serde_json::from_slice(&stored[end..]).map_err(|_| EntryError::Json)?)
    };
    Ok(Event { offset, time, room, topic, key, payload, user, id })
}

fn text(head: &mut &[u8]) -> Result<Box<str>, EntryError> {
    let (length, rest) = head.split_first_chunk().ok_or(EntryError::Head)?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(EntryError::Head)?;
    *head = rest;
    str::from_utf8(text).map(Into::into).map_err(|_| EntryError::Head)
}

/// Reads a message of a room's channel.
///
/// # Errors
/// [`EntryError`]: it is not one, or not of this build.
pub fn message(bytes: &Bytes) -> Result<ChannelMessage, EntryError> {
    let kind = *bytes.first().ok_or(EntryError::Short)?;
    let line_end = bytes.iter().position(|byte| *byte == b'\n').ok_or(EntryError::Short)?;
    let line = str::from_utf8(bytes.get(1..line_end).ok_or(EntryError::Short)?).map_err(|_| EntryError::Head)?;
    let rest = bytes.slice(line_end + 1..);
    match kind {
        b'e' => {
            let (position, time) = line.rsplit_once(' ').ok_or(EntryError::Head)?;
            let (epoch, offset) = position_of(position)?;
            let event = decode(&rest, offset, time.parse().map_err(|_| EntryError::Head)?)?;
            Ok(ChannelMessage::Event(epoch, event))
        }
        b'a' => {
            let except = serde_json::from_str(line).map_err(|_| EntryError::Head)?;
            Ok(ChannelMessage::Unlogged(decode(&rest, 0, 0)?.into_publication(), except))
        }
        b's' => Ok(ChannelMessage::Signal(Box::new(signal_of(line, &rest)?))),
        b'u' => {
            let lines = str::from_utf8(&rest).map_err(|_| EntryError::Head)?.lines();
            let rooms = lines.map(unread_of).collect::<Result<_, _>>()?;
            Ok(ChannelMessage::Notice(Box::new(Notice::Unread(rooms))))
        }
        b'r' | b'd' => {
            let lines =
                str::from_utf8(&rest).map_err(|_| EntryError::Head)?.split('\n').filter(|line| !line.is_empty());
            let read = if kind == b'd' { mixed_receipt_of } else { receipt_of };
            let receipts = lines.map(read).collect::<Result<_, _>>()?;
            Ok(ChannelMessage::Notice(Box::new(Notice::Receipts(receipts))))
        }
        b'j' => Ok(ChannelMessage::Joined(member(line, &rest)?)),
        b'l' => Ok(ChannelMessage::Left(member(line, &rest)?)),
        b'f' => Ok(ChannelMessage::Forgotten),
        other => Err(EntryError::Version(other)),
    }
}

/// Reads `EPOCH SP OFFSET`.
pub(super) fn position_of(text: &str) -> Result<(Epoch, Offset), EntryError> {
    let (epoch, offset) = text.split_once(' ').ok_or(EntryError::Head)?;
    Ok((Epoch::new(epoch), number(offset)?))
}

/// Reads an offset.
pub(super) fn number(text: &str) -> Result<Offset, EntryError> {
    text.parse().ok().filter(|offset| *offset <= MAX_OFFSET).ok_or(EntryError::Head)
}

/// Reads the id of an event in its log, `OFFSET-TIME`.
pub(super) fn id_of(text: &str) -> Result<(Offset, UnixMillis), EntryError> {
    let (offset, time) = text.split_once('-').ok_or(EntryError::Head)?;
    Ok((number(offset)?, time.parse().map_err(|_| EntryError::Head)?))
}

/// Reads a retained value, `OFFSET-TIME SP` and a stored event.
pub(super) fn value(bytes: &Bytes) -> Result<Event, EntryError> {
    let end = bytes.iter().position(|byte| *byte == b' ').ok_or(EntryError::Short)?;
    let (offset, time) = id_of(str::from_utf8(&bytes[..end]).map_err(|_| EntryError::Head)?)?;
    decode(&bytes.slice(end + 1..), offset, time)
}

/// A user as it is stored beside its connection.
pub(super) fn stored_user(user: Option<&str>) -> String {
    user.map_or_else(String::new, |user| format!("u{user}"))
}

/// A member as it is stored.
pub(super) fn member(connection: &str, user: &[u8]) -> Result<Member, EntryError> {
    let user = match str::from_utf8(user).map_err(|_| EntryError::Head)? {
        "" => None,
        user => Some(Arc::from(user.strip_prefix('u').ok_or(EntryError::Head)?)),
    };
    Ok(Member { connection: connection.into(), user })
}

#[cfg(test)]
mod tests;
