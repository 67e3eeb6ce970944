//! What a message of the server is about, and what each occasion has of rooms, positions and events.
//!
//! Shapes only.

use std::borrow::Cow;

use http::Uri;

use crate::{
    dialect::segments,
    model::{
        Batch, Disconnect, ErrorCode, Event, Member, Offset, Payload, Receipt, Reply, Room, SignalNotice, UnixMillis,
        Unread, percent_decoded,
    },
    protocol::{
        http_answer::HttpAnswer,
        opening::{Opening, query},
    },
};

/// What a message is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Occasion<'a> {
    /// The connection, and whether the missed events follow.
    Opening(&'a Opening<'a>, bool),
    Refused(&'a Opening<'a>, ErrorCode, &'a str),
    Heartbeat,
    Reply(&'a Reply),
    Batch(&'a Batch),
    /// Past events, and whether they are all to the end of the log.
    History(&'a Batch, bool),
    Event(&'a Batch, &'a Event),
    Members(&'a Room, &'a [Member], usize),
    Signal(&'a SignalNotice),
    Unread(&'a Unread),
    Receipt(&'a Receipt),
    /// The body of an answer over HTTP.
    Http(&'a HttpAnswer<'a>),
    /// What a request asks for, and the pattern of its path.
    Request(&'a Uri, &'a str),
}

impl<'a> Occasion<'a> {
    /// The room that it is about.
    pub(super) fn room(self) -> Option<&'a Room> {
        match self {
            Occasion::Batch(batch) | Occasion::Event(batch, _) | Occasion::History(batch, _) => Some(&batch.room),
            Occasion::Members(room, ..) => Some(room),
            Occasion::Signal(notice) => Some(&notice.room),
            Occasion::Unread(unread) => Some(&unread.room),
            Occasion::Receipt(receipt) => Some(&receipt.room),
            Occasion::Reply(
                Reply::Subscribed { room, .. }
                | Reply::Unsubscribed { room, .. }
                | Reply::Gap { room, .. }
                | Reply::Presence { room, .. },
            ) => Some(room),
            Occasion::Reply(Reply::Error { room, .. }) => room.as_ref(),
            Occasion::Reply(_)
            | Occasion::Opening(..)
            | Occasion::Refused(..)
            | Occasion::Heartbeat
            | Occasion::Http(_)
            | Occasion::Request(..) => None,
        }
    }

    /// The epoch, if there is a log.
    pub(super) fn epoch(self) -> Option<&'a str> {
        let epoch = match self {
            Occasion::Batch(batch) | Occasion::Event(batch, _) | Occasion::History(batch, _) => batch.epoch.as_str(),
            Occasion::Reply(Reply::Subscribed { position, .. } | Reply::Published(position)) => position.epoch.as_str(),
            Occasion::Reply(Reply::Gap { epoch, .. }) => epoch.as_str(),
            Occasion::Unread(unread) => unread.read.epoch.as_str(),
            Occasion::Receipt(receipt) => receipt.position.epoch.as_str(),
            _ => return None,
        };
        // An unlogged event has no epoch, and so no position.
        (!epoch.is_empty()).then_some(epoch)
    }

    /// The last offset, if there is a log.
    pub(super) fn offset(self) -> Option<Offset> {
        self.epoch()?;
        Some(match self {
            Occasion::Batch(batch) | Occasion::History(batch, _) => batch.offset,
            Occasion::Event(_, event) => event.offset,
            Occasion::Reply(Reply::Subscribed { position, .. } | Reply::Published(position)) => position.offset,
            Occasion::Reply(Reply::Gap { offset, .. }) => *offset,
            Occasion::Unread(unread) => unread.read.offset,
            Occasion::Receipt(receipt) => receipt.position.offset,
            _ => return None,
        })
    }

    /// Whether it is a value that the room retained: it goes on from nowhere, where a batch goes on behind the one before.
    pub(super) fn is_retained(self) -> bool {
        matches!(self, Occasion::Event(batch, _) if batch.after == batch.offset)
    }

    /// The event.
    pub(super) fn event(self) -> Option<&'a Event> {
        if let Occasion::Event(_, event) = self { Some(event) } else { None }
    }

    /// The data.
    pub(super) fn payload(self) -> Option<&'a Payload> {
        match self {
            Occasion::Signal(SignalNotice { data, .. }) | Occasion::Reply(Reply::Result { data }) => data.as_ref(),
            _ => self.event().map(|event| &event.payload),
        }
    }

    /// When it was taken in.
    pub(super) fn time(self) -> Option<UnixMillis> {
        match self {
            Occasion::Signal(notice) => Some(notice.time),
            _ => self.event().map(|event| event.time),
        }
    }

    /// Members, and how many there are in all.
    pub(super) fn members(self) -> Option<(&'a [Member], usize)> {
        match self {
            Occasion::Members(_, members, total) => Some((members, total)),
            Occasion::Reply(Reply::Presence { list, .. }) => Some((&list.members, list.total)),
            _ => None,
        }
    }

    /// The events of several in one message.
    pub(super) fn batch(self) -> Option<&'a Batch> {
        if let Occasion::Batch(batch) | Occasion::History(batch, _) = self { Some(batch) } else { None }
    }

    /// Whether it is the body of an answer over HTTP.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Occasion::Http(_))
    }

    /// Why nothing more is said to a client that fetches.
    pub(super) fn close(self) -> Option<Disconnect> {
        if let Occasion::Http(answer) = self { answer.close() } else { None }
    }

    /// Where a client stands that fetches.
    pub(super) fn cursor(self) -> Option<&'a str> {
        if let Occasion::Http(answer) = self { answer.cursor } else { None }
    }

    /// What a `*` of the pattern of a request's path stands for, counted from 1, decoded.
    pub(super) fn segment(self, star: usize) -> Option<Cow<'a, str>> {
        let Occasion::Request(target, pattern) = self else { return None };
        percent_decoded(segments(pattern, target.path())?.get(star.checked_sub(1)?)?).ok()
    }

    /// The first value of a name in the query of a request or of the connection's request, decoded.
    pub(super) fn query(self, name: &str) -> Option<Cow<'a, str>> {
        match self {
            Occasion::Opening(opening, _) | Occasion::Refused(opening, ..) => opening.query(name),
            Occasion::Request(target, _) => query(target, name),
            _ => None,
        }
    }
}
