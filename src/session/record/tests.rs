#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::model::Epoch;

const PID: &str = "abcdefghij0123456789";
const AWAY: Duration = Duration::from_secs(120);

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

fn position(offset: u64) -> Position {
    Position::new(Epoch::new("e"), offset)
}

fn record() -> SessionRecord {
    SessionRecord::new(Some(PID.into()), AWAY)
}

/// A view of a session in rooms that were sent up to an offset, each with its last fan-out.
fn view(rooms: &[(&str, u64, (u64, u64))]) -> SessionView {
    let rooms = rooms.iter().map(|(name, offset, fan_out_span)| RoomView {
        room: room(name),
        spelling: 0,
        server_side: false,
        sent: Some(position(*offset)),
        fan_out_span: *fan_out_span,
    });
    SessionView {
        owner: "pod:1".into(),
        namespace: "/".into(),
        rooms: rooms.collect(),
        queue_is_empty: true,
        ..SessionView::default()
    }
}

fn write(effect: Option<RecordEffect>) -> RecordWrite {
    match effect {
        Some(RecordEffect::Write(write) | RecordEffect::WriteLast(write)) => write,
        other => panic!("no write: {other:?}"),
    }
}

fn request(name: &str) -> JoinRequest {
    JoinRequest { rooms: vec![SubscribeTo { room: room(name), since: None, spelling: 0 }], id: None }
}

#[test]
fn only_the_first_write_claims_the_record_and_each_is_renewed_in_time() {
    let mut record = record();
    let first = write(record.persist(1_000, || Some(view(&[]))));
    assert!(first.claims && first.ttl == 2 * AWAY && first.patience == AWAY);
    assert!(!record.is_due(60_999) && record.is_due(61_000), "after half of the time that a client may be away");
    assert!(record.written(PID, WriteOutcome::Stored).is_empty());
    assert!(!write(record.persist(61_000, || Some(view(&[])))).claims);
    assert!(!record.is_due(120_999) && record.is_due(121_000));
}

#[test]
fn a_change_during_a_write_is_written_after_it() {
    let mut record = record();
    assert!(record.persist(0, || Some(view(&[]))).is_some());
    assert!(record.joined(room("a"), position(3)));
    assert_eq!(record.persist(1, || Some(view(&[("a", 3, (1, 2))]))), None);
    assert_eq!(record.written(PID, WriteOutcome::Failed), [RecordEffect::Persist]);
    let value = write(record.persist(2, || Some(view(&[("a", 3, (1, 2))])))).value;
    assert_eq!(value.rooms[0].joined, Some(("e".into(), 3)));
    assert!(!value.entering && value.rooms[0].sent.is_none(), "it has not ended");
}

#[test]
fn a_join_behind_the_first_waits_until_it_is_recorded_but_not_for_long() {
    for outcome in [WriteOutcome::Stored, WriteOutcome::Failed] {
        let mut record = record();
        assert!(!record.delays_joins(), "no event to continue behind");
        assert!(record.joined(room("a"), position(3)) && record.delays_joins());
        record.delay(request("b"));
        let begun = write(record.persist(5, || Some(view(&[("a", 3, (1, 2))]))));
        assert!(begun.value.entering && begun.patience == SessionRecord::JOIN_PATIENCE);
        record.delay(request("c"));
        assert_eq!(record.delayed(), 2);
        assert_eq!(record.persist(6, || None), None);
        assert_eq!(record.written(PID, outcome), [RecordEffect::Enter(request("b")), RecordEffect::Persist]);
        assert_eq!(record.delayed(), 1);
    }
}

#[test]
fn a_record_that_was_taken_over_is_never_written_again() {
    let mut record = record();
    assert!(record.persist(0, || Some(view(&[]))).is_some());
    assert_eq!(record.written(PID, WriteOutcome::TakenOver), [RecordEffect::Close]);
    assert_eq!(record.persist(1, || Some(view(&[]))), None);
    assert_eq!(record.end(|| Some(view(&[]))), None);
    assert!(!record.is_due(u64::MAX) && record.forget().is_none());
}

#[test]
fn the_end_of_an_earlier_sessions_write_changes_nothing() {
    let mut record = record();
    assert!(record.joined(room("a"), position(1)));
    record.delay(request("b"));
    assert!(record.persist(0, || Some(view(&[]))).is_some());
    assert!(record.written("another_session_name", WriteOutcome::TakenOver).is_empty());
    assert_eq!(record.delayed(), 1);
}

#[test]
fn an_ended_session_says_how_far_it_was_sent_where_that_is_certain() {
    let ended = |rooms: &[(&str, u64, (u64, u64))], queue_is_empty| {
        let mut record = record();
        assert!(rooms.iter().all(|(name, ..)| record.joined(room(name), position(1))));
        let last = write(record.end(|| Some(SessionView { queue_is_empty, ..view(rooms) })));
        assert!(record.end(|| Some(view(rooms))).is_none(), "once");
        assert!(last.ttl == AWAY && !last.claims && !last.value.entering);
        last.value
    };
    let apart = ended(&[("a", 4, (5, 6)), ("b", 9, (3, 4))], true);
    assert_eq!((apart.last, apart.rooms[1].sent.clone()), (Some(room("a")), Some(("e".into(), 9))));
    assert_eq!(ended(&[("a", 4, (3, 6)), ("b", 9, (4, 5))], true).last, None, "they overlapped");
    let owed = ended(&[("a", 4, (5, 6))], false);
    assert_eq!((owed.last, owed.rooms[0].sent.clone()), (None, None));
}

