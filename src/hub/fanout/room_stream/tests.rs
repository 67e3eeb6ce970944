#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::{Batch, Epoch};

fn at(offset: u64) -> Position {
    Position::new(Epoch::new("e"), offset)
}

fn batch(after: u64, offset: u64) -> StreamUpdate {
    let room = Room::parse("r").unwrap();
    let batch = Batch { room, epoch: Epoch::new("e"), after, offset, events: Vec::new() };
    StreamUpdate::Broadcast(Arc::new(Broadcast::new(Content::Events(batch), Arc::default(), Instant::now())))
}

/// What a stream that stands at 12 does with an update.
fn effects_at_12(update: StreamUpdate) -> (RoomStream, Vec<StreamEffect>) {
    let (mut stream, now, policy) = (RoomStream::new(Room::parse("r").unwrap()), Instant::now(), Arc::default());
    let mut effects = Vec::new();
    stream.update(StreamUpdate::Placed(at(12)), now, &policy, &mut effects);
    effects.clear();
    stream.update(update, now, &policy, &mut effects);
    (stream, effects)
}

#[track_caller]
fn assert_reads(effects: &[StreamEffect], from: u64, to: u64) {
    match effects {
        [StreamEffect::ReadHole { since, until }] => assert_eq!((since.offset, until), (from, &at(to))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_behind_a_hole_waits_for_the_log() {
    let (mut stream, effects) = effects_at_12(batch(14, 16));
    assert_reads(&effects, 12, 14);
    let mut effects = Vec::new();
    let read = (Since { epoch: Epoch::new("e"), offset: 12 }, at(14));
    stream.hole_read(read, Ok(Missed::Gone), Instant::now(), &Arc::default(), &mut effects);
    assert!(matches!(&effects[..], [StreamEffect::StartFanOut(gap, _)] if matches!(gap.content, Content::Gap(_))));
    assert_eq!(stream.position(), Some(&at(14)));
}

#[test]
fn what_the_stream_has_is_not_sent_again() {
    let (stream, effects) = effects_at_12(batch(10, 12));
    assert!(effects.is_empty() && stream.is_idle(), "{effects:?}");
}

#[test]
fn of_a_batch_that_it_stands_within_the_rest_is_read() {
    let (mut stream, effects) = effects_at_12(batch(10, 16));
    assert_reads(&effects, 12, 16);
    let mut effects = Vec::new();
    let read = (Since { epoch: Epoch::new("e"), offset: 12 }, at(16));
    stream.hole_read(read, Ok(Missed::Gone), Instant::now(), &Arc::default(), &mut effects);
    assert!(matches!(&effects[..], [StreamEffect::StartFanOut(gap, _)] if matches!(gap.content, Content::Gap(_))));
    assert_eq!(stream.position(), Some(&at(16)));
}
