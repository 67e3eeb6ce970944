use proptest::prelude::*;

use super::*;
use crate::model::Epoch;

fn ack(user: &str, room: &str, epoch: &str, offset: u64) -> WaitingAck {
    let position = Position::new(Epoch::new(epoch), offset);
    WaitingAck {
        user: user.into(),
        room: Room::parse(room).unwrap(),
        positions: vec![position],
        personal: None,
        receipts: true,
    }
}

fn offsets(acks: &[WaitingAck]) -> Vec<String> {
    let one = |ack: &WaitingAck| {
        let of = |position: &Position| format!("{}{}", position.epoch, position.offset);
        format!("{} {} {}", ack.user, ack.room, ack.positions.iter().map(of).collect::<Vec<_>>().join(","))
    };
    let mut all: Vec<_> = acks.iter().map(one).collect();
    all.sort();
    all
}

#[test]
fn a_thousand_acks_are_one_write_a_second() {
    let mut book = AckBook::<()>::default();
    assert_eq!(book.due_ms(1_000), None);
    let mut written = Vec::new();
    for n in 1..=5_000_u64 {
        assert!(book.put(ack("ann", "chat:1", "e", n)));
        if book.due_ms(1_000).unwrap() <= n {
            written.extend(offsets(&book.begin(1_000, n).acks()));
            assert_eq!(book.end(vec![]), 0);
        }
    }
    assert_eq!(
        written,
        ["ann chat:1 e1", "ann chat:1 e1001", "ann chat:1 e2001", "ann chat:1 e3001", "ann chat:1 e4001"]
    );
    assert_eq!(book.due_ms(1_000), Some(5_001));
    assert_eq!(offsets(&book.begin(1_000, 5_001).acks()), ["ann chat:1 e5000"]);
}

#[test]
fn the_highest_waits_and_epochs_stand_side_by_side() {
    let mut book = AckBook::<()>::default();
    for (epoch, offset) in [("d", 9), ("d", 7), ("e", 3), ("e", 5), ("e", 4)] {
        assert!(book.put(ack("ann", "chat:1", epoch, offset)));
    }
    assert!(book.put(ack("bob", "chat:1", "e", 1)));
    let round = book.begin(1_000, 0);
    assert_eq!(offsets(&round.acks()), ["ann chat:1 d9,e5", "bob chat:1 e1"]);
    assert_eq!(book.of("ann").len(), 1, "what is under way is seen as well");
    assert!(book.put(ack("ann", "chat:1", "e", 6)));
    assert_eq!(book.of("ann").len(), 2);
    // Both failed, and wait again beside what came meanwhile.
    assert_eq!(book.end(round.acks()), 0);
    assert!(book.begin(1_000, 999).acks().is_empty(), "not before its time");
    assert_eq!(offsets(&book.begin(1_000, 1_000).acks()), ["ann chat:1 e6,d9", "bob chat:1 e1"]);
    assert_eq!(book.end(vec![]), 0);
    assert!(book.of("ann").is_empty() && book.due_ms(1_000).is_none());
}

#[test]
fn a_round_that_was_given_up_is_done_again() {
    let mut book = AckBook::<()>::default();
    assert!(book.put(ack("ann", "chat:1", "e", 3)));
    assert_eq!(book.begin(1_000, 0).acks().len(), 1);
    assert!(book.put(ack("ann", "chat:1", "e", 4)) && book.put(ack("bob", "chat:1", "e", 1)));
    assert_eq!(offsets(&book.begin(0, 5).acks()), ["ann chat:1 e4", "bob chat:1 e1"]);
}

#[test]
fn what_must_be_judged_waits_for_no_round() {
    let mut book = AckBook::default();
    assert!(book.put(ack("ann", "chat:1", "e", 1)));
    let round = book.begin(1_000, 0);
    book.ask(ack("ann", "chat:2", "e", 7), "first").unwrap();
    assert_eq!(book.take_asked().len(), 1, "while a round is under way");
    assert_eq!((book.take_asked().len(), round.acks().len(), book.due_ms(1_000)), (0, 1, None));
}

