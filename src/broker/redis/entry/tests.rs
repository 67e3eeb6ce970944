#![allow(clippy::unwrap_used)]

use proptest::{option, prelude::*};
use serde_json::value::RawValue;

use super::*;

fn json(text: &str) -> Payload {
    Payload::Json(RawValue::from_string(text.to_owned()).unwrap())
}

fn publication(topic: &str, payload: Payload) -> Publication {
    Publication { topic: topic.into(), key: None, payload, user: None, id: None, idempotency_key: None }
}

fn text() -> impl Strategy<Value = Box<str>> {
    ".{0,40}".prop_map(Into::into)
}

fn any_publication() -> impl Strategy<Value = Publication> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Payload::Binary(bytes.into())),
        ".{0,60}".prop_map(|text| json(&serde_json::to_string(&[text]).unwrap())),
        Just(json("{ \"a\" : 1.0e0 }")),
    ];
    (text(), option::of(text()), payload, option::of(text()), option::of(text())).prop_map(
        |(topic, key, payload, user, id)| Publication { topic, key, payload, user, id, idempotency_key: None },
    )
}

fn published(epoch: &str, event: &Bytes) -> Bytes {
    [format!("e{epoch} 7 1700000000000\n").as_bytes(), event].concat().into()
}

proptest! {
    #[test]
    fn what_is_stored_comes_back(publication in any_publication(), part in option::of("[a-zé:]{1,20}")) {
        let part = part.map(|name| Room::parse(&name).unwrap());
        let stored = encode(&publication, part.as_ref()).unwrap();
        let expected = Event::from_publication(publication, 7, 1_700_000_000_000, part);
        prop_assert_eq!(&decode(&stored, 7, 1_700_000_000_000).unwrap(), &expected);
        let came = message(&published("ab.cd", &stored)).unwrap();
        prop_assert_eq!(came, ChannelMessage::Event(Epoch::new("ab.cd"), expected.clone()));
        let kept: Bytes = [b"7-1700000000000 ", &stored[..]].concat().into();
        prop_assert_eq!(value(&kept).unwrap(), expected);
    }

    #[test]
    fn what_enters_no_log_comes_with_whom_it_is_kept_from(publication in any_publication(), except in "[\\s\\S]{0,20}") {
        let told = unlogged_message(&publication, &except).unwrap();
        prop_assert_eq!(message(&told).unwrap(), ChannelMessage::Unlogged(publication, except.into()));
    }

    #[test]
    fn what_is_cut_short_is_no_other_event(publication in any_publication(), cut in any::<prop::sample::Index>()) {
        let stored = encode(&publication, None).unwrap();
        let cut = cut.index(stored.len());
        let whole = stored.len() - publication.payload.len();
        match decode(&stored.slice(..cut), 7, 1) {
            // Opaque bytes and some JSON are shorter ones when they are cut; nothing else is.
            Ok(event) => prop_assert!(cut >= whole && event.topic == publication.topic),
            Err(error) => prop_assert!(cut >= whole || error == EntryError::Short, "{error}"),
        }
    }

    #[test]
    fn members_come_back(connection in "[a-z0-9]{1,20}", user in option::of(".{0,20}")) {
        let bytes: Bytes = format!("l{connection}\n{}", stored_user(user.as_deref())).into();
        let member = Member { connection: connection.as_str().into(), user: user.as_deref().map(Into::into) };
        prop_assert_eq!(message(&bytes).unwrap(), ChannelMessage::Left(member));
    }
}

