//! Which messages are this pod's, as leases come and go.

use super::*;
use crate::model::{Payload, Publication, Room};

const LEASE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(500);

/// A pod whose patterns stand, and a moment.
fn pod() -> (Tenure, Instant) {
    (Tenure { hears: true, ..Tenure::default() }, Instant::now())
}

/// A message comes, and is kept where that makes sense.
fn hear(tenure: &mut Tenure, heard: Instant) {
    let place = tenure.ring.place();
    if place.name.is_none() && !tenure.is_unclaimed() {
        return;
    }
    let payload = Payload::json(serde_json::value::to_raw_value("1").expect("JSON")).expect("a payload");
    let publication =
        Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
    let room = Room::parse("a").expect("a name");
    assert_eq!(tenure.ring.keep(HeardMessage { place, room, publication, heard, cost: 1, is_queued: false }), 0);
}

fn mark(tenure: &mut Tenure, name: &str, settled: &str) {
    tenure.ring.mark(&StreamMark { name, settled, held: true });
}

/// Whether no other pod can have had the lease since the tenure before this one.
fn is_unbroken(tenure: &Tenure) -> bool {
    tenure.unbroken_since < tenure.number
}

fn claim(heard: Instant, tenure: u64, is_taken_over: bool) -> Claim {
    Claim { heard, tenure, is_taken_over }
}

/// The place of a message that no mark has settled.
fn named() -> StreamPlace {
    StreamPlace { period: 9, name: Some("m1.1".to_owned()), number: 1 }
}

fn unnamed() -> StreamPlace {
    StreamPlace { name: None, ..named() }
}

#[test]
fn what_comes_while_the_lease_is_free_is_this_pods_if_it_is_the_next_holder() {
    let (mut tenure, now) = pod();
    hear(&mut tenure, now);
    assert!(tenure.seen_free(now, 7) && !tenure.seen_free(now, 7), "one ping a span");
    // What was on its way when the span began may be the last holder's.
    hear(&mut tenure, now);
    assert!(!tenure.is_unclaimed());
    tenure.pong(tenure.ping());
    hear(&mut tenure, now);
    assert!(!tenure.wants_lease(now, GRACE) && tenure.wants_lease(now + GRACE, GRACE));
    assert!(tenure.given(now, now + LEASE, 7));
    assert!(tenure.surely_holds(now), "what comes now is this pod's too");
    assert_eq!(tenure.ring.take_over().len(), 1);
    assert_eq!(tenure.fate(&unnamed(), claim(now, tenure.number(), true), now), Fate::Publish);
    assert!(tenure.ring.take_over().is_empty(), "once");
}

#[test]
fn what_another_pod_may_have_published_is_not_kept() {
    for step in ["taken", "taken and free again", "taken unseen", "lost", "resigned"] {
        let (mut tenure, now) = pod();
        tenure.seen_free(now, 7);
        tenure.pong(tenure.ping());
        hear(&mut tenure, now);
        match step {
            "taken" => assert!(!tenure.seen_taken(false)),
            "taken and free again" => assert!(tenure.seen_free(now, 8)),
            "taken unseen" => assert!(tenure.given(now, now + LEASE, 8) && !tenure.surely_holds(now)),
            "lost" => assert!(tenure.lost().is_empty()),
            _ => assert!(!tenure.give_up()),
        }
        assert!(tenure.ring.take_over().is_empty(), "{step}");
    }
}

#[test]
fn a_pod_of_an_older_build_leaves_nothing_to_be_taken_over() {
    let (mut tenure, now) = pod();
    mark(&mut tenure, "m1", "");
    mark(&mut tenure, "m2", "m1");
    hear(&mut tenure, now);
    assert!(tenure.ring.covers());
    assert!(!tenure.seen_taken(false));
    assert!(tenure.ring.covers(), "a pod of this build names what it publishes");
    tenure.seen_taken(true);
    assert!(!tenure.ring.covers() && tenure.ring.take_over().is_empty());
}

