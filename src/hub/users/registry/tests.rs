use proptest::prelude::*;

use super::*;

const SETTINGS: RegistrySettings =
    RegistrySettings { offline_after_ms: 10_000, announcements_per_second: 100, change_burst: 3 };

fn registry() -> UserRegistry {
    UserRegistry::new(SETTINGS, 0)
}

fn user(name: &str) -> Arc<str> {
    name.into()
}

/// Takes all looks that there are now, each as `(user, here, may_tell)`, and settles them.
fn settle(registry: &mut UserRegistry, now: u64) -> Vec<(String, bool, bool)> {
    registry.tick(now);
    let mut looks = Vec::new();
    while let Some(look) = registry.next(now) {
        looks.push((look.user.to_string(), look.here, look.may_tell));
        registry.done(&look, LookOutcome::Settled { listed: look.here }, now);
    }
    looks
}

#[test]
fn a_user_is_here_until_the_debounce_of_its_last_device_is_over() {
    let (mut registry, ann) = (registry(), user("ann"));
    assert!(!registry.connect(&ann, 0));
    assert_eq!(settle(&mut registry, 0), [("ann".to_owned(), true, false)]);
    registry.connect(&ann, 1);
    registry.disconnect("ann", 2, 2);
    assert_eq!(settle(&mut registry, 20_000), [], "another device is here");
    registry.disconnect("ann", 20_000, 20_000);
    assert_eq!(settle(&mut registry, 29_999), []);
    assert!(registry.connect(&ann, 29_999), "it came back in time");
    assert_eq!(settle(&mut registry, 40_000), []);
    registry.disconnect("ann", 40_000, 77);
    registry.tick(50_000);
    let look = registry.next(50_000).expect("it is gone");
    assert_eq!((look.here, look.seen), (false, Some(77)));
    registry.done(&look, LookOutcome::Settled { listed: false }, 50_000);
    assert!(registry.users.is_empty() && registry.timers.is_empty() && registry.here() == 0);
}

#[test]
fn one_that_is_dismissed_and_comes_back_is_here_while_its_old_devices_go() {
    let (mut registry, ann) = (registry(), user("ann"));
    registry.connect(&ann, 0);
    settle(&mut registry, 0);
    registry.dismiss(&ann, 1);
    assert_eq!(settle(&mut registry, 1), [("ann".to_owned(), false, false)]);
    registry.connect(&ann, 2);
    assert_eq!(settle(&mut registry, 2), [("ann".to_owned(), true, false)]);
    registry.disconnect("ann", 3, 3);
    assert_eq!(settle(&mut registry, 60_000), [], "the new one is here");
    // One that comes before that is done keeps it here.
    registry.dismiss(&ann, 60_000);
    registry.connect(&ann, 60_000);
    registry.disconnect("ann", 60_001, 3);
    assert_eq!((settle(&mut registry, 120_000), registry.here()), (vec![], 1));
}

#[test]
fn one_that_comes_back_while_its_record_is_written_is_looked_at_again() {
    let (mut registry, ann) = (registry(), user("ann"));
    registry.connect(&ann, 0);
    settle(&mut registry, 0);
    registry.disconnect("ann", 0, 0);
    registry.tick(10_000);
    let look = registry.next(10_000).expect("it is gone");
    registry.connect(&ann, 10_001);
    assert!(registry.next(10_001).is_none(), "one look at a time");
    registry.done(&look, LookOutcome::Settled { listed: false }, 10_002);
    assert_eq!(settle(&mut registry, 10_002), [("ann".to_owned(), true, false)]);
}

#[test]
fn what_the_broker_did_not_do_is_tried_again() {
    let (mut registry, ann) = (registry(), user("ann"));
    registry.connect(&ann, 0);
    registry.tick(0);
    let look = registry.next(0).expect("it came");
    registry.done(&look, LookOutcome::Failed, 0);
    assert_eq!(registry.next_due(0), Some(UserRegistry::AGAIN_MS));
    registry.disconnect("ann", 1, 1);
    assert_eq!(settle(&mut registry, UserRegistry::AGAIN_MS), [("ann".to_owned(), true, false)]);
    assert_eq!(settle(&mut registry, 10_001), [("ann".to_owned(), false, false)]);
}

