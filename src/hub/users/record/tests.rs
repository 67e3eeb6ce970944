use proptest::prelude::*;

use super::*;

/// Tells all that is owed, and says what that was.
fn tell(record: &mut UserRecord, now: UnixMillis) -> Vec<(UserStatus, Option<UnixMillis>)> {
    let mut told = Vec::new();
    while let Some(next) = record.decide(now) {
        record.confirm();
        told.push((next.status, next.last_seen));
    }
    assert!(!record.owes());
    told
}

fn choose(status: UserStatus) -> StatusChange {
    StatusChange { chosen: Some(status), hidden: None }
}

fn hide(hidden: bool) -> StatusChange {
    StatusChange { chosen: None, hidden: Some(hidden) }
}

#[test]
fn devices_on_several_pods_are_one_user() {
    let mut record = UserRecord::new();
    assert!(tell(&mut record, 1).is_empty(), "nothing is told of a user that was never here");
    record.arrive("a");
    assert_eq!(tell(&mut record, 10), [(UserStatus::Online, None)]);
    record.arrive("b");
    record.leave("a", 20);
    assert!(tell(&mut record, 20).is_empty());
    record.leave("b", 30);
    assert_eq!(tell(&mut record, 40), [(UserStatus::Offline, Some(30))]);
    record.leave("b", 50);
    assert!(tell(&mut record, 50).is_empty());
}

#[test]
fn a_choice_stays_with_the_user() {
    let mut record = UserRecord::new();
    record.change(choose(UserStatus::Busy), 1);
    assert!(tell(&mut record, 1).is_empty(), "it is not here");
    record.arrive("a");
    assert_eq!(tell(&mut record, 2), [(UserStatus::Busy, None)]);
    record.leave("a", 3);
    record.arrive("b");
    assert!(tell(&mut record, 4).is_empty(), "it came back before that was told");
    record.change(choose(UserStatus::Online), 5);
    assert_eq!(tell(&mut record, 5), [(UserStatus::Online, None)]);
}

#[test]
fn one_that_looks_offline_is_seen_no_later() {
    let mut record = UserRecord::new();
    record.arrive("a");
    tell(&mut record, 1);
    record.change(choose(UserStatus::Offline), 7);
    assert_eq!(tell(&mut record, 8), [(UserStatus::Offline, Some(7))]);
    record.leave("a", 9);
    record.arrive("b");
    record.change(choose(UserStatus::Offline), 10);
    record.leave("b", 11);
    assert!(tell(&mut record, 12).is_empty());
    assert_eq!(record.state().last_seen, Some(7));
}

#[test]
fn of_one_that_hides_nothing_is_left() {
    let mut record = UserRecord::new();
    record.arrive("a");
    tell(&mut record, 1);
    record.change(choose(UserStatus::Away), 2);
    record.change(hide(true), 3);
    assert_eq!(tell(&mut record, 4), [(UserStatus::Offline, None)]);
    let stored = record.write();
    record.arrive("b");
    record.leave("b", 9);
    record.leave("a", 9);
    assert_eq!(record.write(), stored, "where it is, and when it was seen, is not stored");
    assert!(!record.owes());
    record.change(hide(false), 10);
    record.arrive("b");
    assert_eq!(tell(&mut record, 11), [(UserStatus::Away, None)]);
    record.leave("b", 12);
    assert_eq!(tell(&mut record, 13), [(UserStatus::Offline, Some(12))]);
    record.change(hide(true), 14);
    assert_eq!(tell(&mut record, 14), [(UserStatus::Offline, None)], "followers lose the time as well");
}

#[test]
fn what_was_decided_is_told_before_what_came_after() {
    let mut record = UserRecord::new();
    record.arrive("a");
    let first = record.decide(5).expect("it came");
    record.leave("a", 6);
    assert_eq!(record.decide(7), Some(first));
    record.confirm();
    let second = record.decide(3).expect("it left");
    assert_eq!((second.status, second.version), (UserStatus::Offline, 6), "a clock that goes back changes no order");
}

#[test]
fn a_record_of_a_later_build_is_read_and_another_text_is_not() {
    let later =
        Bytes::from_static(br#"{"chosen":"busy","told":{"status":"offline","version":3,"why":1},"colour":"red"}"#);
    assert_eq!(UserRecord::read(Some(&later)).map(|record| record.chosen).ok(), Some(UserStatus::Busy));
    for bad in ["", "7", "null", r#"{"chosen":"sleepy"}"#, r#"{"told":{}}"#] {
        assert!(UserRecord::read(Some(&Bytes::copy_from_slice(bad.as_bytes()))).is_err(), "{bad}");
    }
}

proptest! {
    /// Whatever happens in whatever order, and wherever a pod dies between deciding and confirming: each announcement differs from
    /// the one before, the last one says how it is, and a record is read as it was written.
    #[test]
    fn followers_end_up_with_the_truth(steps in prop::collection::vec((0usize..8, 0usize..3, any::<bool>()), 1..60)) {
        let (mut record, pods) = (UserRecord::new(), ["a", "b", "c"]);
        let mut told: Vec<Announcement> = Vec::new();
        let mut tell = |record: &mut UserRecord, now: u64, dies: bool| {
            while let Some(next) = record.decide(now) {
                if told.last().is_none_or(|last| last.version != next.version) {
                    told.push(next);
                }
                if dies {
                    break;
                }
                record.confirm();
            }
            told.clone()
        };
        for (now, (act, pod, dies)) in steps.into_iter().enumerate() {
            let now = now as u64;
            match act {
                0 | 1 => record.arrive(pods[pod]),
                2 | 3 => record.leave(pods[pod], now),
                4 => record.change(choose(UserStatus::ALL[pod]), now),
                5 => record.change(choose(UserStatus::Offline), now),
                _ => record.change(hide(act == 6), now),
            }
            tell(&mut record, now, dies);
            prop_assert_eq!(UserRecord::read(Some(&record.write())).ok(), Some(record.clone()));
        }
        let told = tell(&mut record, 100, false);
        let shown = record.state();
        prop_assert_eq!(told.last().map_or(UserStatus::Offline, |last| last.status), shown.status);
        prop_assert!(told.windows(2).all(|two| two[0].version < two[1].version && two[0].status != two[1].status
            || two[0].last_seen != two[1].last_seen));
        prop_assert!(!shown.hidden || told.last().is_none_or(|last| last.last_seen.is_none()));
    }
}
