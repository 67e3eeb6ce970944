//! How long, and how much, what an edge says may be. Pure.
//!
//! Always holds: what is published keeps the rules of whatever publishes by the API ([`model::field`](crate::model)); what only pods say to
//! each other has bounds of its own, so that each call says how large its answer can be.

use std::time::Duration;

use super::call::EdgeCall;
use crate::{
    broker::FleetQuestion,
    model::{
        DELETED, IdempotencyKey, Member, Notice, Publication, PublisherSide, Room, Signal, SignalAct, Telling,
        check_length, check_topic,
    },
};

/// The most parts of one call: publications, acks, rooms. An edge makes several calls of more.
pub const MOST_PARTS: usize = 1_000;

/// The most names of one question to the fleet.
const MOST_NAMES: usize = 10_000;

/// The most epochs that are asked about of one room.
const MOST_EPOCHS: usize = 16;

/// The most rooms that are about one user alone.
const MOST_OWN_ROOMS: usize = 16;

/// The longest that a value is kept.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// The most events of one answer.
pub(super) const MOST_EVENTS: usize = 20_000;

/// The most bytes of payload of one answer: a slow link must have it within the time in which it may be silent.
pub(super) const MOST_BYTES: usize = 2 * 1024 * 1024;

/// The most bytes that the events of one answer cost, headers included.
pub(super) const MOST_COST: usize = 3 * 1024 * 1024;

/// The most members of one answer.
pub(super) const MOST_MEMBERS: usize = 10_000;

/// Whether something may be so many.
fn check_count(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most { Ok(()) } else { Err(format!("a call has at most {most} {what}, this one has {count}")) }
}

fn check_name(field: &'static str, text: &str) -> Result<(), String> {
    check_length(field, text).map_err(|error| error.to_string())?;
    match text.chars().find(|c| c.is_control()) {
        Some(character) => Err(format!("{field} must not contain the control character {character:?}")),
        None => Ok(()),
    }
}

fn check_user(user: Option<&str>) -> Result<(), String> {
    user.map_or(Ok(()), |user| check_length("a user's name", user)).map_err(|error| error.to_string())
}

/// Whether a member's names are such names.
pub(super) fn check_member(member: &Member) -> Result<(), String> {
    if member.connection.is_empty() || member.connection.contains(' ') {
        return Err("a connection's name is empty, or has a space".to_owned());
    }
    check_name("a connection's name", &member.connection)?;
    check_user(member.user.as_deref())
}

/// Whether an event is one that a client or a backend of this pod could publish. `most`: the bytes of its data.
pub(super) fn check_publication(publication: &Publication, most: usize) -> Result<(), String> {
    let Publication { topic, key, payload, user, id, idempotency_key } = publication;
    let text = |error: crate::model::FieldError| error.to_string();
    // What tells of a deletion has a topic that nothing else has: `relay.orders` allows it.
    if **topic != *DELETED {
        check_topic(topic).map_err(text)?;
    }
    let key_text = idempotency_key.as_ref().map(|key| key.text());
    for (field, value) in [("key", key.as_deref()), ("id", id.as_deref()), ("idempotency_key", key_text)] {
        value.map_or(Ok(()), |value| check_length(field, value)).map_err(text)?;
    }
    let names_deletion = |key: &IdempotencyKey| key.side() == PublisherSide::Backend && key.text().starts_with(DELETED);
    // Under its key nothing else is published, or the room would never hear of that deletion.
    if **topic != *DELETED && idempotency_key.as_ref().is_some_and(names_deletion) {
        return Err("an event has the idempotency key of what tells of a deletion".to_owned());
    }
    check_user(user.as_deref())?;
    check_data("an event", payload.len(), most)?;
    payload.check().map_err(text)
}

fn check_data(of: &str, bytes: usize, most: usize) -> Result<(), String> {
    if bytes <= most { Ok(()) } else { Err(format!("the data of {of} has at most {most} bytes, this one has {bytes}")) }
}

fn check_signal(signal: &Signal) -> Result<(), String> {
    check_topic(&signal.topic).map_err(|error| error.to_string())?;
    check_member(&signal.sender)?;
    if let Some(data) = &signal.data {
        check_data("a signal", data.len(), Signal::MAX_DATA)?;
        data.check().map_err(|error| error.to_string())?;
    }
    match signal.act {
        SignalAct::Show(ttl) if !(1..=Signal::MAX_TTL_MS).contains(&ttl) => {
            Err(format!("a signal is shown for 1 to {} ms", Signal::MAX_TTL_MS))
        }
        _ => Ok(()),
    }
}

