//! Records of users.

use std::time::Duration;

use bytes::Bytes;
use roomcast::testing::{
    broker::{StoredUser, UserWrite},
    model::{Policy, Room},
};

use super::harness::{Bench, Store, room};

const KEEP: Duration = Duration::from_secs(3_600);

impl<S: Store> Bench<S> {
    async fn record(&self, room: &Room) -> Option<Bytes> {
        let StoredUser { now, record } = self.store.records().read_user(room, None).await.unwrap();
        assert!(now > 1_600_000_000_000, "the time of the store");
        record
    }

    async fn replace(&self, room: &Room, was: Option<&'static str>, becomes: &str, keep: Duration) -> bool {
        let write = UserWrite {
            user: "ann",
            was: was.map(|was| Bytes::from_static(was.as_bytes())),
            becomes: Bytes::copy_from_slice(becomes.as_bytes()),
            keep,
            looked_after: Some(true),
            released_by: None,
        };
        self.store.records().write_user(room, write).await.unwrap()
    }
}

pub async fn a_record_is_replaced_only_by_one_that_knew_it<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (ann, bob) = (room("presence:ann"), room("presence:bob"));
    assert_eq!(bench.record(&ann).await, None);
    assert!(!bench.replace(&ann, Some("x"), "y", KEEP).await);
    assert!(bench.replace(&ann, None, "a", KEEP).await);
    assert!(!bench.replace(&ann, None, "b", KEEP).await && !bench.replace(&ann, Some("A"), "b", KEEP).await);
    assert_eq!(bench.record(&ann).await.as_deref(), Some(&b"a"[..]));
    assert!(bench.replace(&ann, Some("a"), "b", KEEP).await && bench.replace(&ann, Some("b"), "b", KEEP).await);
    assert_eq!((bench.record(&ann).await.as_deref(), bench.record(&bob).await), (Some(&b"b"[..]), None));
}

pub async fn of_many_that_replace_a_record_at_once_one_succeeds<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let ann = room("presence:ann");
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let attempts = names.iter().map(|name| bench.replace(&ann, None, name, KEEP));
    let done = futures_util::future::join_all(attempts).await;
    let winners: Vec<_> = names.iter().zip(done).filter(|(_, done)| *done).map(|(name, _)| name.as_bytes()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(bench.record(&ann).await.as_deref(), Some(winners[0]));
}

pub async fn a_record_is_there_until_its_time_is_up<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let ann = room("presence:ann");
    assert!(bench.replace(&ann, None, "a", Duration::from_millis(300)).await);
    assert!(bench.record(&ann).await.is_some());
    bench.store.pass(Duration::from_millis(400)).await;
    assert_eq!(bench.record(&ann).await, None);
    assert!(bench.replace(&ann, None, "b", KEEP).await);
}

pub async fn the_record_of_a_user_that_is_here_does_not_end<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (ann, bob) = (room("presence:ann"), room("presence:bob"));
    let short = Duration::from_secs(3);
    assert!(bench.replace(&ann, None, "a", short).await && bench.replace(&bob, None, "b", short).await);
    // One that hides is read, and never written.
    let read = bench.store.records().read_user(&ann, Some(KEEP)).await.unwrap();
    assert_eq!(read.record.as_deref(), Some(&b"a"[..]));
    bench.record(&bob).await;
    bench.store.pass(short + Duration::from_millis(100)).await;
    assert_eq!(bench.record(&ann).await.as_deref(), Some(&b"a"[..]));
    assert_eq!(bench.record(&bob).await, None, "one that is only asked about ends");
}
