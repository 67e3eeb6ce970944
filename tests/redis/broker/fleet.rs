//! What pods know of each other, and rooms by the thousand.

use super::*;

/// Two pods with short leases, and a room to which the second one is subscribed.
async fn dying_and_staying(server: &Standalone) -> (Pod, Pod, Room) {
    let settings = Settings { lease: Duration::from_secs(1), ..alone(server) };
    let (dying, staying, room) = (Pod::ready(settings.clone()).await, Pod::ready(settings).await, room("a"));
    staying.subscribed(&room).await;
    (dying, staying, room)
}

fn member(name: &str) -> Member {
    Member { connection: name.into(), user: Some("ann".into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_dead_pod_are_gone_after_its_lease() {
    let server = tokio::task::block_in_place(Standalone::start);
    let (dying, staying, room) = dying_and_staying(&server).await;
    for n in 0..3 {
        dying.broker.join(&room, &member(&format!("d{n}")));
    }
    staying.broker.join(&room, &member("s"));
    for pod in [&dying, &staying] {
        let began = Instant::now();
        while pod.broker.list(&room, 10).await.unwrap().total != 4 {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // Longer than a lease: until then nobody is taken for dead.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(staying.broker.list(&room, 10).await.unwrap().total, 4);
    drop(dying);
    let began = Instant::now();
    loop {
        let list = staying.broker.list(&room, 10).await.unwrap();
        if list.total == 1 {
            assert_eq!(list.members, [member("s")]);
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{list:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("all departures are told", || {
        staying.ear.of(&room).presence.iter().filter(|(joined, _)| !joined).count() == 3
    })
    .await;
    assert_eq!(staying.ear.of(&room).presence.iter().filter(|(joined, _)| *joined).count(), 4);
}

/// An edge tells of its members over one link. When that ends it tells of them over another one, to another pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_an_edge_that_go_over_to_another_pod_are_told_as_neither_gone_nor_come() {
    let server = tokio::task::block_in_place(Standalone::start);
    let (dying, staying, room) = dying_and_staying(&server).await;
    let told = || staying.ear.of(&room).presence;
    let is_told = |joined: bool, name: &str| told().contains(&(joined, name.to_owned()));
    for name in ["e1", "e2"] {
        dying.broker.join_of_edge(&room, &member(name));
    }
    until("both have come", || told().len() == 2).await;
    for name in ["e1", "e2"] {
        staying.broker.join_of_edge(&room, &member(name));
    }
    // Changes of a room are written in their order: what is told next was written behind these.
    staying.broker.join(&room, &member("m1"));
    until("the next member is told", || told().len() == 3).await;
    assert!(is_told(true, "m1"));
    let list = staying.broker.list(&room, 10).await.unwrap();
    assert_eq!((list.total, list.members.len()), (3, 3), "each is listed once: {list:?}");
    // The pod whose link ended gives one up, and dies with the other.
    dying.broker.leave_of_edge(&room, &member("e1"));
    dying.broker.join(&room, &member("m2"));
    until("the next member is told", || told().len() == 4).await;
    assert!(is_told(true, "m2"));
    tokio::task::block_in_place(|| drop(dying));
    let began = Instant::now();
    while !is_told(false, "m2") {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", told());
        let _ = staying.broker.list(&room, 10).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    staying.broker.join(&room, &member("m3"));
    until("what came with it is told", || is_told(true, "m3")).await;
    assert!(!is_told(false, "e1") && !is_told(false, "e2"), "{:?}", told());
    staying.broker.leave_of_edge(&room, &member("e1"));
    until("it is gone", || is_told(false, "e1")).await;
    assert_eq!(told().iter().filter(|(joined, name)| *joined && name == "e1").count(), 1);
}

/// What a taken edge says of a client of another pod of its home.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_in_use_at_another_pod_stays_that_members() {
    let server = tokio::task::block_in_place(Standalone::start);
    let (first, second) = (Pod::ready(alone(&server)).await, Pod::ready(alone(&server)).await);
    let room = room("a");
    second.subscribed(&room).await;
    let member = |name: &str, user: &str| Member { connection: name.into(), user: Some(user.into()) };
    let told = || second.ear.of(&room).presence;
    first.broker.join(&room, &member("c1", "ann"));
    until("it has come", || told() == [(true, "c1".to_owned())]).await;
    second.broker.join_of_edge(&room, &member("c1", "mal"));
    second.broker.join(&room, &member("m1", "bob"));
    until("the next member is told", || told().len() == 2).await;
    assert_eq!(told()[1], (true, "m1".to_owned()), "nothing is told of mal");
    second.broker.leave_of_edge(&room, &member("c1", "mal"));
    second.broker.leave(&room, &member("m1", "bob"));
    until("the next one is gone", || told().contains(&(false, "m1".to_owned()))).await;
    let of_c1: Vec<_> = told().into_iter().filter(|(_, name)| name == "c1").collect();
    assert_eq!(of_c1.last(), Some(&(true, "c1".to_owned())), "the last that is told of it is that it is there");
}

/// A pod that was stopped for longer than its lease finds its members gone, and brings them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_lost_its_lease_writes_its_members_anew() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { lease: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.broker.join(&room, &Member { connection: "c".into(), user: None });
    let tag = |room: &Room| Partition::of(room).tag();
    let members = format!("fleet:{{{}}}:members:a {}", tag(&room), pod.broker.pod());
    let leases = format!("fleet:{{{}}}:leases", Partition::FIRST.tag());
    until("the member is written", || server.call(&["HLEN", &members]).number() == 1).await;
    tokio::task::block_in_place(|| server.call(&["DEL", &members, &leases]));
    until("the member is written again", || server.call(&["HLEN", &members]).number() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rooms_are_joined_in_bulk() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 0));
    let pod = Pod::ready(clustered(&cluster)).await;
    let rooms: Vec<Room> = (0..10_000).map(|n| room(&format!("bulk:{n}"))).collect();
    let began = Instant::now();
    for room in &rooms {
        pod.broker.subscribe(room);
    }
    until("all have started", || {
        let tracks = pod.ear.0.lock().unwrap();
        tracks.values().filter(|track| track.started > 0).count() == rooms.len()
    })
    .await;
    println!("10,000 rooms joined in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Where a pod is found is known as long as it lives: until its end, or until its lease has run out after its death.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pod_is_found_as_long_as_it_lives() {
    let cluster = testkit::redis::shared().await;
    let lease = Duration::from_secs(1);
    let at = |address: Option<&str>| Settings { lease, advertise: address.map(str::to_owned), ..clustered(&cluster) };
    let (here, there) = (Pod::ready(at(None)).await, Pod::ready(at(Some("127.0.0.1:7007"))).await);
    let name = there.broker.pod().to_owned();
    assert_ne!(here.broker.pod(), name);
    let found = async |name: &str| here.broker.address(name).await;
    while found(&name).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(lease * 2).await;
    assert_eq!(found(&name).await, Ok(Some("127.0.0.1:7007".to_owned())), "it is renewed");
    assert_eq!((found(here.broker.pod()).await, found("nobody").await), (Ok(None), Ok(None)));
    tokio::task::block_in_place(|| drop(there));
    assert_eq!(found(&name).await, Ok(None), "a pod that ends says so");
}

/// Keys of an application are read by their own names, wherever in a cluster they are, and also while slots move.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strings_of_others_are_looked_up_in_every_slot() {
    let cluster = testkit::redis::shared().await;
    let pod = Pod::ready(clustered(&cluster)).await;
    let keys: Vec<String> = (0..60).map(|n| format!("session:{{{n}}}:token")).collect();
    tokio::task::block_in_place(|| {
        for key in &keys {
            cluster.owner(cluster.slot(key)).call(&["SET", key, &format!("of {key}")]);
        }
        cluster.owner(cluster.slot("list")).call(&["RPUSH", "list", "a"]);
    });
    let all = async || {
        for key in &keys {
            let found = pod.broker.look_up(key).await.unwrap();
            assert_eq!(found.as_deref(), Some(format!("of {key}").as_bytes()), "{key}");
        }
    };
    all().await;
    assert_eq!(pod.broker.look_up("session:nobody").await, Ok(None));
    assert_eq!(pod.broker.look_up("list").await, Ok(Some(bytes::Bytes::new())), "a key that holds no string");
    tokio::task::block_in_place(|| {
        let slot = cluster.slot(&keys[0]);
        let from = cluster.owner(slot);
        let masters = cluster.masters();
        let to = masters.iter().find(|master| master.port() != from.port()).unwrap();
        cluster.move_slots(from, to, slot..slot + 1);
    });
    all().await;
    tokio::task::block_in_place(|| {
        let slot = cluster.slot(&keys[0]);
        let masters = cluster.masters();
        let home = masters.iter().find(|master| cluster.slots(master).iter().any(|range| range.contains(&(slot + 1))));
        cluster.move_slots(cluster.owner(slot), home.unwrap(), slot..slot + 1);
    });
    all().await;
}