fn check_notice(notice: &Notice) -> Result<(), String> {
    match notice {
        Notice::Unread(rooms) => check_count("rooms of a notice", rooms.len(), MOST_PARTS),
        Notice::Receipts(receipts) => {
            check_count("receipts", receipts.len(), MOST_PARTS)?;
            receipts.iter().try_for_each(|receipt| check_user(Some(&receipt.user)))
        }
    }
}

fn check_question(question: &FleetQuestion) -> Result<(), String> {
    match question {
        FleetQuestion::Users(names) | FleetQuestion::Present(names) => {
            check_count("names", names.len(), MOST_NAMES)?;
            names.iter().try_for_each(|name| check_user(Some(name)))
        }
        FleetQuestion::Erase(user) => check_user(Some(user)),
        FleetQuestion::Traces(_) => Err("an edge tells its home of no traces".to_owned()),
        _ => Ok(()),
    }
}

impl EdgeCall {
    /// Whether a call is within its bounds. Publications are looked at one by one, by [`check_publication`]. `most`: the bytes of a value.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self, most: usize) -> Result<(), String> {
        match self {
            Self::Publish(all) => check_count("publications", all.len(), MOST_PARTS),
            Self::Unlogged(_, publication, except) => {
                check_user(Some(except))?;
                check_publication(publication, most)
            }
            Self::Signal(_, signal) => check_signal(signal),
            Self::Notify(_, notice) => check_notice(notice),
            Self::Standings(rooms) => {
                check_count("rooms", rooms.len(), MOST_PARTS)?;
                rooms.iter().try_for_each(|(_, epochs)| check_count("epochs of a room", epochs.len(), MOST_EPOCHS))
            }
            Self::Keep(acks, _) => {
                check_count("acks", acks.len(), MOST_PARTS)?;
                acks.iter().try_for_each(|ack| {
                    let told = if let Telling::Told(before) = &ack.telling { before.len() } else { 0 };
                    check_user(Some(&ack.user)).and_then(|()| check_count("epochs of an ack", told, MOST_EPOCHS))
                })
            }
            Self::Kept(user, _) => check_user(Some(user)),
            Self::Set(name, value, ttl) | Self::Claim(name, value, ttl) => {
                check_name("a value's name", name)?;
                if *ttl > LONGEST {
                    return Err(format!("a value is kept for at most {LONGEST:?}"));
                }
                check_data("a value", value.len(), most)
            }
            Self::Get(name) | Self::Take(name) => check_name("a value's name", name),
            Self::ForgetUser(user, own) => {
                check_user(Some(user))?;
                check_count("rooms of a user", own.len(), MOST_OWN_ROOMS)
            }
            Self::DeleteEvent(_, deletion) => {
                check_length("id", deletion.id.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
                deletion.leaves.as_ref().map_or(Ok(()), |leaves| check_publication(leaves, most))
            }
            Self::NoteAuthor(_, user) | Self::ForgetAuthor(_, user, _) => check_user(Some(user)),
            Self::AskOthers(question, _) => check_question(question),
            Self::Address(pod) => check_name("a pod's name", pod),
            Self::History(..) | Self::Retained(_) | Self::Members(..) | Self::ForgetRoom(_) => Ok(()),
        }
    }

    /// The most bytes that its answer may have; 0: no more than a few times its own. `most`: the bytes of a value.
    pub(super) fn answer_bytes(&self, most: usize) -> usize {
        const NAMES: usize = 640;
        // This is asked before the call is looked at.
        const MOST_STANDINGS: usize = 1024 * 1024;
        match self {
            // In JSON, where bytes grow by a third.
            Self::History(..) => 4 * 1024 * 1024,
            // As much as the room's policy keeps.
            Self::Retained(_) => 16 * 1024 * 1024,
            Self::Members(_, limit) => (*limit).min(MOST_MEMBERS) * NAMES,
            Self::Standings(rooms) => {
                rooms.iter().map(|(_, epochs)| 256 + 24 * epochs.len()).sum::<usize>().min(MOST_STANDINGS)
            }
            Self::Kept(..) => MOST_PARTS * NAMES,
            Self::Get(_) | Self::Take(_) | Self::Claim(..) => most + most / 3,
            // The rooms in which a user wrote. What other pods say has its place once they have said it.
            Self::ForgetUser(..) => 1024 * 1024,
            _ => 0,
        }
    }

