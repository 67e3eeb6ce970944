//! How far users have read, and where rooms stand.

use std::time::Duration;

use roomcast::testing::{
    broker::{AckBounds, Delivery, Standing},
    model::{Ack, Epoch, Notice, Policy, Position, Progress, Receipt, Room, Telling, Unread},
};

use super::harness::{Bench, Store, a_moment, room};

const LONG: AckBounds = AckBounds { rooms: 100, age: Duration::from_secs(600) };

fn ack(user: &str, room: &Room, epoch: &str, offset: u64) -> Ack {
    Ack {
        user: user.into(),
        room: room.clone(),
        position: Position::new(Epoch::new(epoch), offset),
        telling: Telling::Nothing,
    }
}

/// What is kept of a user, as text, in the order of the rooms' names.
async fn kept<S: Store>(bench: &Bench<S>, user: &str, bounds: AckBounds) -> Vec<String> {
    let mut kept = bench.store.acks().kept(user, bounds).await.unwrap();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    let positions = |positions: &[Position]| {
        let mut words: Vec<_> = positions.iter().map(|at| format!("{}:{}", at.epoch, at.offset)).collect();
        words.sort();
        words.join(",")
    };
    kept.iter().map(|(room, of)| format!("{room} {}", positions(of))).collect()
}

async fn keep<S: Store>(bench: &Bench<S>, ack: Ack) -> bool {
    bench.store.acks().keep(&[ack], LONG).await.remove(0).unwrap().further
}

pub async fn the_highest_ack_of_a_user_is_kept<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (chat, other) = (room("chat:ü"), room("other"));
    assert!(keep(&bench, ack("ann", &chat, "b.e", 5)).await);
    assert!(!keep(&bench, ack("ann", &chat, "b.e", 5)).await, "a repeated call changes nothing");
    assert!(!keep(&bench, ack("ann", &chat, "b.e", 3)).await, "an earlier one neither");
    assert!(keep(&bench, ack("ann", &chat, "b.e", 7)).await);
    assert!(keep(&bench, ack("ann", &other, "b.e", 0)).await, "nothing was read, and that is known");
    assert!(keep(&bench, ack("an n{x}", &chat, "b.e", 1)).await);
    assert_eq!(kept(&bench, "ann", LONG).await, ["chat:ü b.e:7", "other b.e:0"]);
    assert_eq!(kept(&bench, "an n{x}", LONG).await, ["chat:ü b.e:1"]);
    assert!(kept(&bench, "bob", LONG).await.is_empty());
}

pub async fn epochs_stand_side_by_side_and_the_oldest_goes<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let chat = room("chat");
    for (epoch, offset) in [("b.1", 9), ("b.2", 4), ("b.1", 8), ("b.3", 6), ("b.4", 2)] {
        keep(&bench, ack("ann", &chat, epoch, offset)).await;
    }
    let left = kept(&bench, "ann", LONG).await;
    assert!(left[0].contains("b.4:2") && left[0].contains("b.3:6"), "{left:?}");
    assert_eq!(left[0].split(',').count(), 3, "{left:?}");
}

pub async fn what_was_kept_before_is_told<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let chat = room("chat");
    let at = |epoch: &str, offset| Position::new(Epoch::new(epoch), offset);
    let sort = |positions: &mut Vec<Position>| positions.sort_by(|a, b| a.epoch.as_str().cmp(b.epoch.as_str()));
    for (epoch, offset, further, before) in [
        ("b.1", 9, true, vec![]),
        ("b.1", 8, false, vec![at("b.1", 9)]),
        ("b.2", 4, true, vec![at("b.1", 9)]),
        ("b.2", 6, true, vec![at("b.1", 9), at("b.2", 4)]),
        ("b.1", 9, false, vec![at("b.1", 9), at("b.2", 6)]),
    ] {
        let mut kept = bench.store.acks().keep(&[ack("ann", &chat, epoch, offset)], LONG).await.remove(0).unwrap();
        sort(&mut kept.before);
        assert_eq!((kept.further, kept.before), (further, before), "{epoch} {offset}");
    }
}

/// What authors are to be told since so long ago: user, room, how far it has read, and what was kept before.
async fn untold<S: Store>(bench: &Bench<S>, older: Duration) -> Vec<String> {
    let left = bench.store.acks().take_untold(older, 100).await.unwrap();
    let text = |at: &Position| format!("{}:{}", at.epoch, at.offset);
    let before = |all: &[Position]| all.iter().map(text).collect::<Vec<_>>().join(",");
    let mut left: Vec<_> = left
        .iter()
        .map(|ack| format!("{} {} {} after {}", ack.user, ack.room, text(&ack.read), before(&ack.before)))
        .collect();
    left.sort();
    left
}

