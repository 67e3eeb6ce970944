//! Stages, their times, and what makes room.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{
    super::visit::{BEHIND_BYTES, MOVES, UNUSED_SESSIONS, VISIT_BYTES},
    *,
};
use crate::transport::http_io::Traffic;

fn visits() -> Visits {
    Visits::new(Arc::new(Budget::new(1_000_000)), Arc::default())
}

fn timeouts() -> Timeouts {
    let seconds = Duration::from_secs;
    Timeouts {
        tls: seconds(1),
        head: seconds(2),
        body: seconds(3),
        idle: seconds(7),
        write: seconds(4),
        ..Timeouts::default()
    }
}

#[test]
fn each_stage_has_its_time() {
    for (stage, ends) in [(Stage::Tls, 1), (Stage::Head, 2), (Stage::Closing, 2), (Stage::Body, 3), (Stage::Idle, 7)] {
        let mut visits = visits();
        let visit = visits.begin(Stage::Serving, 0);
        assert_eq!(visits.sweep(1_000_000, &timeouts()), Overdue::default(), "the pod's own work has no time here");
        visit.enter_at(stage, 1_000_000);
        visits.sweep(1_000_000 + ends * 1_000 - 1, &timeouts());
        assert_eq!((visit.stage(), visits.waiting()), (stage, 1));
        visits.sweep(1_000_000 + ends * 1_000, &timeouts());
        assert_eq!((visit.stage(), visits.waiting(), visits.is_empty()), (Stage::Over, 0, true), "{stage:?}");
    }
}

#[test]
fn a_probe_has_a_time_of_its_own_and_makes_room() {
    let mut visits = visits();
    let visit = visits.begin(Stage::Head, 0);
    visit.enter_at(Stage::Probing, 1_000);
    assert_eq!(visits.sweep(1_000_000, &timeouts()), Overdue::default());
    assert_eq!((visits.waiting(), visits.make_room(1_001), visits.make_room(1_000_000)), (1, 0, 1));
    assert_eq!((visit.stage(), visits.waiting()), (Stage::Over, 0));
}

#[test]
fn a_head_has_its_time_from_its_first_byte() {
    let (mut visits, traffic) = (visits(), Arc::new(Traffic::default()));
    let visit = visits.begin(Stage::Idle, 0);
    visit.carries(Arc::clone(&traffic));
    visits.sweep(6_000, &timeouts());
    for at in [6_500, 7_000, 7_500, 8_000] {
        traffic.read(1);
        assert_eq!(visits.sweep(at, &timeouts()), Overdue::default(), "{at}");
    }
    traffic.read(1);
    assert_eq!(visits.sweep(8_500, &timeouts()), Overdue { head: 1, ..Overdue::default() }, "however it drips");
}

#[test]
fn an_answer_that_is_not_read_has_its_time_at_every_stage() {
    for stage in [Stage::Serving, Stage::Idle] {
        let (mut visits, traffic) = (visits(), Arc::new(Traffic::default()));
        let visit = visits.begin(stage, 0);
        visit.carries(Arc::clone(&traffic));
        traffic.wrote(100, 50_000);
        for at in [5_000, 8_000] {
            visits.sweep(at, &timeouts());
            traffic.wrote(MOVES, 40_000);
        }
        assert_eq!(visits.sweep(11_000, &timeouts()), Overdue::default(), "it moves");
        traffic.wrote(MOVES - 1, 30_000);
        assert_eq!(visits.sweep(14_999, &timeouts()), Overdue::default());
        assert_eq!(visits.sweep(15_000, &timeouts()), Overdue { write: 1, ..Overdue::default() }, "{stage:?}");
    }
    let (mut visits, traffic) = (visits(), Arc::new(Traffic::default()));
    let visit = visits.begin(Stage::Idle, 0);
    visit.carries(Arc::clone(&traffic));
    traffic.wrote(100, 50_000);
    visits.sweep(3_900, &timeouts());
    traffic.wrote(50_000, 0);
    assert_eq!(visits.sweep(10_899, &timeouts()), Overdue::default(), "it is idle since it has read the answer");
    assert_eq!(visits.sweep(10_900, &timeouts()), Overdue { idle: 1, ..Overdue::default() });
}

/// Many come at once: the pod begins with the last of them after two seconds.
#[test]
fn a_client_that_waits_for_a_busy_pod_is_not_ended_for_another() {
    let mut visits = visits();
    let all: Vec<Visit> = (0..16).map(|_| visits.begin(Stage::Tls, 0)).collect();
    all.iter().for_each(Visit::queue);
    assert_eq!((visits.waiting(), visits.make_room(2_000)), (16, 0), "no task had a turn");
    assert_eq!(visits.sweep(5_000, &timeouts()), Overdue::default());
    all.iter().for_each(|visit| visit.turn_at(2_000));
    // What they have sent meanwhile may be heard of as late.
    assert_eq!(visits.make_room(3_900), 0);
    let late = visits.begin(Stage::Tls, 3_900);
    late.queue();
    late.turn_at(3_901);
    assert_eq!(visits.make_room(3_940), 0, "the pod was as late a moment ago");
    assert_eq!(visits.make_room(4_300), 3, "it is not any more: an eighth of those that have waited");
    assert_eq!(
        visits.sweep(4_300, &timeouts()),
        Overdue { head: 13, ..Overdue::default() },
        "from their first turn on"
    );
}