    /// The users in whose names it is. What is only read, and what `relay.orders` allows, is in no user's name.
    #[must_use]
    pub fn users(&self) -> Vec<&str> {
        match self {
            Self::Publish(all) => all.iter().filter_map(|(_, publication)| publication.user.as_deref()).collect(),
            Self::Unlogged(_, publication, _) => publication.user.as_deref().into_iter().collect(),
            Self::Signal(_, signal) => signal.sender.user.as_deref().into_iter().collect(),
            Self::Notify(_, notice) => match &**notice {
                Notice::Receipts(receipts) => receipts.iter().map(|receipt| &*receipt.user).collect(),
                Notice::Unread(_) => Vec::new(),
            },
            Self::Keep(acks, _) => acks.iter().map(|ack| &*ack.user).collect(),
            Self::NoteAuthor(_, user) => vec![user],
            _ => Vec::new(),
        }
    }

    /// About as many bytes as it holds, before it is written.
    #[must_use]
    pub fn weight(&self) -> usize {
        const SMALL: usize = 512;
        let room = |room: &Room| room.as_str().len();
        SMALL
            + match self {
                Self::Publish(all) => all.iter().map(|(to, publication)| room(to) + publication.held()).sum(),
                Self::Unlogged(_, publication, _) => publication.held(),
                Self::Signal(_, signal) => signal.data.as_ref().map_or(0, |data| data.len()),
                Self::Notify(_, notice) => match &**notice {
                    Notice::Unread(rooms) => rooms.len() * SMALL,
                    Notice::Receipts(receipts) => receipts.len() * SMALL,
                },
                Self::Standings(rooms) => rooms.len() * SMALL,
                Self::Keep(acks, _) => acks.len() * SMALL,
                Self::Set(_, value, _) | Self::Claim(_, value, _) => value.len(),
                Self::DeleteEvent(_, deletion) => deletion.leaves.as_ref().map_or(0, Publication::held),
                Self::AskOthers(question, _) => match &**question {
                    FleetQuestion::Users(names) | FleetQuestion::Present(names) => {
                        names.iter().map(|name| name.len() + 16).sum()
                    }
                    _ => 0,
                },
                _ => 0,
            }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use serde_json::value::RawValue;

    use super::*;
    use crate::{
        broker::AckBounds,
        model::{Ack, Deletion, Epoch, Payload, Position, Progress, Receipt},
    };

    const MOST: usize = 1_000;

    fn publication() -> Publication {
        let payload = Payload::Binary(Bytes::from_static(&[0; MOST]));
        Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None }
    }

    fn json(text: &str) -> Payload {
        Payload::Json(RawValue::from_string(text.to_owned()).unwrap())
    }

    fn long() -> Box<str> {
        "x".repeat(256).into()
    }

    #[test]
    fn an_event_keeps_the_rules_of_a_publisher() {
        assert_eq!(check_publication(&publication(), MOST), Ok(()));
        let bad = [
            Publication { topic: "".into(), ..publication() },
            Publication { topic: long(), ..publication() },
            Publication { key: Some(long()), ..publication() },
            Publication { id: Some(long()), ..publication() },
            Publication { user: Some(long()), ..publication() },
            Publication { idempotency_key: Some(IdempotencyKey::of_client(long())), ..publication() },
            Publication { payload: Payload::Binary(vec![0; MOST + 1].into()), ..publication() },
            Publication { payload: json("\"\\ud800\""), ..publication() },
            Publication { payload: json(&format!("{}{}", "[".repeat(101), "]".repeat(101))), ..publication() },
        ];
        for publication in bad {
            assert!(check_publication(&publication, MOST).is_err(), "{publication:?}");
        }
    }

    #[test]
    fn nothing_is_published_under_the_key_of_what_tells_of_a_deletion() {
        let deletion = Deletion { at: Position::new(Epoch::new("e"), 7), id: None, leaves: None };
        let told = deletion.notice(None, true);
        assert_eq!(check_publication(&told, MOST), Ok(()), "whether an edge may say so is asked elsewhere");
        assert!(
            check_publication(&Publication { idempotency_key: told.idempotency_key, ..publication() }, MOST).is_err()
        );
        let of_client = IdempotencyKey::of_client("$deleted e 7".into());
        assert_eq!(check_publication(&Publication { idempotency_key: Some(of_client), ..publication() }, MOST), Ok(()));
    }