#[test]
fn a_message_whose_name_may_be_forgotten_is_given_up_and_not_repeated() {
    let (mut tenure, heard) = pod();
    assert!(tenure.given(heard, heard + 100 * LEASE, 0));
    let (own, taken_over) = (claim(heard, 1, false), claim(heard, 1, true));
    let (soon, late) = (heard + NAME_IS_SURE / 2, heard + NAME_IS_SURE);
    for (claim, at, fate) in [
        (own, soon, Fate::Publish),
        (own, late, Fate::Publish),
        (taken_over, soon, Fate::Publish),
        (taken_over, late, Fate::GiveUp),
    ] {
        assert_eq!(tenure.fate(&named(), claim, at), fate, "{claim:?} {at:?}");
    }
    // Another pod had the lease meanwhile. It took over what waited here.
    assert!(tenure.seen_taken(false) && tenure.given(heard, heard + 100 * LEASE, 2));
    assert!(!is_unbroken(&tenure));
    assert_eq!(tenure.fate(&named(), own, soon), Fate::Publish, "its name says whether it was published");
    assert_eq!(tenure.fate(&named(), own, late), Fate::GiveUp);
    assert_eq!(tenure.fate(&unnamed(), own, soon), Fate::Leave);
    // Without the lease only for a moment.
    tenure.seen_taken(false);
    assert_eq!(tenure.fate(&named(), own, heard + STALE / 2), Fate::Publish);
    assert_eq!(tenure.fate(&named(), own, heard + STALE), Fate::Wait, "what follows must not overtake it");
    assert_eq!(tenure.fate(&named(), own, late), Fate::Leave);
    assert_eq!(tenure.fate(&unnamed(), own, soon), Fate::Leave, "the other pod publishes it");
}

/// A pod that is far behind and loses its lease neither drops what is too old nor overtakes it with what is not.
#[test]
fn what_waits_behind_a_message_that_is_too_old_does_not_overtake_it() {
    let (mut tenure, heard) = pod();
    mark(&mut tenure, "m1", "");
    assert!(tenure.given(heard, heard + LEASE, 0));
    let (period, own) = (tenure.ring.place().period, claim(heard, 1, false));
    let place = StreamPlace { period, ..named() };
    let later = heard + STALE;
    assert_eq!(tenure.fate(&place, own, later), Fate::Wait);
    assert_eq!(tenure.fate(&unnamed(), own, later), Fate::Wait, "no other pod has the lease");
    // The lease is this pod's again.
    assert!(tenure.given(later, later + LEASE, 1));
    assert_eq!(tenure.fate(&place, own, later), Fate::Publish);
    assert_eq!(tenure.fate(&unnamed(), own, later), Fate::Publish);
    // Or another pod has it, and publishes both.
    assert!(tenure.seen_taken(false));
    assert_eq!(tenure.fate(&unnamed(), own, later), Fate::Leave);
    mark(&mut tenure, "m2", "m1");
    assert_eq!(tenure.fate(&place, own, later), Fate::Wait);
    mark(&mut tenure, "m3", "m2");
    assert_eq!(tenure.fate(&place, own, later), Fate::Publish, "its log is asked whether it has it");
    tenure.lost();
    assert_eq!(tenure.fate(&place, own, later), Fate::Publish, "also after another connection");
    assert_eq!(tenure.fate(&place, own, heard + NAME_IS_SURE), Fate::Leave, "it can no longer be asked");
}

#[test]
fn a_tenure_that_only_ran_out_goes_on() {
    let (mut tenure, now) = pod();
    assert!(tenure.given(now, now + LEASE, 4));
    let own = claim(now, tenure.number(), false);
    assert!(!tenure.given(now, now + LEASE, 4), "renewed");
    // It ran out here, and then there.
    let later = now + 2 * LEASE;
    assert!(tenure.given(later, later + LEASE, 4) && is_unbroken(&tenure));
    let later = later + 2 * LEASE;
    assert!(tenure.given(later, later + LEASE, 5) && is_unbroken(&tenure));
    assert_eq!(
        (tenure.fate(&unnamed(), own, later), tenure.fate(&named(), own, later)),
        (Fate::Publish, Fate::Publish)
    );
    let later = later + 2 * LEASE;
    assert!(tenure.given(later, later + LEASE, 7) && !is_unbroken(&tenure));
    assert_eq!(tenure.fate(&unnamed(), own, later), Fate::Leave);
}

