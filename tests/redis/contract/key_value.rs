//! Values with an expiry.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use roomcast::testing::model::Policy;

use super::harness::{Bench, Store};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub async fn a_value_is_there_until_its_time_is_up<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let values = bench.store.values();
    assert_eq!(values.get("a").await, Ok(None));
    values.set("a", bytes("1"), LONG).await.unwrap();
    values.set("b", bytes("2"), SHORT).await.unwrap();
    assert_eq!((values.get("a").await, values.get("b").await), (Ok(Some(bytes("1"))), Ok(Some(bytes("2")))));
    values.set("a", bytes("3"), SHORT).await.unwrap();
    bench.store.pass(SHORT + SHORT / 2).await;
    assert_eq!((values.get("a").await, values.get("b").await), (Ok(None), Ok(None)));
    assert_eq!((values.take("a").await, values.claim("b", bytes("4"), LONG).await), (Ok(None), Ok(None)));
    assert_eq!(values.get("b").await, Ok(Some(bytes("4"))));
}

pub async fn a_value_is_taken_once<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let values = bench.store.values();
    values.set("a", bytes("1"), LONG).await.unwrap();
    assert_eq!(values.take("a").await, Ok(Some(bytes("1"))));
    assert_eq!((values.take("a").await, values.get("a").await), (Ok(None), Ok(None)));
    values.set("a", bytes("2"), LONG).await.unwrap();
    assert_eq!(values.get("a").await, Ok(Some(bytes("2"))));
}

pub async fn a_name_is_claimed_by_one_who_may_renew_it<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let values = bench.store.values();
    assert_eq!(values.claim("lease", bytes("ann"), SHORT).await, Ok(None));
    assert_eq!(values.claim("lease", bytes("bob"), LONG).await, Ok(Some(bytes("ann"))), "it is ann's");
    for _ in 0..3 {
        bench.store.pass(SHORT / 2).await;
        assert_eq!(values.claim("lease", bytes("ann"), SHORT).await, Ok(None), "who holds it renews it");
    }
    bench.store.pass(SHORT + SHORT / 2).await;
    assert_eq!(values.claim("lease", bytes("bob"), LONG).await, Ok(None), "it ran out");
    assert_eq!(values.take("lease").await, Ok(Some(bytes("bob"))));
    assert_eq!(values.claim("lease", bytes("ann"), LONG).await, Ok(None), "it was given up");
}

pub async fn of_many_who_claim_or_take_at_once_one_succeeds<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let bench = Arc::clone(&bench);
        tasks.spawn(async move { bench.store.values().claim("a", bytes(&n.to_string()), LONG).await.unwrap() });
    }
    let holders = tasks.join_all().await;
    assert_eq!(holders.iter().filter(|holder| holder.is_none()).count(), 1);
    let held = bench.store.values().get("a").await.unwrap();
    assert!(held.is_some() && holders.iter().flatten().all(|holder| Some(holder) == held.as_ref()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let bench = Arc::clone(&bench);
        tasks.spawn(async move { bench.store.values().take("a").await.unwrap() });
    }
    let taken: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken, [held.unwrap()]);
}

pub async fn a_value_is_any_bytes<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let values = bench.store.values();
    let large: Bytes = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for (name, value) in [("empty", Bytes::new()), ("binary", Bytes::from_static(b"\0\r\n\xff{")), ("large", large)] {
        values.set(name, value.clone(), LONG).await.unwrap();
        assert_eq!(values.get(name).await, Ok(Some(value.clone())), "{name}");
        assert_eq!(values.take(name).await, Ok(Some(value)), "{name}");
    }
}
