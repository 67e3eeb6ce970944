//! The presence of users over several pods.

use testkit::redis::Standalone;
use tokio::task::block_in_place;

use super::*;
use crate::users::ready;
use roomcast::testing::config::RedisUrl;

/// A pod of a fleet.
fn member(server: &testkit::redis::Node, offline_after: Duration) -> Pod {
    start(offline_after, |settings| {
        let (host, port) = server.address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.lease = Duration::from_secs(1);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_has_one_user_and_the_users_of_a_pod_that_ends_are_looked_after() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(&server, Duration::from_millis(300)), member(&server, Duration::from_millis(300)));
    ready(&a).await;
    ready(&b).await;
    let mut follower = Follower::of(&b, &["ann", "bob", "mark"]).await;
    let (mut ann, _bob) = (connect(&a, "ann").await, connect(&a, "bob").await);
    let mut first = [follower.told().await, follower.told().await];
    first.sort();
    assert_eq!(first, [said("ann", "online", false), said("bob", "online", false)]);
    status(&mut ann, json!({"status": "busy"})).await;
    assert_eq!(follower.told().await, said("ann", "busy", false), "from another pod");
    // It is on the other pod before this one ends: nothing is told of it.
    let mut ann = connect(&b, "ann").await;
    let began = Instant::now();
    let (tag, name) = (record_key(&server, "ann").await, b.services().control.pod().to_owned());
    while !block_in_place(|| server.call(&["GET", &tag]).text().to_owned()).contains(&name) {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    block_in_place(|| a.stop());
    assert_eq!(follower.told().await, said("bob", "offline", true), "nobody listed it");
    // What hides on one pod hides on all.
    let _mark = follower.hears_nothing_before(&b, "mark").await;
    status(&mut ann, json!({"hidden": true})).await;
    assert_eq!(follower.told().await, said("ann", "offline", false));
    let record = block_in_place(|| server.call(&["GET", &tag]).text().to_owned());
    assert!(!record.contains("pods") && !record.contains("last_seen"), "{record}");
    block_in_place(|| b.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hides_on_one_pod_hides_and_shows_on_all() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(&server, LONG), member(&server, LONG));
    ready(&a).await;
    ready(&b).await;
    let mut follower = Follower::of(&b, &["ann"]).await;
    let (mut phone, mut laptop) = (connect(&a, "ann").await, connect(&b, "ann").await);
    assert_eq!(follower.told().await, said("ann", "online", false));
    let key = record_key(&server, "ann").await;
    let is_on = async |pods: &[&Pod]| {
        let began = Instant::now();
        let names: Vec<_> = pods.iter().map(|pod| pod.services().control.pod().to_owned()).collect();
        loop {
            let record = block_in_place(|| server.call(&["GET", &key]).text().to_owned());
            let lists = block_in_place(|| server.call(&["KEYS", "*:users:*"]));
            let lists = lists.list().iter().map(|list| list.text().to_owned()).collect::<Vec<_>>();
            let listed = lists.len() == names.len() && names.iter().all(|name| lists.iter().any(|l| l.ends_with(name)));
            if listed && names.iter().all(|name| record.contains(name)) && record.contains("pods") != names.is_empty() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{record} {lists:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    is_on(&[&a, &b]).await;
    assert_eq!(status(&mut phone, json!({"hidden": true})).await["type"], "done");
    assert_eq!(follower.told().await, said("ann", "offline", false));
    is_on(&[]).await;
    // Each of the two pods says again that it is there: the one that was asked, and the one that was told.
    assert_eq!(status(&mut laptop, json!({"hidden": false})).await["type"], "done");
    assert_eq!(follower.told().await, said("ann", "online", false));
    is_on(&[&a, &b]).await;
    for pod in [a, b] {
        block_in_place(|| pod.stop());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_move_to_another_pod_are_not_announced() {
    const USERS: u64 = 60;
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(&server, LONG), member(&server, LONG));
    ready(&a).await;
    ready(&b).await;
    let all_on = async |pod: &Pod, clients: &mut Vec<Client>| {
        for n in 0..USERS {
            clients.push(connect(pod, &format!("u{n}")).await);
        }
        let began = Instant::now();
        loop {
            let users = counted(pod, "roomcast_user_presence_users").await;
            if users == USERS && counted(pod, "roomcast_user_presence_waiting").await == 0 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{users} users");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut clients = Vec::new();
    all_on(&a, &mut clients).await;
    let announced = "roomcast_user_presence_announced_total{status=\"online\"}";
    let began = Instant::now();
    while counted(&a, announced).await < USERS {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    block_in_place(|| a.stop());
    clients.clear();
    all_on(&b, &mut clients).await;
    let mut follower = Follower::of(&b, &["mark", "u1"]).await;
    assert_eq!(follower.told().await, said("u1", "online", false), "what was told is still there");
    let _mark = follower.hears_nothing_before(&b, "mark").await;
    assert_eq!(counted(&b, announced).await, 1, "the marker alone");
    block_in_place(|| b.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_left_over_are_found_and_dropped() {
    let server = block_in_place(Standalone::start);
    let pod = member(&server, SHORT);
    ready(&pod).await;
    let name = pod.services().control.pod().to_owned();
    let call = |words: &[&str]| block_in_place(|| server.call(words));
    let until = async |what: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < Duration::from_secs(20));
            pod.services().user_presence.as_ref().unwrap().drop_ghosts().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut follower = Follower::of(&pod, &["ann"]).await;
    let ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "online", false));
    let key = record_key(&server, "ann").await;
    until(&|| !call(&["GET", &key]).text().contains("pending")).await;
    let online = call(&["GET", &key]).text().to_owned();
    assert!(online.contains(&name), "{online}");
    drop(ann);
    assert_eq!(follower.told().await, said("ann", "offline", true));
    until(&|| !call(&["GET", &key]).text().contains("pending")).await;
    // As after a failover: what was stored a moment before is back.
    let place = key.strip_suffix("user:presence:ann").expect("its place");
    call(&["SADD", &format!("{place}users:{name}"), "ann"]);
    call(&["SET", &key, &online]);
    until(&|| !call(&["GET", &key]).text().contains(&name)).await;
    assert_eq!(follower.told().await, said("ann", "offline", true));
    let seen = shown(&pod, &["ann"]).await[0]["last_seen"].as_u64();
    assert!(seen > Some(1_600_000_000_000), "{seen:?}");
    // A pod that is gone left a name where no room lies in which users are told of now.
    let first = format!("{}{{e8a}}:", place.split_once('{').expect("a tag").0);
    assert_ne!(first, place);
    let (set, pods) = (format!("{first}users:dead"), format!("{first}pods-of-users"));
    call(&["SADD", &set, "ann"]);
    call(&["ZADD", &pods, &seen.unwrap_or_default().to_string(), "dead"]);
    until(&|| call(&["EXISTS", &set]).number() == 0).await;
    until(&|| call(&["ZRANGE", &pods, "0", "-1"]).list().iter().all(|pod| pod.text() != "dead")).await;
    block_in_place(|| pod.stop());
}

/// The key of a user's record.
async fn record_key(server: &testkit::redis::Node, user: &str) -> String {
    let began = Instant::now();
    loop {
        let keys = block_in_place(|| server.call(&["KEYS", &format!("*:user:presence:{user}")]));
        if let [key] = keys.list() {
            return key.text().to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{keys:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