#[test]
fn a_pod_that_joins_marks_the_stream_once_so_that_it_can_go_on() {
    let (mut tenure, now) = pod();
    assert!(!tenure.owes_first_mark() && !tenure.follows(now), "the lease was not looked at");
    tenure.seen_taken(false);
    hear(&mut tenure, now);
    assert!(tenure.owes_first_mark() && !tenure.follows(now), "what it hears has no name");
    let text = tenure.next_mark("joined", true);
    let own = StreamMark::parse(&text).expect("a mark");
    assert_eq!((own.name, own.settled, own.held), ("joined.1", "", true));
    tenure.ring.mark(&own);
    assert!(!tenure.owes_first_mark() && tenure.follows(now));
    hear(&mut tenure, now);
    // The holder dies before it publishes a mark.
    tenure.seen_free(now, 7);
    hear(&mut tenure, now);
    assert!(tenure.wants_lease(now + GRACE, GRACE) && tenure.given(now, now + LEASE, 7));
    assert_eq!(tenure.ring.take_over().len(), 2);
    // Another connection begins anew.
    assert!(tenure.lost().is_empty(), "it has queued all that it heard");
    tenure.hears = true;
    tenure.missed = false;
    assert!(!tenure.owes_first_mark() && !tenure.follows(now));
    tenure.seen_taken(false);
    assert!(tenure.owes_first_mark());
}

#[test]
fn a_pod_that_does_not_hear_its_own_marks_publishes_them_ever_more_rarely() {
    let (mut tenure, began) = pod();
    tenure.seen_taken(false);
    let tick = Duration::from_millis(100);
    let published = |tenure: &mut Tenure, ticks: std::ops::Range<u32>| {
        ticks.filter(|at| tenure.first_mark_is_due(began + tick * *at)).collect::<Vec<u32>>()
    };
    let first_minute = published(&mut tenure, 0..600);
    assert_eq!(
        first_minute,
        [0, 1, 3, 7, 15, 31, 63, 127, 227, 327, 427, 527],
        "twice as long each time, 10 s at most"
    );
    // It hears one at last.
    let text = tenure.next_mark("joined", true);
    tenure.ring.mark(&StreamMark::parse(&text).expect("a mark"));
    assert!(published(&mut tenure, 600..700).is_empty());
    // Another connection begins anew, and its first mark is not late.
    tenure.lost();
    assert!(published(&mut tenure, 700..701).is_empty());
    (tenure.hears, tenure.missed) = (true, false);
    tenure.seen_taken(false);
    assert_eq!(published(&mut tenure, 701..710), [701, 702, 704, 708]);
}

#[test]
fn a_pod_marks_nothing_beside_one_that_knows_no_marks() {
    let (mut tenure, now) = pod();
    tenure.seen_taken(true);
    assert!(!tenure.owes_first_mark() && tenure.follows(now), "there is nothing that it could keep");
    hear(&mut tenure, now);
    assert!(tenure.ring.take_over().is_empty());
    tenure.seen_free(now, 7);
    assert!(!tenure.owes_first_mark() && !tenure.follows(now));
    tenure.pong(tenure.ping());
    assert!(tenure.follows(now));
}

/// The server dies, and with it perhaps the holder: what this pod heard goes into its log all the same.
#[test]
fn what_was_heard_before_the_connection_was_lost_is_published_under_its_name() {
    let (mut tenure, now) = pod();
    tenure.seen_taken(false);
    mark(&mut tenure, "m1", "");
    hear(&mut tenure, now);
    mark(&mut tenure, "m2", "m1");
    hear(&mut tenure, now);
    let left = tenure.lost();
    let names: Vec<_> = left.iter().filter_map(|message| message.place.name.as_deref()).collect();
    assert_eq!(names, ["m1.1", "m2.1"]);
    assert_eq!(tenure.fate(&named(), claim(now, tenure.number(), true), now + STALE / 2), Fate::Publish);
    assert!(tenure.lost().is_empty(), "once");
}