#[test]
fn announcements_keep_to_the_rate_and_arrivals_do_not_wait_for_them() {
    let mut registry = registry();
    for n in 0..1_000 {
        registry.connect(&user(&n.to_string()), 0);
    }
    registry.tick(0);
    while let Some(look) = registry.next(0).filter(|look| !look.may_tell) {
        registry.done(&look, LookOutcome::Owes, 0);
    }
    registry.connect(&user("late"), 1);
    let look = registry.next(1).expect("it came");
    assert_eq!((&*look.user, look.may_tell), ("late", false));
    registry.done(&look, LookOutcome::Settled { listed: true }, 1);
    let (mut told, mut most) = (1, 0);
    for second in 0..10 {
        let before = told;
        for now in (second * 1_000..(second + 1) * 1_000).step_by(7) {
            while let Some(look) = registry.next(now.max(1)) {
                assert!(look.may_tell);
                told += 1;
                registry.done(&look, LookOutcome::Settled { listed: true }, now);
            }
        }
        most = most.max(told - before);
    }
    assert!(most <= 110, "{most} in a second");
    assert!(told > 900, "{told} in ten seconds");
    assert!(registry.next_due(10_000).is_some_and(|due| due > 10_000), "no timer spins");
}

#[test]
fn one_that_owes_and_changes_once_more_is_told_of_once() {
    let (mut registry, ann) = (registry(), user("ann"));
    registry.connect(&ann, 0);
    let look = registry.next(0).expect("it came");
    registry.changed("ann", 0);
    registry.done(&look, LookOutcome::Owes, 0);
    registry.changed("ann", 1);
    let look = registry.next(1).expect("it changed");
    assert!(!look.may_tell && look.listed);
    registry.done(&look, LookOutcome::Owes, 1);
    assert_eq!(registry.backlog(), 1, "it has one turn");
    let look = registry.next(1).expect("it is to be told");
    assert!(look.may_tell && look.listed);
    registry.done(&look, LookOutcome::Settled { listed: true }, 1);
    assert_eq!(registry.next(1), None);
}

#[test]
fn one_that_owes_and_comes_back_is_written_at_once() {
    let mut registry = registry();
    let names: Vec<_> = (0..50).map(|n| user(&n.to_string())).collect();
    for name in &names {
        registry.adopt(name, &user("dead"), 5, 0);
    }
    while let Some(look) = registry.next(0) {
        let outcome = if look.may_tell { LookOutcome::Settled { listed: false } } else { LookOutcome::Owes };
        registry.done(&look, outcome, 0);
    }
    // The rate is used up, and one that waits for its turn comes.
    let last = names.last().expect("the last");
    registry.connect(last, 0);
    let look = registry.next(0).expect("it came");
    assert_eq!((&look.user, look.here, look.may_tell), (last, true, false));
    registry.done(&look, LookOutcome::Settled { listed: true }, 0);
    // Nothing is owed of it any more: its turn is none.
    let (mut now, mut told) = (0, 0);
    while registry.backlog() > 0 {
        now += 10;
        while let Some(look) = registry.next(now) {
            assert!(look.may_tell && look.user != *last);
            told += 1;
            registry.done(&look, LookOutcome::Settled { listed: false }, now);
        }
        assert!(now < 10_000);
    }
    assert_eq!((told, registry.users.len()), (names.len() - 1 - 10, 1));
}

