//! Who looks after users, and what is left of a pod that is gone.

use std::collections::BTreeSet;

use super::*;

const KEEP: Duration = Duration::from_secs(3_600);

fn write<'a>(user: &'a str, becomes: &'static str, after: Option<bool>, by: Option<&'a str>) -> UserWrite<'a> {
    let keep = Duration::from_secs(3_600);
    UserWrite { user, was: None, becomes: becomes.into(), keep, looked_after: after, released_by: by }
}

async fn users_of(pod: &Pod, of: &str) -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    for part in 0..pod.broker.users.parts() {
        users.extend(pod.broker.users.users_of(of, part, 100).await.unwrap());
    }
    users
}

async fn gone(pod: &Pod) -> Vec<String> {
    pod.broker.users.pods_gone(KEEP).await.unwrap().into_iter().map(|gone| gone.pod).collect()
}

async fn the_users_of_a_pod_that_is_gone_are_found(settings: Settings) {
    let settings = Settings { lease: Duration::from_secs(1), ..settings };
    let (dying, staying) = (Pod::ready(settings.clone()).await, Pod::ready(settings).await);
    let (dead, own) = (dying.broker.pod().to_owned(), staying.broker.pod().to_owned());
    let room_of = |user: &str| room(&format!("presence:{user}"));
    for user in ["ann", "bob", "cid"] {
        assert!(dying.broker.users.write_user(&room_of(user), write(user, "{}", Some(true), None)).await.unwrap());
    }
    assert_eq!((gone(&dying).await, gone(&staying).await), (vec![], vec![]));
    assert_eq!(users_of(&staying, &dead).await.len(), 3);
    // One that it does not look after any more is not found.
    let left = UserWrite { was: Some("{}".into()), ..write("cid", "[]", Some(false), None) };
    assert!(dying.broker.users.write_user(&room_of("cid"), left).await.unwrap());
    assert_eq!(users_of(&staying, &dead).await, ["ann", "bob"].map(str::to_owned).into());
    tokio::task::block_in_place(|| drop(dying));
    let began = Instant::now();
    while gone(&staying).await != [dead.clone()] {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(staying.broker.users.is_gone(&dead) && !staying.broker.users.is_gone(&own));
    // Taken over in one step; a record that changed meanwhile is not.
    let stale = UserWrite { was: Some("x".into()), ..write("ann", "[1]", Some(true), Some(&dead)) };
    assert!(!staying.broker.users.write_user(&room_of("ann"), stale).await.unwrap());
    assert_eq!(users_of(&staying, &dead).await.len(), 2);
    for user in ["ann", "bob"] {
        let taken = UserWrite { was: Some("{}".into()), ..write(user, "[1]", Some(true), Some(&dead)) };
        assert!(staying.broker.users.write_user(&room_of(user), taken).await.unwrap());
    }
    assert_eq!((users_of(&staying, &dead).await.len(), users_of(&staying, &own).await.len()), (0, 2));
    staying.broker.users.forget_pod(&dead).await.unwrap();
    assert_eq!(gone(&staying).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_a_pod_that_is_gone_are_found_in_one_server() {
    let server = tokio::task::block_in_place(Standalone::start);
    the_users_of_a_pod_that_is_gone_are_found(alone(&server)).await;
    let keys = server.call(&["KEYS", "fleet:*user*"]);
    for key in keys.list() {
        // As long as the records, so that users are found after a night without pods.
        let left = server.call(&["PTTL", key.text()]).number();
        assert!((3_000_000..=3_600_000).contains(&left), "{} ends in {left} ms", key.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_users_of_a_pod_that_is_gone_are_found_in_a_cluster() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 0));
    the_users_of_a_pod_that_is_gone_are_found(clustered(&cluster)).await;
}

/// A pod that was stopped for longer than its lease is told so, and what a room keeps lasts as long as its user's record is renewed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lapse_is_counted_and_a_record_renews_its_room() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { lease: Duration::from_secs(1), ..alone(&server) };
    let policy = Policy { retain: Retain::Room, ..Policy::default() };
    let pod = Pod::new(settings, policy);
    pod.well().await;
    assert_eq!(pod.broker.users.lapses().count, 0);
    let ann = room("presence:ann");
    pod.publish(&ann, "presence").await.unwrap();
    let tag = Partition::of(&ann).tag();
    let values = format!("fleet:{{{tag}}}:values:presence:ann");
    assert_eq!(server.call(&["PEXPIRE", &values, "60000"]).number(), 1);
    assert!(pod.broker.users.write_user(&ann, write("ann", "{}", Some(true), None)).await.unwrap());
    assert!(server.call(&["PTTL", &values]).number() > 3_600_000);
    let leases = format!("fleet:{{{}}}:leases", Partition::FIRST.tag());
    tokio::task::block_in_place(|| server.call(&["DEL", &leases]));
    until("the lapse is noticed", || pod.broker.users.lapses().count > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_pod_without_a_lease_it_is_known_when_it_looked_last() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(Settings { lease: Duration::from_secs(1), ..alone(&server) }).await;
    let pods = format!("fleet:{{{}}}:pods-of-users", Partition::FIRST.tag());
    let own = pod.broker.pod().to_owned();
    assert!(gone(&pod).await.is_empty());
    let looked: u64 = server.call(&["ZSCORE", &pods, &own]).text().parse().unwrap();
    // As after a night without pods, and one that left nothing that is still there.
    for (name, ago) in [("dead", 3_000_000), ("older", 3_600_001)] {
        server.call(&["ZADD", &pods, &(looked - ago).to_string(), name]);
    }
    let began = Instant::now();
    let found = loop {
        let found = pod.broker.users.pods_gone(KEEP).await.unwrap();
        if !found.is_empty() {
            break found;
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((found.len(), found[0].pod.as_str(), found[0].for_ms), (1, "dead", None));
    assert!((3_000_000..3_600_000).contains(&found[0].looked_ms), "{found:?}");
    // Names that are of no use where they lie are taken away there.
    let ann = room("presence:ann");
    let (part, set) = (pod.broker.users.part_of(&ann), format!("fleet:{{{}}}:users:dead", Partition::of(&ann).tag()));
    server.call(&["SADD", &set, "ann", "bob"]);
    pod.broker.users.release("dead", part, &["ann".to_owned()]).await.unwrap();
    assert_eq!(pod.broker.users.users_of("dead", part, 9).await.unwrap(), ["bob"]);
}