#[test]
fn a_session_that_is_continued_is_recorded_after_its_last_room() {
    let mut record = SessionRecord::resuming(PID.into(), AWAY, 2, "{}".into());
    assert!(!record.joined(room("a"), position(1)) && !record.is_due(u64::MAX));
    assert_eq!(record.end(|| Some(view(&[]))), None, "its old record is still true");
    assert_eq!(record.room_resumed(true), None);
    assert_eq!(record.room_resumed(true), Some(Resumed { complete: true, auth: "{}".into() }));
    assert!(write(record.persist(0, || Some(view(&[])))).claims);
    let mut broken = SessionRecord::resuming(PID.into(), AWAY, 2, "{}".into());
    assert_eq!(broken.room_resumed(false), None);
    assert!(!broken.room_resumed(true).unwrap().complete);
}

#[test]
fn the_rooms_left_last_are_remembered() {
    let mut record = record();
    assert!(!record.left(&room("never")));
    for number in 0..20 {
        let room = room(&format!("r{number}"));
        assert!(record.joined(room.clone(), position(1)) && record.left(&room));
    }
    let left = write(record.persist(0, || Some(view(&[])))).value.left;
    assert_eq!((left.len(), left[0].as_str(), left[15].as_str()), (16, "r4", "r19"));
}

#[test]
fn only_names_that_a_pod_gives_have_a_key() {
    assert_eq!(RecordValue::key(PID).as_deref(), Some("socketio:abcdefghij0123456789"));
    for pid in ["", "short", "abcdefghij012345678*", "abcdefghij01234567890"] {
        assert_eq!(RecordValue::key(pid), None);
    }
}

#[test]
fn a_session_is_continued_by_its_user_in_its_namespace() {
    let value = |user: Option<&str>| {
        let value = write(record().persist(0, || Some(view(&[])))).value;
        RecordValue { user: user.map(Into::into), ..value }
    };
    assert!(value(Some("u")).may_continue("/", Some("u"), false) && value(None).may_continue("/", None, false));
    assert!(!value(Some("u")).may_continue("/other", Some("u"), true));
    assert!(!value(Some("u")).may_continue("/", Some("v"), true) && !value(None).may_continue("/", Some("v"), true));
    assert!(!value(Some("u")).may_continue("/", None, false) && value(Some("u")).may_continue("/", None, true));
}

proptest! {
    /// Over virtual time, with changes, joins and renewals at any moment and writes that end in any way: one write at a time, every
    /// join is carried out once, and what was persisted last is written once the writes succeed.
    #[test]
    fn no_change_and_no_join_is_lost(steps in prop::collection::vec((0u8..5, 1u64..40_000), 1..100)) {
        let mut record = record();
        let (mut now, mut writing, mut asked, mut entered, mut changes, mut stored) = (0, None, 0, 0, 0_u64, None);
        prop_assert!(record.joined(room("a"), position(0)));
        let persist = |record: &mut SessionRecord, now, writing: &mut Option<u64>, changes: u64| {
            if let Some(RecordEffect::Write(write)) = record.persist(now, || Some(view(&[("a", 0, (1, 2))]))) {
                assert!(writing.is_none(), "two writes at once");
                assert_eq!(write.value.rooms[0].joined, Some(("e".into(), changes)));
                *writing = Some(changes);
            }
        };
        persist(&mut record, now, &mut writing, changes);
        for (step, wait) in steps.into_iter().chain([(2, 1), (2, 1), (2, 1), (4, 70_000), (2, 1)]) {
            now += wait;
            match step {
                0 => {
                    changes += 1;
                    if record.joined(room("a"), position(changes)) {
                        persist(&mut record, now, &mut writing, changes);
                    }
                }
                1 => {
                    asked += 1;
                    record.delay(request("b"));
                    persist(&mut record, now, &mut writing, changes);
                }
                2 | 3 => {
                    let Some(written) = writing.take() else { continue };
                    let outcome = if step == 2 { WriteOutcome::Stored } else { WriteOutcome::Failed };
                    stored = Some(written).filter(|_| step == 2).or(stored);
                    for effect in record.written(PID, outcome) {
                        match effect {
                            RecordEffect::Enter(_) => entered += 1,
                            RecordEffect::Persist => persist(&mut record, now, &mut writing, changes),
                            other => prop_assert!(false, "{other:?}"),
                        }
                    }
                }
                _ => {
                    if record.is_due(now) {
                        persist(&mut record, now, &mut writing, changes);
                    }
                }
            }
            prop_assert_eq!(asked, entered + record.delayed());
        }
        prop_assert_eq!((stored, record.delayed()), (Some(changes), 0));
    }
}
