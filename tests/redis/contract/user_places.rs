//! Which connections hold places of their users.

use std::collections::HashMap;

use roomcast::testing::{
    broker::PlaceClaim,
    model::{PlaceLimit, Policy, WhenFull},
};

use super::harness::{Bench, Store};

fn limit(connections: usize, when_full: WhenFull) -> PlaceLimit {
    PlaceLimit { connections, when_full }
}

fn claim(user: &str, connection: u64) -> PlaceClaim {
    PlaceClaim { user: user.into(), connection }
}

/// Whether a connection has a place then, and which have lost theirs to it.
async fn take<S: Store>(bench: &Bench<S>, user: &str, connection: u64, limit: PlaceLimit) -> (bool, Vec<u64>) {
    let verdict = bench.store.places().take_places(&[claim(user, connection)], limit).await.remove(0);
    assert!(!verdict.alone && verdict.displaced.iter().all(|it| it.here), "{verdict:?}");
    (verdict.taken, verdict.displaced.iter().map(|it| it.connection).collect())
}

async fn give_back<S: Store>(bench: &Bench<S>, user: &str, connection: u64) {
    bench.store.places().give_back(&[claim(user, connection)]).await;
}

pub async fn the_newest_is_refused_where_a_user_is_full<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let two = limit(2, WhenFull::RefuseNewest);
    for user in ["ann", "an n{x}", "ü/ü", &"u".repeat(255)] {
        assert_eq!(take(&bench, user, 0xffff_ffff_ffff_ffff, two).await, (true, vec![]));
        assert_eq!(take(&bench, user, 2, two).await, (true, vec![]));
        assert_eq!(take(&bench, user, 3, two).await, (false, vec![]), "{user}");
        assert_eq!(take(&bench, user, 4, two).await, (false, vec![]), "one that was refused holds nothing");
        give_back(&bench, user, 3).await;
        give_back(&bench, user, 2).await;
        give_back(&bench, user, 2).await;
        assert_eq!(take(&bench, user, 5, two).await, (true, vec![]));
        assert_eq!(take(&bench, user, 6, two).await, (false, vec![]));
    }
}

pub async fn the_oldest_gives_way_where_the_operator_says_so<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let two = limit(2, WhenFull::CloseOldest);
    // By age, not by name.
    for (connection, displaced) in [(9, vec![]), (4, vec![]), (7, vec![9]), (1, vec![4])] {
        assert_eq!(take(&bench, "ann", connection, two).await, (true, displaced));
    }
    give_back(&bench, "ann", 9).await;
    assert_eq!(take(&bench, "ann", 2, two).await, (true, vec![7]), "what has lost its place gives nothing back");
    let claims: Vec<_> = [5, 3, 8].into_iter().map(|connection| claim("bob", connection)).collect();
    let said = bench.store.places().take_places(&claims, two).await;
    let displaced: Vec<u64> = said.iter().flat_map(|said| &said.displaced).map(|it| it.connection).collect();
    assert!(said.iter().all(|said| said.taken));
    assert_eq!(displaced, [5], "those that come together came in an order");
}

pub async fn a_lowered_limit_holds_from_the_next_claim<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    for connection in 1..=4 {
        assert!(take(&bench, "ann", connection, limit(4, WhenFull::RefuseNewest)).await.0);
    }
    assert_eq!(take(&bench, "ann", 5, limit(2, WhenFull::RefuseNewest)).await, (false, vec![]));
    assert_eq!(take(&bench, "ann", 6, limit(2, WhenFull::CloseOldest)).await, (true, vec![1, 2, 3]));
    assert_eq!(take(&bench, "ann", 7, limit(3, WhenFull::CloseOldest)).await, (true, vec![]));
}

pub async fn of_many_at_once_each_user_has_its_places<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let user = |connection: u64| format!("user{}", connection % 60);
    let claims: Vec<_> = (0..900).map(|connection| claim(&user(connection), connection)).collect();
    let said = bench.store.places().take_places(&claims, limit(3, WhenFull::RefuseNewest)).await;
    let mut held = HashMap::<String, Vec<u64>>::new();
    for (claim, said) in claims.iter().zip(said) {
        if said.taken {
            held.entry(claim.user.to_string()).or_default().push(claim.connection);
        }
    }
    assert_eq!(held.len(), 60);
    assert!(held.values().all(|held| held.len() == 3), "{held:?}");
    bench.store.places().give_back(&claims).await;
    let said = bench.store.places().take_places(&claims[..180], limit(3, WhenFull::RefuseNewest)).await;
    assert!(said.iter().all(|said| said.taken), "all places were free again");
    assert!(bench.store.places().take_places(&[], limit(3, WhenFull::RefuseNewest)).await.is_empty());
}

pub async fn a_repeated_claim_changes_nothing<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    for when_full in [WhenFull::RefuseNewest, WhenFull::CloseOldest] {
        let one = limit(1, when_full);
        assert_eq!(take(&bench, "ann", 1, one).await, (true, vec![]));
        assert_eq!(take(&bench, "ann", 1, one).await, (true, vec![]));
        give_back(&bench, "ann", 1).await;
    }
    assert_eq!(take(&bench, "ann", 2, limit(1, WhenFull::RefuseNewest)).await, (true, vec![]));
}