#[test]
fn what_waits_is_bounded_and_no_user_takes_all() {
    type Book = AckBook<()>;
    let mut book = Book::default();
    let put = |book: &mut Book, user: &str| {
        (0..2_000).take_while(|n| book.put(ack(user, &format!("chat:{n}"), "e", 1))).count()
    };
    assert_eq!(put(&mut book, "ann"), Book::MAX_OF_USER);
    assert!(book.put(ack("ann", "chat:1", "e", 2)), "what waits has its place");
    let others: usize = (0..2_000).map(|n| put(&mut book, &n.to_string())).sum();
    assert_eq!(others, Book::MAX - Book::MAX_OF_USER);
    let ask = |book: &mut Book, user: &str| {
        (0..2_000).take_while(|n| book.ask(ack(user, &format!("chat:{n}"), "e", 3), ()).is_ok()).count()
    };
    // One that comes back to all of its rooms has place for them, and those that come later for as many as they need.
    let asked = ["ann", "bob", "cem"].map(|user| ask(&mut book, user));
    assert!(asked[0] > 500 && asked[1] > 500 && asked[2] > 300, "{asked:?}");
    let least = (0..8).map(|n| ask(&mut book, &n.to_string())).min();
    assert!(least >= Some(Book::LEAST_OF_USER), "{least:?}");
    let last: usize = (0..200).map(|n| ask(&mut book, &format!("more{n}"))).sum();
    assert!(last > 0 && book.take_asked().len() == Book::MAX_ASKED);
    assert!(ask(&mut book, "ann") > 500, "what was taken has left its place");
    let round = book.begin(1_000, 0).acks();
    assert_eq!(round.len(), Book::MAX);
    assert!(book.put(ack("bob", "chat:1", "e", 1)));
    assert_eq!(book.end(round), 1, "one more than fits waits again");
}

proptest! {
    /// Whatever fails and whenever rounds begin: in the end the broker has the highest of each, written at most once in its time.
    #[test]
    fn nothing_is_lost(steps in prop::collection::vec((0u64..400, 0usize..3, 1u64..50, any::<bool>()), 1..120)) {
        let (mut book, mut now, mut last) = (AckBook::<()>::default(), 0, None::<u64>);
        let users = ["ann", "bob", "cem"];
        let mut highest = HashMap::new();
        let mut kept: HashMap<Arc<str>, u64> = HashMap::new();
        let mut write = |book: &mut AckBook<()>, now: u64, fails: bool, last: &mut Option<u64>| {
            let acks = book.begin(1_000, now).acks();
            if !acks.is_empty() {
                assert!(last.is_none_or(|last| now - last >= 1_000));
                *last = Some(now);
            }
            if fails {
                assert_eq!(book.end(acks), 0);
            } else {
                for ack in &acks {
                    let offset = kept.entry(Arc::clone(&ack.user)).or_default();
                    *offset = (*offset).max(ack.positions[0].offset);
                }
                assert_eq!(book.end(vec![]), 0);
            }
        };
        for (pause, user, offset, fails) in steps {
            now += pause;
            prop_assert!(book.put(ack(users[user], "r", "e", offset)));
            let known: &mut u64 = highest.entry(Arc::<str>::from(users[user])).or_default();
            *known = offset.max(*known);
            if book.due_ms(1_000).is_some_and(|due| due <= now) {
                write(&mut book, now, fails, &mut last);
            }
        }
        write(&mut book, now + 1_000, false, &mut last);
        prop_assert_eq!(kept, highest);
    }
}

#[test]
fn what_is_being_judged_of_a_user_that_is_forgotten_is_not_kept() {
    let mut book = AckBook::default();
    for user in ["ann", "bob"] {
        book.ask(ack(user, "chat:1", "e", 1), ()).unwrap();
    }
    let asked = book.take_asked();
    book.forget("ann");
    for (ack, ()) in asked {
        assert!(book.put_judged(ack));
    }
    assert_eq!((book.of("ann").len(), book.of("bob").len()), (0, 1));
    book.end_judging();
    assert!(book.put_judged(ack("ann", "chat:1", "e", 2)));
    assert_eq!(book.of("ann").len(), 1, "one that comes back begins anew");
}
