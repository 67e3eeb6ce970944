//! The records of a link, byte by byte. Pure.
//!
//! A binary message of the WebSocket holds one record or several:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | how many bytes follow, most significant first |
//! | 1 | `0`: a message in JSON; `1`: a delivery; `2`: deliveries, compressed |
//! | rest | the JSON; or the 4 bytes of the number that the edge gave the room, and the delivery (`delivered`); or records of deliveries, behind the compressed ones before them as one stream of deflate (RFC 1951), without the end of each flush (RFC 7692 section 7.2.1) |
//!
//! A home compresses for an edge that says that it inflates, and an edge never does: what it says has tokens in it.
//!
//! What does not follow this is refused, and ends the link.

use bytes::{Buf, BufMut, Bytes};

use super::{
    MAX_RECORD,
    call::{CallAnswer, EdgeCall},
};
use crate::{
    broker::{BrokerError, FleetAnswer, FleetQuestion},
    model::{Member, Position, Room, Token, UnixMillis},
};

/// The version of the link's words.
pub const VERSION: u32 = 2;

const JSON: u8 = 0;
const DELIVERY: u8 = 1;
const PACKED: u8 = 2;

/// What an edge says.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromEdge {
    /// The first message.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The edge's name.
        pod: String,
        /// The program's version, for people.
        release: String,
        /// What the edge has drawn by lot at its start, the same over all of its links: its name is in use by no other meanwhile.
        #[serde(default)]
        secret: String,
        /// Where other edges find its internal listener, as `HOST:PORT`.
        #[serde(default)]
        address: Option<String>,
        /// Whether it reads compressed deliveries.
        #[serde(default)]
        inflates: bool,
    },
    /// Deliver a room, under this number. Repeating it has the home say again where the room stands.
    Follow {
        /// The number, which the edge never gives twice on a link.
        number: u32,
        /// The room.
        room: Room,
    },
    /// Deliver that room no more.
    Unfollow {
        /// Its number.
        number: u32,
    },
    /// A question.
    Call {
        /// Its number.
        id: u64,
        /// The question.
        call: EdgeCall,
    },
    /// A user's token, which the edge has found good: what follows may be in the user's name.
    Vouch(Token),
    /// A sign of life, with the edge's time (ms).
    Ping {
        /// The time.
        at: UnixMillis,
    },
    /// This link is the one over which the edge's members are told and orders reach it; `false`: no more, and it has no members here.
    Lead(bool),
    /// A member came.
    Join(Room, Member),
    /// A member went.
    Leave(Room, Member),
    /// Every member that the edge has was told since [`FromEdge::Lead`].
    AllJoined,
    /// The answer to a [`FromHome::Ask`]; `None`: it has none.
    Answer {
        /// The question's number.
        id: u64,
        /// The answer.
        said: Option<FleetAnswer>,
    },
}

/// What a home says, beside deliveries.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHome {
    /// The first message.
    Welcome {
        /// [`VERSION`].
        version: u32,
        /// The home's name.
        pod: String,
        /// The pods from this home to the log, this one included.
        ancestry: Ancestry,
        /// The largest record that it takes. One that does not say it takes [`MAX_RECORD`].
        #[serde(default = "largest")]
        largest: usize,
        /// Whether it takes what is done in a user's name only once it was shown a good token of that user. Otherwise it wants none.
        #[serde(default)]
        wants_tokens: bool,
    },
    /// The pods from this home to the log have changed.
    Ancestry(Ancestry),
    /// A room stands there; what is delivered of it continues from here.
    Started {
        /// The room's number.
        number: u32,
        /// Where it stands.
        position: Position,
    },
    /// The edge may not have that room.
    Refused {
        /// The room's number.
        number: u32,
        /// Why.
        why: String,
    },
    /// The answer to a call.
    Answered {
        /// The call's number.
        id: u64,
        /// The answer.
        said: Result<CallAnswer, BrokerError>,
    },
    /// The answer to a [`FromEdge::Ping`].
    Pong {
        /// The edge's time, as it said it.
        at: UnixMillis,
        /// The home's time (ms).
        time: UnixMillis,
    },
    /// A sign of life, while what the edge said before takes its time.
    Alive,
    /// The keys by which it verifies tokens have changed: those that it was shown are to be shown again.
    ShowAgain,
    /// A question of the fleet.
    Ask {
        /// Its number.
        id: u64,
        /// The question.
        question: Box<FleetQuestion>,
    },
}

fn largest() -> usize {
    MAX_RECORD
}

/// The pods between an edge and the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ancestry {
    /// Their names.
    pub pods: Vec<String>,
    /// How many of them a delivery passes.
    pub hops: usize,
}

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// A message in JSON.
    Message(Bytes),
    /// A delivery of the room with that number.
    Delivery(u32, Bytes),
    /// Deliveries, compressed.
    Packed(Bytes),
}