#[test]
fn those_that_wait_longest_make_room() {
    let mut visits = visits();
    let serving = visits.begin(Stage::Serving, 0);
    let old: Vec<_> = (0..16).map(|n| visits.begin(Stage::Head, n)).collect();
    assert_eq!(visits.make_room(200), 0, "all are young");
    assert_eq!(visits.make_room(224), 0, "and are not asked again at once");
    old[0].enter_at(Stage::Idle, 400);
    let young = visits.begin(Stage::Head, 400);
    assert_eq!(visits.make_room(600), 2);
    let over: Vec<_> = (0..16).filter(|n| old[*n].stage() == Stage::Over).collect();
    assert_eq!(over, [1, 2]);
    assert_eq!(visits.waiting(), 15);
    while visits.make_room(649) > 0 {}
    assert_eq!((serving.stage(), young.stage(), old[0].stage()), (Stage::Serving, Stage::Head, Stage::Idle));
    assert_eq!(visits.waiting(), 2);
}

#[test]
fn what_is_over_stays_over() {
    let mut visits = visits();
    let visit = visits.begin(Stage::Tls, 0);
    visit.enter_at(Stage::Over, 5);
    visit.enter_at(Stage::Idle, 6);
    assert_eq!((visit.stage(), visits.waiting()), (Stage::Over, 0));
}

#[test]
fn a_visit_is_over_with_its_last_task() {
    let mut visits = visits();
    let visit = visits.begin(Stage::Head, 0);
    let other = visit.clone();
    drop(visit);
    assert_eq!(visits.waiting(), 1);
    drop(other);
    assert_eq!(visits.waiting(), 0);
    visits.sweep(1, &timeouts());
    assert!(visits.is_empty());
}

#[test]
fn what_a_visit_holds_is_on_the_account_until_it_is_over() {
    let mut visits = visits();
    let budget = Arc::clone(&visits.of_worker.budget);
    let (visit, traffic) = (visits.begin(Stage::Serving, 0), Arc::new(Traffic::default()));
    visit.carries(Arc::clone(&traffic));
    let mut body = visit.hold(1_000);
    body.grow(500);
    assert_eq!(budget.held(), VISIT_BYTES + 1_500);
    traffic.wrote(0, 1);
    visits.sweep(1, &timeouts());
    assert_eq!(budget.held(), VISIT_BYTES + BEHIND_BYTES + 1_500);
    drop(visit);
    assert_eq!(budget.held(), 1_500, "the body is still there");
    drop(body);
    assert_eq!(budget.held(), 0);
}

#[test]
fn those_that_hold_most_are_shed_until_there_is_room() {
    let mut visits = visits();
    let small: Vec<_> = (0..3).map(|_| visits.begin(Stage::Idle, 0)).collect();
    let (large, served) = (visits.begin(Stage::Body, 500), visits.begin(Stage::Serving, 0));
    let bytes = [large.hold(300_000), served.hold(700_000)];
    assert!(large.has_no_memory_for(usize::MAX));
    assert_eq!(visits.shed(1_499), 3, "the largest has waited for too short a time, and is not served");
    let again: Vec<_> = (0..3).map(|_| visits.begin(Stage::Idle, 0)).collect();
    assert_eq!(visits.shed(1_500), 1, "that is enough");
    assert_eq!((large.stage(), served.stage(), again[0].stage()), (Stage::Over, Stage::Serving, Stage::Idle));
    let traffic = Arc::new(Traffic::default());
    served.carries(Arc::clone(&traffic));
    traffic.wrote(0, 1);
    visits.sweep(3_000, &Timeouts { idle: Duration::from_secs(60), ..timeouts() });
    assert_eq!((visits.shed(4_000), served.stage()), (1, Stage::Over), "what is not read is waited for");
    drop((bytes, small));
}

#[test]
fn a_connection_opens_few_sessions_that_it_does_not_use() {
    let mut visits = visits();
    let (one, other) = (visits.begin(Stage::Serving, 0), visits.begin(Stage::Serving, 0));
    let unused: Vec<_> = (0..UNUSED_SESSIONS).map(|_| one.open_session(512).unwrap()).collect();
    assert!(one.open_session(512).is_none());
    let others: Vec<_> = (0..UNUSED_SESSIONS).map(|_| other.open_session(512).unwrap()).collect();
    drop(unused);
    assert!(one.open_session(512).is_some());
    assert_eq!(visits.of_worker.unused.count(), others.len());
}

#[test]
fn the_bytes_of_an_answered_request_are_no_new_head() {
    let (mut visits, traffic) = (visits(), Arc::new(Traffic::default()));
    let visit = visits.begin(Stage::Idle, 0);
    visit.carries(Arc::clone(&traffic));
    visits.sweep(1_000, &timeouts());
    // It comes and is answered between two looks.
    traffic.read(100);
    visit.enter_at(Stage::Idle, 1_100);
    visits.sweep(1_250, &timeouts());
    visits.sweep(1_100 + 6_999, &timeouts());
    assert_eq!(visit.stage(), Stage::Idle);
    assert_eq!(visits.sweep(1_100 + 7_000, &timeouts()), Overdue { idle: 1, ..Overdue::default() });
}

#[test]
fn a_visit_that_is_carried_on_counts_anew() {
    let mut visits = visits();
    let (visit, before, after) =
        (visits.begin(Stage::Serving, 0), Arc::new(Traffic::default()), Arc::new(Traffic::default()));
    visit.carries(Arc::clone(&before));
    before.wrote(100_000, 1);
    visits.sweep(250, &timeouts());
    visit.carries(Arc::clone(&after));
    after.wrote(10, 1);
    assert_eq!(visits.sweep(500, &timeouts()), Overdue::default());
    assert_eq!(visits.sweep(4_500, &timeouts()), Overdue { write: 1, ..Overdue::default() });
}