#[test]
fn a_broker_that_does_not_answer_is_asked_less_and_less() {
    let (mut registry, ann) = (registry(), user("ann"));
    registry.connect(&ann, 0);
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..8 {
        registry.tick(now);
        let look = registry.next(now).expect("it is tried");
        registry.done(&look, LookOutcome::Failed, now);
        let due = registry.next_due(now).expect("it is tried again");
        pauses.push(due - now);
        now = due;
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    registry.changed("ann", now);
    assert!(registry.next(now).is_some(), "a change does not wait");
}

#[test]
fn a_record_that_names_this_pod_without_reason_is_looked_at() {
    let mut registry = registry();
    registry.connect(&user("ann"), 0);
    settle(&mut registry, 0);
    assert!(!registry.recheck_missing("ann", 1) && registry.recheck_missing("ghost", 1));
    let look = registry.next(1).expect("it is looked at");
    assert_eq!((&*look.user, look.here, look.seen, look.listed), ("ghost", false, None, true));
    registry.done(&look, LookOutcome::Settled { listed: false }, 1);
    assert!(registry.next(1).is_none() && registry.users.len() == 1);
}

#[test]
fn the_users_of_a_pod_that_is_gone_are_adopted_once() {
    let (mut registry, pod) = (registry(), user("dead"));
    assert!(registry.adopt("ann", &pod, 5, 100) && !registry.adopt("ann", &pod, 5, 100));
    let look = registry.next(100).expect("it was there");
    assert_eq!((look.here, look.left.clone()), (false, Some((Arc::clone(&pod), 5))));
    registry.done(&look, LookOutcome::Failed, 100);
    registry.tick(100 + UserRegistry::AGAIN_MS);
    let look = registry.next(100 + UserRegistry::AGAIN_MS).expect("it is tried again");
    assert_eq!(look.left, Some((pod, 5)));
    registry.done(&look, LookOutcome::Settled { listed: false }, 700);
    assert!(registry.users.is_empty() && registry.timers.is_empty());
}

#[test]
fn of_one_that_hides_nothing_is_said_when_it_goes() {
    let (mut registry, ann) = (registry(), user("ann"));
    registry.connect(&ann, 0);
    let look = registry.next(0).expect("it came");
    registry.done(&look, LookOutcome::Settled { listed: false }, 0);
    registry.disconnect("ann", 1, 1);
    registry.tick(10_001);
    assert!(registry.next(10_001).is_none() && registry.users.is_empty() && registry.here() == 0);
}

#[test]
fn every_record_is_looked_at_now_and_then() {
    let mut registry = registry();
    registry.connect(&user("ann"), 0);
    settle(&mut registry, 0);
    for round in 1..4 {
        assert_eq!(settle(&mut registry, round * UserRegistry::CHECK_MS).len(), 1);
        assert_eq!(settle(&mut registry, round * UserRegistry::CHECK_MS + 1), []);
    }
    registry.recheck_all(4_000_000);
    assert_eq!(settle(&mut registry, 4_000_000).len(), 1);
    registry.recheck_known("bob", 4_000_000);
    assert_eq!(settle(&mut registry, 4_000_000), [], "bob is not here");
}

#[test]
fn a_user_changes_its_status_within_its_rate() {
    let mut registry = registry();
    let changes =
        |registry: &mut UserRegistry, user: &str, now| (0..5).filter(|_| registry.may_change(user, now)).count();
    assert_eq!([changes(&mut registry, "ann", 0), changes(&mut registry, "ann", 0)], [3, 0]);
    assert_eq!([changes(&mut registry, "bob", 0), changes(&mut registry, "ann", 1_000)], [3, 1]);
    for n in 0..UserRegistry::MAX_CHANGING {
        registry.may_change(&n.to_string(), 1_000);
    }
    assert!(registry.changes.len() <= UserRegistry::MAX_CHANGING);
    assert!(registry.may_change("zoe", 60_000), "what is full again is forgotten");
}

proptest! {
    /// Whatever comes and goes, and whatever the broker answers: in the end each record says what is the case, nothing is left over, and
    /// no user is looked at twice at a time.
    #[test]
    fn records_end_up_right(steps in prop::collection::vec((0usize..3, 0u8..9, 0u64..4_000), 1..120)) {
        let (mut registry, mut now) = (registry(), 0);
        let names = ["a", "b", "c"].map(user);
        let (mut devices, mut recorded) = ([0u32; 3], [false; 3]);
        let mut looks: Vec<Settlement> = Vec::new();
        let finish = |registry: &mut UserRegistry, recorded: &mut [bool; 3], look: Settlement, act: u8, now: u64| {
            let at = names.iter().position(|name| *name == look.user).unwrap_or(0);
            let outcome = match act {
                0..=2 => LookOutcome::Settled { listed: look.here },
                3 if !look.may_tell => LookOutcome::Owes,
                _ => LookOutcome::Failed,
            };
            if outcome != LookOutcome::Failed {
                recorded[at] = look.here;
            }
            registry.done(&look, outcome, now);
        };
        for (at, act, pause) in steps {
            now += pause;
            registry.tick(now);
            match act {
                0..=2 => {
                    registry.connect(&names[at], now);
                    devices[at] += 1;
                }
                3 | 4 if devices[at] > 0 => {
                    registry.disconnect(&names[at], now, now);
                    devices[at] -= 1;
                }
                5 | 6 => {
                    if let Some(look) = registry.next(now) {
                        prop_assert!(looks.iter().all(|other| other.user != look.user));
                        looks.push(look);
                    }
                }
                _ => {
                    if let Some(look) = looks.pop() {
                        finish(&mut registry, &mut recorded, look, act % 5, now);
                    }
                }
            }
        }
        for look in looks {
            finish(&mut registry, &mut recorded, look, 0, now);
        }
        for _ in 0..50 {
            now += 1_000;
            registry.tick(now);
            while let Some(look) = registry.next(now) {
                finish(&mut registry, &mut recorded, look, 0, now);
            }
        }
        prop_assert_eq!(recorded, devices.map(|devices| devices > 0));
        let here = devices.iter().filter(|devices| **devices > 0).count();
        prop_assert_eq!((registry.here(), registry.users.len(), registry.timers.len()), (here, here, here));
    }
}
