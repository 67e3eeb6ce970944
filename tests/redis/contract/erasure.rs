//! What is forgotten, and what begins anew.

use std::time::Duration;

use bytes::Bytes;
use roomcast::testing::{
    broker::{AckBounds, Delivery, UserWrite},
    model::{Ack, Policy, Position, Retain, Telling},
};

use super::harness::{Bench, Store, everything, room};

const BOUNDS: AckBounds = AckBounds { rooms: 10, age: Duration::from_secs(3_600) };

pub async fn a_room_that_is_forgotten_begins_anew<S: Store>() {
    let bench = Bench::<S>::new(Policy { retain: Retain::Topic, ..Policy::default() }).await;
    let (chat, other) = (room("chat:ü"), room("other"));
    assert_eq!(bench.store.erasure().forget_room(&chat).await, Ok(false), "nothing was ever there");
    bench.subscribed(&chat).await;
    bench.publish(&chat, "a").await;
    let last = bench.publish(&chat, "b").await;
    bench.publish(&other, "c").await;
    assert_eq!(bench.store.erasure().forget_room(&chat).await, Ok(true));
    assert_eq!(bench.store.erasure().forget_room(&chat).await, Ok(false), "to repeat it is harmless");
    let history = bench.history(&chat, everything()).await;
    assert_eq!((history.events.len(), history.end), (0, 0));
    assert!(bench.values(&chat).await.is_empty());
    let anew = bench.publish(&chat, "d").await;
    assert_eq!(anew.offset, 1);
    assert_ne!(anew.epoch, last.epoch, "a position of before is none of after");
    assert!(!bench.since(&chat, &last.epoch, last.offset).await.complete);
    assert!(!bench.since(&chat, &last.epoch, 0).await.events.iter().any(|event| *event.topic == *"a"));
    assert_eq!(bench.values(&chat).await, ["d 1"]);
    assert_eq!((bench.history(&other, everything()).await.end, bench.values(&other).await.len()), (1, 1));
}

pub async fn the_members_of_a_room_that_is_forgotten_hear_what_follows<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let chat = room("chat");
    bench.subscribed(&chat).await;
    bench.publish(&chat, "a").await;
    bench.store.erasure().forget_room(&chat).await.unwrap();
    let anew = bench.publish(&chat, "b").await;
    // The event, or that the room stands behind it: then the hub reads it.
    let heard = |seen: &[Delivery]| {
        seen.iter().find_map(|delivery| match delivery {
            Delivery::Event { epoch, event } if *event.topic == *"b" => {
                Some(Position::new(epoch.clone(), event.offset))
            }
            Delivery::Started(position) if position.epoch == anew.epoch && position.offset > 0 => {
                Some(position.clone())
            }
            _ => None,
        })
    };
    assert_eq!(bench.seen.wait(&chat, heard).await, anew);
}

pub async fn a_user_that_is_forgotten_has_read_nothing<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (chat, presence) = (room("chat"), room("presence:ann"));
    let position = bench.publish(&chat, "a").await;
    for user in ["ann", "anna"] {
        let ack = Ack { user: user.into(), room: chat.clone(), position: position.clone(), telling: Telling::Nothing };
        bench.store.acks().keep(&[ack], BOUNDS).await.remove(0).unwrap();
    }
    let becomes = Bytes::from_static(b"{}");
    let write = UserWrite { user: "ann", was: None, becomes, keep: BOUNDS.age, looked_after: None, released_by: None };
    assert!(bench.store.records().write_user(&presence, write).await.unwrap());
    for _ in 0..2 {
        bench.store.erasure().forget_user("ann", std::slice::from_ref(&presence)).await.unwrap();
        assert!(bench.store.acks().kept("ann", BOUNDS).await.unwrap().is_empty());
        assert_eq!(bench.store.records().read_user(&presence, None).await.unwrap().record, None);
    }
    bench.store.erasure().forget_user("ann", &[]).await.unwrap();
    assert_eq!(bench.store.acks().kept("anna", BOUNDS).await.unwrap().len(), 1, "another user's is left");
}

pub async fn a_record_that_says_nothing_is_not_kept<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let ann = room("presence:ann");
    let replace = async |was: Option<&'static str>, becomes: &'static str| {
        let (was, becomes) =
            (was.map(|was| Bytes::from_static(was.as_bytes())), Bytes::from_static(becomes.as_bytes()));
        let write =
            UserWrite { user: "ann", was, becomes, keep: BOUNDS.age, looked_after: Some(false), released_by: None };
        bench.store.records().write_user(&ann, write).await.unwrap()
    };
    assert!(replace(None, "").await);
    assert!(replace(None, "a").await);
    assert!(!replace(Some("b"), "").await);
    assert!(replace(Some("a"), "").await);
    assert_eq!(bench.store.records().read_user(&ann, None).await.unwrap().record, None);
}