pub async fn what_authors_are_to_be_told_is_left_until_they_were<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (dm, other) = (room("dm:ü"), room("other"));
    let (user, now) = ("an n{x}", Duration::ZERO);
    let keep = async |room: &Room, offset: u64, telling: Telling| {
        let ack = Ack { telling, ..ack(user, room, "b.e", offset) };
        bench.store.acks().keep(&[ack], LONG).await.remove(0).unwrap()
    };
    let told =
        |before: &[u64]| Telling::Told(before.iter().map(|offset| Position::new(Epoch::new("b.e"), *offset)).collect());
    keep(&dm, 5, Telling::Due).await;
    keep(&other, 1, Telling::Nothing).await;
    assert_eq!(untold(&bench, now).await, ["an n{x} dm:ü b.e:5 after "]);
    // Read on by another device: what its pod tells alone is not all.
    assert_eq!(keep(&dm, 9, Telling::Due).await.before.len(), 1);
    keep(&dm, 9, told(&[5])).await;
    assert_eq!(untold(&bench, now).await, ["an n{x} dm:ü b.e:9 after "]);
    keep(&dm, 5, told(&[])).await;
    assert_eq!(untold(&bench, now).await, ["an n{x} dm:ü b.e:9 after b.e:5"]);
    keep(&dm, 9, told(&[5])).await;
    assert!(untold(&bench, now).await.is_empty(), "all of it was told");
    // What says that it was told keeps nothing, and what is no further is not due.
    keep(&room("none"), 3, told(&[])).await;
    keep(&dm, 9, Telling::Due).await;
    assert!(untold(&bench, now).await.is_empty());
    assert_eq!(kept(&bench, user, LONG).await, ["dm:ü b.e:9", "other b.e:1"]);
    // One that keeps it to itself from now on is told of by nothing.
    keep(&dm, 10, Telling::Due).await;
    keep(&dm, 10, Telling::Withheld).await;
    assert!(untold(&bench, now).await.is_empty());
    // What was taken is the taker's for a while.
    keep(&dm, 11, Telling::Due).await;
    bench.store.pass(Duration::from_millis(1_500)).await;
    assert_eq!(untold(&bench, Duration::from_secs(1)).await, ["an n{x} dm:ü b.e:11 after b.e:10"]);
    assert!(untold(&bench, Duration::from_secs(1)).await.is_empty());
    // Of others there is as much as has place, and of one that is erased nothing.
    let many: Vec<Ack> =
        (0..300).map(|n| Ack { telling: Telling::Due, ..ack(&format!("user{n}"), &other, "b.e", 1) }).collect();
    assert!(bench.store.acks().keep(&many, LONG).await.iter().all(Result::is_ok));
    bench.store.erasure().forget_user(user, &[]).await.unwrap();
    let left = bench.store.acks().take_untold(now, 1_000).await.unwrap();
    assert!(left.len() == 300 && left.iter().all(|ack| &*ack.user != user), "{}", left.len());
}

pub async fn many_users_at_once_are_answered_each<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let acks: Vec<Ack> =
        (0..600).map(|n| ack(&format!("user{}", n % 40), &room(&format!("chat:{}", n / 40)), "b.e", n)).collect();
    let said = bench.store.acks().keep(&acks, LONG).await;
    assert_eq!(said.into_iter().filter(|said| said.as_ref().is_ok_and(|kept| kept.further)).count(), 600);
    let again = bench.store.acks().keep(&acks[..300], LONG).await;
    assert_eq!(again.into_iter().filter(|said| said.as_ref().is_ok_and(|kept| !kept.further)).count(), 300);
    assert_eq!(kept(&bench, "user7", LONG).await.len(), 15);
    assert!(bench.store.acks().keep(&[], LONG).await.is_empty());
}

pub async fn what_is_kept_of_a_user_is_bounded<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let few = AckBounds { rooms: 4, ..LONG };
    for n in 0..5 {
        let ack = ack("ann", &room(&format!("chat:{n}")), "b.e", 1);
        bench.store.acks().keep(&[ack], few).await.remove(0).unwrap();
        bench.store.pass(Duration::from_millis(5)).await;
    }
    let left = kept(&bench, "ann", few).await;
    assert_eq!(left, ["chat:1 b.e:1", "chat:2 b.e:1", "chat:3 b.e:1", "chat:4 b.e:1"], "the oldest goes");
    let short = AckBounds { age: Duration::from_millis(200), ..LONG };
    bench.store.pass(Duration::from_millis(300)).await;
    assert!(kept(&bench, "ann", short).await.is_empty(), "all are too old");
    // What is too old is no hindrance: it is read anew, from the beginning.
    let again = ack("ann", &room("chat:4"), "b.e", 1);
    bench.store.acks().keep(&[again], short).await.remove(0).unwrap();
    assert_eq!(kept(&bench, "ann", short).await, ["chat:4 b.e:1"]);
}