/// Why bytes are no records of this version.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// They end too soon, or are too many.
    #[error("a record of the link is cut short or too large")]
    Length,
    /// Their kind is unknown.
    #[error("a record of the link is of an unknown kind ({0}): the other pod is of another version")]
    Kind(u8),
    /// What is compressed does not come out, or is more than is ever compressed.
    #[error("what the other pod has compressed cannot be read")]
    Packed,
    /// The JSON is not a message of this version.
    #[error("a message of the link cannot be read ({0}): the other pod is of another version")]
    Message(#[from] serde_json::Error),
}

/// The record of a message. A message that is too large becomes none.
#[must_use]
pub fn message_record(message: &impl serde::Serialize) -> Option<Bytes> {
    let mut out = vec![0, 0, 0, 0, JSON];
    serde_json::to_writer(&mut out, message).ok()?;
    finish(out)
}

/// The record of a delivery.
#[must_use]
pub fn delivery_record(number: u32, body: &[u8]) -> Option<Bytes> {
    let mut out = Vec::with_capacity(9 + body.len());
    out.extend_from_slice(&[0, 0, 0, 0, DELIVERY]);
    out.put_u32(number);
    out.extend_from_slice(body);
    finish(out)
}

/// The record of compressed deliveries.
#[must_use]
pub fn packed_record(packed: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(5 + packed.len());
    // Far below 4 GiB: it is smaller than what it holds.
    out.put_u32(packed.len() as u32 + 1);
    out.put_u8(PACKED);
    out.extend_from_slice(packed);
    out.into()
}

fn finish(mut out: Vec<u8>) -> Option<Bytes> {
    let length = out.len() - 4;
    let bytes = u32::try_from(length).ok().filter(|_| length <= MAX_RECORD)?;
    out.get_mut(..4)?.copy_from_slice(&bytes.to_be_bytes());
    Some(out.into())
}

/// Takes the next record off `bytes`; `None`: there is none left.
///
/// # Errors
/// [`RecordError`].
pub fn next_record(bytes: &mut Bytes) -> Result<Option<Record>, RecordError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() < 5 {
        return Err(RecordError::Length);
    }
    let length = bytes.get_u32() as usize;
    if length == 0 || length > bytes.len() {
        return Err(RecordError::Length);
    }
    let mut record = bytes.split_to(length);
    match record.get_u8() {
        JSON => Ok(Some(Record::Message(record))),
        DELIVERY if record.len() > 4 => {
            let number = record.get_u32();
            Ok(Some(Record::Delivery(number, record)))
        }
        DELIVERY => Err(RecordError::Length),
        PACKED => Ok(Some(Record::Packed(record))),
        kind => Err(RecordError::Kind(kind)),
    }
}

impl Ancestry {
    /// The most pods that are named: those of [`MAX_HOPS`](super::MAX_HOPS) fleets.
    const MOST_PODS: usize = 4_096;

    /// Whether it can be true. The error is a sentence.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.pods.len() > Self::MOST_PODS {
            let count = self.pods.len();
            return Err(format!(
                "{count} pods are said to be between this one and the log: there are at most {}",
                Self::MOST_PODS
            ));
        }
        self.pods.iter().try_for_each(|pod| check_pod(pod))
    }
}

/// Whether a text is a pod's name, 16 hexadecimal digits.
///
/// # Errors
/// A sentence.
pub fn check_pod(name: &str) -> Result<(), String> {
    let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name { Ok(()) } else { Err("a pod is named that has no pod's name".to_owned()) }
}

/// The messages that records may be, so that each end reads its own.
///
/// # Errors
/// [`RecordError`].
pub fn message<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn records_stand_one_behind_the_other() {
        let position = Position::new(Epoch::new("e"), 3);
        let first = message_record(&FromHome::Started { number: 7, position: position.clone() }).unwrap();
        let second = delivery_record(7, b"body").unwrap();
        let mut all = Bytes::from([&first[..], &second[..]].concat());
        let Some(Record::Message(read)) = next_record(&mut all).unwrap() else { panic!("no message") };
        assert!(matches!(message(&read).unwrap(), FromHome::Started { number: 7, position: at } if at == position));
        assert_eq!(next_record(&mut all).unwrap(), Some(Record::Delivery(7, Bytes::from_static(b"body"))));
        assert_eq!(next_record(&mut all).unwrap(), None);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bad in [
            &b"\0\0\0\0"[..],
            b"\0\0\0\0\0",
            b"\0\0\0\x02\0",
            b"\0\0\0\x01\x07",
            b"\0\0\0\x01\x01",
            b"\xff\xff\xff\xff\0\0",
        ] {
            assert!(next_record(&mut Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
        assert!(message::<FromHome>(b"{\"tomorrow\":1}").is_err());
    }
}