#[test]
fn the_bytes_are_what_other_builds_wrote() {
    let publication = Publication {
        key: Some("k".into()),
        user: Some("".into()),
        id: Some("é".into()),
        ..publication("t", json("{}"))
    };
    assert_eq!(&encode(&publication, None).unwrap()[..], b"\x1e\x00\x0c\x00\x01t\x00\x01k\x00\x00\x00\x02\xc3\xa9{}");
    let sender = Member { connection: "c".into(), user: Some("u".into()) };
    let mut signal = Signal { topic: "t".into(), sender, data: Some(json("[1]")), act: SignalAct::Show(5_000) };
    assert_eq!(&signal_message(&signal).unwrap()[..], b"s5000 d c\n\x14\x00\x06\x00\x01t\x00\x01u[1]");
    (signal.data, signal.act) = (None, SignalAct::Leave);
    assert_eq!(&signal_message(&signal).unwrap()[..], b"sx - c\n\x15\x00\x06\x00\x01t\x00\x01u");
    let read = Unread { room: Room::parse("r:ü").unwrap(), read: Position::new(Epoch::new("b.e"), 4), end: 7 };
    let notice = Notice::Unread(vec![read.clone(), Unread { end: 9, ..read }]);
    let bytes = notice_message(&notice);
    assert_eq!(&bytes[..], "u\nr:ü b.e 4 7\nr:ü b.e 4 9\n".as_bytes());
    assert_eq!(message(&bytes).unwrap(), ChannelMessage::Notice(Box::new(notice)));
    let position = Position::new(Epoch::new("b.e"), 4);
    let receipt = Receipt {
        progress: Progress::Read,
        room: Room::parse("r:ü").unwrap(),
        user: "two\nlines \"x\"".into(),
        position,
    };
    let notice = Notice::Receipts(vec![receipt.clone(), Receipt { user: "b".into(), ..receipt.clone() }]);
    assert_eq!(notice_message(&notice).first(), Some(&b'r'), "as pods of the build before read it");
    let mixed = Notice::Receipts(vec![receipt.clone(), Receipt { progress: Progress::Delivered, ..receipt }]);
    assert_eq!(message(&notice_message(&mixed)), Ok(ChannelMessage::Notice(Box::new(mixed))));
    let bytes = notice_message(&notice);
    assert_eq!(&bytes[..], "r\nr:ü b.e 4 \"two\\nlines \\\"x\\\"\"\nr:ü b.e 4 \"b\"\n".as_bytes());
    assert_eq!(message(&bytes).unwrap(), ChannelMessage::Notice(Box::new(notice)));
    let part = Room::parse("r:1").unwrap();
    let stored = encode(&super::tests::publication("t", json("{}")), Some(&part)).unwrap();
    assert_eq!(&stored[..], b"\x20\x00\x08\x00\x03r:1\x00\x01t{}");
}

#[test]
fn what_is_none_is_refused() {
    for (bytes, error) in [
        (&b""[..], EntryError::Short),
        (b"\x10\x00", EntryError::Short),
        (b"\x30\x00\x02\x00\x00{}", EntryError::Version(0x30)),
        (b"\x20\x00\x03\x00\x01t{}", EntryError::Head),
        (b"\x20\x00\x07\x00\x02 r\x00\x01t{}", EntryError::Head),
        (b"\x10\x00\x09\x00\x01t{}", EntryError::Short),
        (b"\x10\x00\x03\x00\x02t{}", EntryError::Head),
        (b"\x10\x00\x04\x00\x01tt{}", EntryError::Head),
        (b"\x10\x00\x03\x00\x01\xff{}", EntryError::Head),
        (b"\x10\x00\x03\x00\x01t{", EntryError::Json),
        (b"\x10\x00\x03\x00\x01t", EntryError::Json),
        (b"\x10\x00\x03\x00\x01t{}{}", EntryError::Json),
        (b"\x12\x00\x03\x00\x01t{}", EntryError::Head),
    ] {
        assert_eq!(decode(&Bytes::copy_from_slice(bytes), 1, 1), Err(error), "{bytes:?}");
    }
    for (bytes, error) in [
        (&b""[..], EntryError::Short),
        (b"e", EntryError::Short),
        (b"x\n", EntryError::Version(b'x')),
        (b"ea 1\n", EntryError::Head),
        (b"ea -1 1\n", EntryError::Head),
        (b"ea 9007199254740992 1\n", EntryError::Head),
        (b"ea 1 x\n", EntryError::Head),
        (b"ea 1 1\n", EntryError::Short),
        (b"jc\nx", EntryError::Head),
        (b"s\n", EntryError::Head),
        (b"s5000 d\n", EntryError::Head),
        (b"s0 - c\n\x11\x00\x03\x00\x01t", EntryError::Head),
        (b"s60001 - c\n\x11\x00\x03\x00\x01t", EntryError::Head),
        (b"sx - c\n\x11\x00", EntryError::Short),
        (b"u\nr b.e 4\n", EntryError::Head),
        (b"r\nr b.e 4\n", EntryError::Head),
        (b"r\nr b.e 4 ann\n", EntryError::Head),
        (b"u\na{ b.e 4 7\n", EntryError::Head),
        (b"u\nr b.e 4 x\n", EntryError::Head),
        (b"\xff\n", EntryError::Version(0xff)),
        (b"j\xff\nu", EntryError::Head),
    ] {
        assert_eq!(message(&Bytes::copy_from_slice(bytes)), Err(error), "{bytes:?}");
    }
    let long = publication(&"x".repeat(70_000), json("1"));
    assert!(matches!(encode(&long, None), Err(BrokerError::TooLarge { limit: 65_535, .. })));
}

#[test]
fn a_message_without_a_kind_is_refused() {
    for bytes in [&b""[..], b"\n", b"\n\n", b"e", b"e\n", b"x\n"] {
        assert!(message(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
}