    #[test]
    fn a_call_has_bounds() {
        let room = || Room::parse("a").unwrap();
        let member = |connection: &str| Member { connection: connection.into(), user: None };
        let signal = |change: &dyn Fn(&mut Signal)| {
            let mut signal =
                Signal { topic: "t".into(), sender: member("c"), data: Some(json("1")), act: SignalAct::Stop };
            change(&mut signal);
            EdgeCall::Signal(room(), Box::new(signal))
        };
        let bounds = AckBounds { rooms: 1, age: Duration::from_secs(1) };
        let value = || Payload::Binary(Bytes::from_static(b"v"));
        let ack = |user: &str| {
            let position = Position::new(Epoch::new("e"), 1);
            Ack { user: user.into(), room: room(), position, telling: Telling::Due }
        };
        let told = |epochs| Ack { telling: Telling::Told(vec![ack("ann").position; epochs]), ..ack("ann") };
        let receipt = |user: &str| Receipt {
            progress: Progress::Read,
            room: room(),
            user: user.into(),
            position: ack("u").position,
        };
        let notice = |of: &[Receipt]| EdgeCall::Notify(room(), Box::new(Notice::Receipts(of.to_vec())));
        let second = Duration::from_secs(1);
        let deletion = |id, leaves| Deletion { at: ack("u").position, id, leaves };
        for good in [
            EdgeCall::Publish(vec![(room(), publication()); MOST_PARTS]),
            signal(&|_| {}),
            signal(&|signal| signal.act = SignalAct::Show(60_000)),
            notice(&[receipt("ann")]),
            EdgeCall::Keep(vec![ack("ann"), told(3)], bounds),
            EdgeCall::Set("session:1".into(), value(), second),
            EdgeCall::Address("0123456789abcdef".into()),
            EdgeCall::NoteAuthor(room(), "ann".into()),
            EdgeCall::DeleteEvent(room(), Box::new(deletion(None, Some(publication())))),
        ] {
            assert_eq!(good.check(MOST), Ok(()), "{good:?}");
        }
        let long = || String::from(&*long());
        for bad in [
            EdgeCall::Publish(vec![(room(), publication()); MOST_PARTS + 1]),
            EdgeCall::Unlogged(room(), Box::new(publication()), long().into()),
            signal(&|signal| signal.data = Some(Payload::Binary(vec![0; 1_025].into()))),
            signal(&|signal| signal.sender = member("c\nd")),
            signal(&|signal| signal.sender = member("c d")),
            signal(&|signal| signal.sender = member("")),
            signal(&|signal| signal.act = SignalAct::Show(60_001)),
            signal(&|signal| signal.topic = "".into()),
            notice(&[receipt(&long())]),
            notice(&vec![receipt("ann"); MOST_PARTS + 1]),
            EdgeCall::Standings(vec![(room(), Vec::new()); MOST_PARTS + 1]),
            EdgeCall::Standings(vec![(room(), vec![Epoch::none(); MOST_EPOCHS + 1])]),
            EdgeCall::Keep(vec![ack(&long())], bounds),
            EdgeCall::Keep(vec![ack("ann"); MOST_PARTS + 1], bounds),
            EdgeCall::Keep(vec![told(MOST_EPOCHS + 1)], bounds),
            EdgeCall::Kept(long().into(), bounds),
            EdgeCall::Set(long().into(), value(), second),
            EdgeCall::Set("v".into(), Payload::Binary(vec![0; MOST + 1].into()), second),
            EdgeCall::Claim("v".into(), value(), LONGEST + second),
            EdgeCall::Get(long().into()),
            EdgeCall::Take(long().into()),
            EdgeCall::ForgetUser("ann".into(), vec![room(); MOST_OWN_ROOMS + 1]),
            EdgeCall::NoteAuthor(room(), long().into()),
            EdgeCall::ForgetAuthor(room(), long().into(), second),
            EdgeCall::DeleteEvent(room(), Box::new(deletion(Some(long().into()), None))),
            EdgeCall::DeleteEvent(
                room(),
                Box::new(deletion(None, Some(Publication { topic: "".into(), ..publication() }))),
            ),
            EdgeCall::AskOthers(Box::new(FleetQuestion::Present(vec![long().into()])), second),
            EdgeCall::AskOthers(Box::new(FleetQuestion::Users(vec!["u".into(); MOST_NAMES + 1])), second),
            EdgeCall::Address(long()),
        ] {
            assert!(bad.check(MOST).is_err(), "{bad:?}");
        }
        let named = Member { connection: "c".into(), user: Some(Arc::from(long())) };
        assert!(check_member(&named).is_err() && check_member(&member("c")).is_ok());
    }

    #[test]
    fn a_call_says_what_it_holds_and_may_come_to() {
        let room = || Room::parse("a").unwrap();
        let publish = EdgeCall::Publish(vec![(room(), publication()); 3]);
        assert!(publish.weight() >= 3 * MOST && publish.answer_bytes(MOST) == 0);
        assert_eq!(EdgeCall::Members(room(), usize::MAX).answer_bytes(MOST), 640 * MOST_MEMBERS);
        assert!(EdgeCall::Retained(room()).answer_bytes(MOST) > MOST);
        assert!(EdgeCall::Standings(vec![(room(), Vec::new()); 100]).answer_bytes(MOST) >= 100 * 150);
    }
}
