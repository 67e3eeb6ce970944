//! Who is in a room, and who is told.

use std::sync::Arc;

use roomcast::testing::{
    broker::Delivery,
    model::{Member, Policy, PresenceList, PresenceMode, Room},
};

use super::harness::{Bench, Store, a_moment, eventually, member, room};

async fn tracking<S: Store>(presence: PresenceMode) -> Arc<Bench<S>> {
    Bench::new(Policy { presence, ..Policy::default() }).await
}

impl<S: Store> Bench<S> {
    async fn list(&self, room: &Room, limit: usize) -> PresenceList {
        self.store.presence().list(room, limit).await.unwrap()
    }

    /// Waits until so many are in the room.
    async fn members(&self, room: &Room, total: usize) -> PresenceList {
        let mut list = eventually(|| async {
            let list = self.list(room, 1_000).await;
            (list.total == total).then_some(list)
        })
        .await;
        list.members.sort_by(|a, b| a.connection.cmp(&b.connection));
        list
    }
}

pub async fn a_repeated_join_is_one_member<S: Store>() {
    let bench = tracking::<S>(PresenceMode::List).await;
    let room = room("a");
    assert_eq!(bench.list(&room, 10).await, PresenceList::default());
    let (ann, bob) = (member("c1", Some("ann")), member("c2", None));
    for _ in 0..3 {
        bench.store.presence().join(&room, &ann);
    }
    bench.store.presence().join(&room, &bob);
    assert_eq!(bench.members(&room, 2).await, PresenceList { members: vec![ann, bob], total: 2 });
    a_moment().await;
    assert_eq!(bench.list(&room, 10).await.total, 2);
    assert_eq!(bench.list(&super::harness::room("b"), 10).await.total, 0);
}

pub async fn who_leaves_is_gone_once<S: Store>() {
    let bench = tracking::<S>(PresenceMode::List).await;
    let room = room("a");
    let [a, b] = ["c1", "c2"].map(|connection| member(connection, None));
    bench.store.presence().join(&room, &a);
    bench.store.presence().join(&room, &b);
    bench.members(&room, 2).await;
    for _ in 0..2 {
        bench.store.presence().leave(&room, &a);
    }
    assert_eq!(bench.members(&room, 1).await.members, std::slice::from_ref(&b));
    bench.store.presence().leave(&room, &member("unheard", None));
    bench.store.presence().leave(&super::harness::room("unheard"), &b);
    a_moment().await;
    assert_eq!(bench.list(&room, 10).await.total, 1);
    bench.store.presence().leave(&room, &b);
    bench.members(&room, 0).await;
    bench.store.presence().join(&room, &a);
    bench.members(&room, 1).await;
}

pub async fn a_list_is_cut_and_says_the_total<S: Store>() {
    let bench = tracking::<S>(PresenceMode::List).await;
    let room = room("a");
    for n in 0..250 {
        bench.store.presence().join(&room, &member(&format!("c{n}"), Some("ann")));
    }
    bench.members(&room, 250).await;
    for (limit, expected) in [(0, 0), (100, 100), (1_000, 250)] {
        let list = bench.list(&room, limit).await;
        assert_eq!((list.members.len(), list.total), (expected, 250));
    }
}

/// What was told of comings and goings.
fn told(seen: &[Delivery]) -> Vec<(bool, Member)> {
    seen.iter()
        .filter_map(|delivery| match delivery {
            Delivery::Joined(member) => Some((true, member.clone())),
            Delivery::Left(member) => Some((false, member.clone())),
            _ => None,
        })
        .collect()
}

pub async fn joins_and_leaves_are_told_where_the_policy_says_so<S: Store>() {
    let bench = tracking::<S>(PresenceMode::Events).await;
    let (heard, unheard) = (room("heard"), room("unheard"));
    bench.subscribed(&heard).await;
    let (ann, bob) = (member("c1", Some("ann")), member("c2", None));
    for room in [&heard, &unheard] {
        bench.store.presence().join(room, &ann);
        bench.store.presence().join(room, &ann);
        bench.store.presence().join(room, &bob);
        bench.store.presence().leave(room, &ann);
        bench.store.presence().leave(room, &ann);
    }
    let expected = [(true, ann.clone()), (true, bob.clone()), (false, ann.clone())];
    bench.seen.wait(&heard, |seen| (told(seen).len() >= expected.len()).then_some(())).await;
    bench.members(&unheard, 1).await;
    a_moment().await;
    assert_eq!(told(&bench.seen.of(&heard)), expected);
    assert!(bench.seen.of(&unheard).is_empty(), "delivered to a room that is not subscribed");
    bench.store.broker().unsubscribe(&heard);
    bench.store.presence().leave(&heard, &bob);
    bench.members(&heard, 0).await;
    assert_eq!(told(&bench.seen.of(&heard)).len(), expected.len());
}

pub async fn nobody_is_told_where_the_policy_does_not<S: Store>() {
    let bench = tracking::<S>(PresenceMode::List).await;
    let room = room("a");
    bench.subscribed(&room).await;
    bench.store.presence().join(&room, &member("c1", None));
    bench.members(&room, 1).await;
    bench.store.presence().leave(&room, &member("c1", None));
    bench.members(&room, 0).await;
    a_moment().await;
    assert_eq!(told(&bench.seen.of(&room)), []);
}

pub async fn nobody_is_listed_where_presence_is_off<S: Store>() {
    let bench = tracking::<S>(PresenceMode::Off).await;
    let room = room("a");
    bench.subscribed(&room).await;
    bench.store.presence().join(&room, &member("c1", None));
    a_moment().await;
    assert_eq!(bench.list(&room, 10).await.total, 0);
    assert_eq!(told(&bench.seen.of(&room)), []);
}
