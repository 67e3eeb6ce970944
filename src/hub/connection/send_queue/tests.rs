//! The two accounts, whatever happens in whatever order.

use proptest::prelude::*;

use super::*;
use crate::model::Epoch;

const ROOMS: u64 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// The next event of a room, to all connections.
    Broadcast {
        room: u64,
        len: usize,
    },
    Reply {
        who: usize,
        len: usize,
    },
    Urgent {
        who: usize,
    },
    Take {
        who: usize,
    },
    DropOldest {
        who: usize,
        limit: usize,
    },
    DropRoom {
        who: usize,
        room: u64,
    },
    Clear {
        who: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    prop_oneof![
        4 => (0..ROOMS, 1..500_usize).prop_map(|(room, len)| Step::Broadcast { room, len }),
        1 => (who.clone(), 1..100_usize).prop_map(|(who, len)| Step::Reply { who, len }),
        1 => who.clone().prop_map(|who| Step::Urgent { who }),
        3 => who.clone().prop_map(|who| Step::Take { who }),
        1 => (who.clone(), 0..1_000_usize).prop_map(|(who, limit)| Step::DropOldest { who, limit }),
        1 => (who.clone(), 0..ROOMS).prop_map(|(who, room)| Step::DropRoom { who, room }),
        1 => who.prop_map(|who| Step::Clear { who }),
    ]
}

fn name(room: u64) -> Room {
    Room::parse(&format!("room:{room}")).expect("a name")
}

/// What a connection sees of a room: positions must follow one another, gaps included.
#[derive(Default, Clone, Copy)]
struct Seen {
    position: u64,
    /// Dropped without a gap, by `drop_room` or `clear`: the caller's business.
    forgotten: bool,
}

fn see(seen: &mut [Seen], range: &Range) -> Result<(), TestCaseError> {
    let room: usize = range.room.as_str().trim_start_matches("room:").parse().expect("a number");
    let seen = &mut seen[room];
    if seen.forgotten {
        prop_assert!(range.after >= seen.position);
    } else {
        prop_assert_eq!(range.after, seen.position, "a hole or a repetition in {}", range.room);
    }
    *seen = Seen { position: range.offset, forgotten: false };
    Ok(())
}

/// Takes what leaves next, as a connection's drain does.
fn take(send_queue: &mut SendQueue, seen: &mut [Seen]) -> Result<bool, TestCaseError> {
    if send_queue.take_sealed().is_some() || send_queue.take_urgent().is_some() {
        return Ok(true);
    }
    if let Some(range) = send_queue.take_gap() {
        see(seen, &range.1)?;
        return Ok(true);
    }
    match send_queue.take() {
        Some(Waiting::Shared(frame)) => see(seen, frame.range().expect("a range"))?,
        Some(Waiting::Private(_)) => {}
        None => return Ok(false),
    }
    Ok(true)
}

proptest! {
    #[test]
    fn accounts_are_true_and_gaps_cover_what_was_dropped(steps in prop::collection::vec(step(), 1..120)) {
        let budget = Arc::new(Budget::new(usize::MAX));
        let mut outboxes: Vec<SendQueue> = (0..3).map(|_| SendQueue::new(Arc::clone(&budget))).collect();
        let mut seen = vec![[Seen::default(); ROOMS as usize]; 3];
        let mut offsets = [0_u64; ROOMS as usize];
        for step in steps {
            match step {
                Step::Broadcast { room, len } => {
                    let after = offsets[room as usize];
                    offsets[room as usize] += 1;
                    let range = Range { room: name(room), epoch: Epoch::new("e"), after, offset: after + 1 };
                    let frame = Frame::of(len, Some(range), &budget);
                    for send_queue in &mut outboxes {
                        send_queue.push(Waiting::Shared(frame.clone()));
                    }
                }
                Step::Reply { who, len } => outboxes[who].push(Waiting::Private(vec![0; len].into())),
                Step::Urgent { who } => outboxes[who].push_urgent(b"ping"),
                Step::Take { who } => { take(&mut outboxes[who], &mut seen[who])?; }
                Step::DropOldest { who, limit } => {
                    outboxes[who].drop_oldest(limit);
                    let shared = outboxes[who].waiting.iter().any(|w| matches!(w, Waiting::Shared(_)));
                    prop_assert!(outboxes[who].queued_bytes() <= limit || !shared, "only replies may be left above the limit");
                }
                Step::DropRoom { who, room } => {
                    if let Some(first) = outboxes[who].drop_room(&name(room)) {
                        prop_assert!(first.after >= seen[who][room as usize].position);
                    }
                    seen[who][room as usize].forgotten = true;
                }
                Step::Clear { who } => {
                    outboxes[who].clear();
                    for seen in &mut seen[who] { seen.forgotten = true; }
                }
            }
            // Owed: every frame in full. Held: each shared frame once, private bytes and nodes besides.
            let mut frames: Vec<*const u8> = Vec::new();
            let mut held = 0;
            for send_queue in &outboxes {
                let urgent: usize = send_queue.urgent.iter().map(|bytes| bytes.len()).sum();
                let waiting: usize = send_queue.waiting.iter().map(Waiting::queued_bytes).sum();
                prop_assert_eq!(send_queue.queued_bytes(), urgent + waiting + send_queue.sealed.len());
                held += urgent + send_queue.sealed.len();
                for item in &send_queue.waiting {
                    held += item.private();
                    if let Waiting::Shared(frame) = item && !frames.contains(&frame.bytes().as_ptr()) {
                        frames.push(frame.bytes().as_ptr());
                        held += frame.bytes().len();
                    }
                }
            }
            prop_assert_eq!(budget.held(), held);
        }
        for (send_queue, seen) in outboxes.iter_mut().zip(&mut seen) {
            while take(send_queue, seen)? {}
            prop_assert!(send_queue.is_empty());
        }
        drop(outboxes);
        prop_assert_eq!(budget.held(), 0);
    }
}

#[test]
fn a_gap_does_not_overtake_the_reply_that_it_follows() {
    let budget = Arc::new(Budget::new(usize::MAX));
    let mut send_queue = SendQueue::new(Arc::clone(&budget));
    let frame = |after| {
        Frame::of(100, Some(Range { room: name(0), epoch: Epoch::new("e"), after, offset: after + 1 }), &budget)
    };
    send_queue.push(Waiting::Private(b"subscribed at 4".to_vec().into()));
    send_queue.push(Waiting::Shared(frame(4)));
    send_queue.push(Waiting::Private(b"published".to_vec().into()));
    send_queue.push(Waiting::Shared(frame(5)));
    send_queue.push(Waiting::Shared(frame(6)));
    assert_eq!(send_queue.drop_oldest(130), 2);
    for _ in 0..2 {
        assert!(send_queue.take_gap().is_none(), "a reply stands before it");
        assert!(matches!(send_queue.take(), Some(Waiting::Private(_))));
    }
    let gap = send_queue.take_gap().expect("what was dropped is told");
    assert_eq!((gap.1.after, gap.1.offset), (4, 6));
    assert!(matches!(send_queue.take(), Some(Waiting::Shared(_))) && send_queue.is_empty());
}
