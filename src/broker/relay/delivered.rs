//! A delivery as it travels over a link: the bytes of a message on a room's channel in Redis, so that events have one form. Pure.
//!
//! `n` and a stored event is one that enters no log and is kept from no user, which no channel carries.

use bytes::{BufMut, Bytes};

use crate::{
    broker::{
        Delivery,
        redis::entry::{self, ChannelMessage, EntryError},
    },
    model::Member,
};

const UNLOGGED_FOR_ALL: u8 = b'n';

/// The bytes; `None`: it is where a room stands, which is a message of its own, or more than a stored event holds.
#[must_use]
pub fn encode(delivery: &Delivery) -> Option<Bytes> {
    match delivery {
        Delivery::Started(_) => None,
        Delivery::Event { epoch, event } => {
            let mut out = format!("e{epoch} {} {}\n", event.offset, event.time).into_bytes();
            let stored = entry::encode(&(**event).clone().into_publication(), event.room.as_ref()).ok()?;
            out.extend_from_slice(&stored);
            Some(out.into())
        }
        Delivery::Unlogged { publication, except: Some(except) } => entry::unlogged_message(publication, except).ok(),
        Delivery::Unlogged { publication, except: None } => {
            let stored = entry::encode(publication, None).ok()?;
            let mut out = Vec::with_capacity(1 + stored.len());
            out.put_u8(UNLOGGED_FOR_ALL);
            out.extend_from_slice(&stored);
            Some(out.into())
        }
        Delivery::Signal(signal) => entry::signal_message(signal).ok(),
        Delivery::Notice(notice) => Some(entry::notice_message(notice)),
        Delivery::Joined(member) => Some(presence('j', member)),
        Delivery::Left(member) => Some(presence('l', member)),
    }
}

fn presence(kind: char, member: &Member) -> Bytes {
    let user = member.user.as_deref().map_or_else(String::new, |user| format!("u{user}"));
    format!("{kind}{}\n{user}", member.connection).into()
}

/// The delivery.
///
/// # Errors
/// [`EntryError`]: it is not one, or not of this build.
pub fn decode(bytes: &Bytes) -> Result<Delivery, EntryError> {
    if bytes.first() == Some(&UNLOGGED_FOR_ALL) {
        let publication = entry::decode(&bytes.slice(1..), 0, 0)?.into_publication();
        return Ok(Delivery::Unlogged { publication: Box::new(publication), except: None });
    }
    Ok(match entry::message(bytes)? {
        ChannelMessage::Event(epoch, event) => Delivery::Event { epoch, event: event.into() },
        ChannelMessage::Unlogged(publication, except) => {
            Delivery::Unlogged { publication: Box::new(publication), except: Some(except) }
        }
        ChannelMessage::Signal(signal) => Delivery::Signal(signal),
        ChannelMessage::Notice(notice) => Delivery::Notice(notice),
        ChannelMessage::Joined(member) => Delivery::Joined(member),
        ChannelMessage::Left(member) => Delivery::Left(member),
        // A home says where a room stands instead.
        ChannelMessage::Forgotten => return Err(EntryError::Version(b'f')),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{Epoch, Event, Notice, Payload, Position, Publication, Room, Signal, SignalAct, Unread};

    #[test]
    fn every_delivery_comes_back_as_it_was() {
        let room = Room::parse("a").unwrap();
        let publication = |payload| Publication {
            topic: "t".into(),
            key: Some("k".into()),
            payload,
            user: Some("ann".into()),
            id: Some("i".into()),
            idempotency_key: None,
        };
        let json = || Payload::Json(RawValue::from_string("[1]".to_owned()).unwrap());
        let binary = || Payload::Binary(Bytes::from_static(&[1, 2]));
        let member = Member { connection: "c".into(), user: Some("ann".into()) };
        let event = |part| Arc::new(Event::from_publication(publication(json()), 3, 1_700_000_000_000, part));
        for delivery in [
            Delivery::Event { epoch: Epoch::new("e.1"), event: event(None) },
            Delivery::Event { epoch: Epoch::new("e"), event: event(Some(room.clone())) },
            Delivery::Unlogged { publication: Box::new(publication(binary())), except: None },
            Delivery::Unlogged { publication: Box::new(publication(json())), except: Some("bob".into()) },
            Delivery::Signal(Box::new(Signal {
                topic: "typing".into(),
                sender: member.clone(),
                data: Some(json()),
                act: SignalAct::Show(5_000),
            })),
            Delivery::Notice(Box::new(Notice::Unread(vec![Unread {
                room,
                read: Position::new(Epoch::new("e"), 2),
                end: 3,
            }]))),
            Delivery::Joined(member),
            Delivery::Left(Member { connection: "d".into(), user: None }),
        ] {
            let bytes = encode(&delivery).unwrap();
            assert_eq!(format!("{:?}", decode(&bytes).unwrap()), format!("{delivery:?}"));
        }
        assert_eq!(encode(&Delivery::Started(Position::new(Epoch::new("e"), 1))), None);
        assert!(decode(&Bytes::from_static(b"z")).is_err());
    }
}