pub async fn rooms_say_where_they_stand<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let rooms: Vec<Room> = (0..60).map(|n| room(&format!("chat:{n}"))).collect();
    let mut ends = Vec::new();
    for (n, room) in rooms.iter().enumerate() {
        for _ in 0..n % 4 {
            bench.publish(room, "t").await;
        }
        ends.push((n % 4) as u64);
    }
    let asked: Vec<_> = rooms.iter().map(|room| (room.clone(), vec![Standing::own(), Epoch::new("another")])).collect();
    let standings = bench.store.acks().standings(&asked).await;
    for ((standing, end), room) in standings.into_iter().zip(ends).zip(&rooms) {
        let standing = standing.unwrap();
        assert_eq!((standing.end.offset, &standing.reaches), (end, &vec![Some(end), None]), "{room}");
        if end > 0 {
            let own = vec![(room.clone(), vec![standing.end.epoch.clone()])];
            let again = bench.store.acks().standings(&own).await.remove(0).unwrap();
            assert_eq!((again.end, again.reaches), (standing.end, vec![Some(end)]), "{room}");
        }
    }
}

pub async fn the_position_before_the_first_event_is_the_logs_own<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let chat = room("chat");
    let before = bench.subscribed(&chat).await;
    let asked = [(chat.clone(), vec![before.epoch.clone(), Standing::own()])];
    let empty = bench.store.acks().standings(&asked).await.remove(0).unwrap();
    assert_eq!((empty.end.offset, empty.reaches), (0, vec![Some(0), Some(0)]));
    // What the question told is as good as what the subscription told.
    let told = bench.since(&chat, &empty.end.epoch, 0).await;
    assert!(told.complete, "{told:?}");
    for _ in 0..2 {
        bench.publish(&chat, "t").await;
    }
    let standing = bench.store.acks().standings(&asked).await.remove(0).unwrap();
    assert_eq!(
        (standing.end.offset, standing.reaches),
        (2, vec![Some(2), Some(2)]),
        "as for a subscription that goes on"
    );
}

pub async fn a_room_that_lost_its_log_knows_nothing_of_its_epoch<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let chat = room("chat");
    let before = bench.publish(&chat, "t").await;
    bench.store.lose(&chat).await;
    let asked = [(chat.clone(), vec![before.epoch.clone()])];
    let gone = bench.store.acks().standings(&asked).await.remove(0).unwrap();
    assert_eq!((gone.end.offset, gone.reaches), (0, vec![None]), "a question begins no life");
    let after = bench.publish(&chat, "t").await;
    let standing = bench.store.acks().standings(&asked).await.remove(0).unwrap();
    assert_eq!((standing.end, standing.reaches), (after, vec![None]));
}

pub async fn a_notice_is_delivered_and_in_no_log<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (own, elsewhere) = (room("user:ann"), room("user:bob"));
    bench.subscribed(&own).await;
    let unread = |room: &Room, offset| Unread {
        room: room.clone(),
        read: Position::new(Epoch::new("b.e"), offset),
        end: offset + 3,
    };
    let notice = Notice::Unread(vec![unread(&room("chat:ü"), 4), unread(&room("b"), 0)]);
    let position = Position::new(Epoch::new("b.e"), 4);
    let receipts = Notice::Receipts(vec![Receipt {
        progress: Progress::Delivered,
        room: room("chat:ü"),
        user: "two\nlines".into(),
        position,
    }]);
    bench.store.broker().notify(&own, notice.clone()).await.unwrap();
    bench.store.broker().notify(&elsewhere, notice.clone()).await.unwrap();
    bench.store.broker().notify(&own, receipts.clone()).await.unwrap();
    let told = |seen: &[Delivery]| {
        let told = seen.iter().filter_map(|delivery| match delivery {
            Delivery::Notice(told) => Some((**told).clone()),
            _ => None,
        });
        Some(told.collect::<Vec<_>>()).filter(|told| told.len() >= 2)
    };
    assert_eq!(bench.seen.wait(&own, told).await, [notice, receipts]);
    a_moment().await;
    assert!(bench.seen.of(&elsewhere).is_empty());
    assert_eq!(bench.publish(&own, "t").await.offset, 1);
}
