//! Places of users over several pods, through their deaths and through outages of Redis.

use std::time::{SystemTime, UNIX_EPOCH};

use roomcast::testing::{
    broker::{PlaceClaim, PlaceVerdict},
    model::{PlaceLimit, WhenFull},
};

use super::*;

const REFUSE: PlaceLimit = PlaceLimit { connections: 2, when_full: WhenFull::RefuseNewest };
const CLOSE: PlaceLimit = PlaceLimit { connections: 2, when_full: WhenFull::CloseOldest };

fn claim(connection: u64) -> PlaceClaim {
    PlaceClaim { user: "ann".into(), connection }
}

async fn take(pod: &Pod, connection: u64, limit: PlaceLimit) -> PlaceVerdict {
    pod.broker.places.take_places(&[claim(connection)], limit).await.remove(0)
}

/// The key of the user's places.
fn key(server: &Node) -> String {
    let keys = server.call(&["KEYS", "*:places:ann"]);
    keys.list().first().map(|key| key.text().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_count_over_all_pods() {
    let server = tokio::task::block_in_place(Standalone::start);
    let (a, b) = (Pod::ready(alone(&server)).await, Pod::ready(alone(&server)).await);
    assert!(take(&a, 1, REFUSE).await.taken && take(&b, 2, REFUSE).await.taken);
    assert_eq!((take(&a, 3, REFUSE).await, take(&b, 4, REFUSE).await), Default::default());
    let (closing, again) = (take(&b, 5, CLOSE).await, take(&b, 6, CLOSE).await);
    let displaced = |verdict: &PlaceVerdict| {
        let [one] = verdict.displaced[..] else { panic!("{verdict:?}") };
        (one.connection, one.here)
    };
    assert_eq!((displaced(&closing), displaced(&again)), ((1, false), (2, true)));
    b.broker.places.give_back(&[claim(5), claim(6)]).await;
    let left = tokio::task::block_in_place(|| key(&server));
    assert_eq!(left, "", "a user without a connection has no key");
    // What comes at once from everywhere gets as many places as there are.
    let claims = |from: u64| (from..from + 50).map(claim).collect::<Vec<_>>();
    let (here, there) = (claims(100), claims(200));
    let (here, there) =
        tokio::join!(a.broker.places.take_places(&here, REFUSE), b.broker.places.take_places(&there, REFUSE));
    assert_eq!(here.iter().chain(&there).filter(|verdict| verdict.taken).count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_dies_frees_its_places() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(Settings { lease: Duration::from_secs(1), ..alone(&server) }).await;
    assert!(take(&pod, 1, REFUSE).await.taken);
    let (places, leases) =
        (tokio::task::block_in_place(|| key(&server)), format!("fleet:{{{}}}:leases", Partition::FIRST.tag()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let held = format!("{}000 {now}", now - 60_000);
    // Another pod's, whose lease runs: it counts, and is the oldest.
    tokio::task::block_in_place(|| {
        server.call(&["ZADD", &leases, "9999999999999", "aaaaaaaaaaaaaaaa"]);
        server.call(&["HSET", &places, "aaaaaaaaaaaaaaaa/0000000000000007", &held]);
    });
    let lasting = Duration::from_millis(1_500);
    let began = Instant::now();
    while began.elapsed() < lasting {
        assert!(!take(&pod, 2, REFUSE).await.taken, "its pod lives");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let oldest = take(&pod, 3, CLOSE).await.displaced;
    assert_eq!(oldest.iter().map(|it| (it.connection, it.here)).collect::<Vec<_>>(), [(7, false)]);
    pod.broker.places.give_back(&[claim(3)]).await;
    tokio::task::block_in_place(|| {
        server.call(&["HSET", &places, "aaaaaaaaaaaaaaaa/0000000000000007", &held]);
        server.call(&["ZREM", &leases, "aaaaaaaaaaaaaaaa"]);
    });
    // The lease is over: nothing has to give way, although that place is older.
    let mut connection = 10;
    loop {
        let verdict = take(&pod, connection, REFUSE).await;
        if verdict.taken {
            assert_eq!(verdict.displaced, []);
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        connection += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fields = tokio::task::block_in_place(|| server.call(&["HLEN", &places])).number();
    assert_eq!(fields, 2, "the dead pod's place was taken out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_of_which_its_pod_is_silent_does_not_count_for_ever() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    assert!(take(&pod, 1, REFUSE).await.taken);
    let places = tokio::task::block_in_place(|| key(&server));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let old = format!("{}000 {}", now - 9_000_000, now - 3_700_000);
    tokio::task::block_in_place(|| {
        server.call(&["HSET", &places, &format!("{}/0000000000000007", pod.broker.pod()), &old]);
        let lasts = server.call(&["PTTL", &places]).number();
        assert!((1..=3_600_000).contains(&lasts), "the key ends by itself: {lasts}");
    });
    assert_eq!(take(&pod, 2, CLOSE).await.displaced, []);
    assert!(!take(&pod, 3, REFUSE).await.taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_lost_its_lease_writes_its_places_anew() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(Settings { lease: Duration::from_secs(1), ..alone(&server) }).await;
    assert!(take(&pod, 1, REFUSE).await.taken && take(&pod, 2, REFUSE).await.taken);
    let places = tokio::task::block_in_place(|| key(&server));
    let leases = format!("fleet:{{{}}}:leases", Partition::FIRST.tag());
    tokio::task::block_in_place(|| server.call(&["DEL", &places, &leases]));
    until("the places are written again", || server.call(&["HLEN", &places]).number() == 2).await;
    assert!(!take(&pod, 3, REFUSE).await.taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_pod_goes_by_its_own_connections() {
    let server = tokio::task::block_in_place(Standalone::start);
    let timeouts = Timeouts { command: Duration::from_millis(500), ..Timeouts::default() };
    let settings = Settings { timeouts, lease: Duration::from_secs(1), ..alone(&server) };
    let (a, b) = (Pod::ready(settings.clone()).await, Pod::ready(settings).await);
    assert!(take(&a, 1, REFUSE).await.taken && take(&b, 2, REFUSE).await.taken);
    assert!(!take(&a, 3, REFUSE).await.taken);
    tokio::task::block_in_place(|| server.kill());
    let alone = |taken| PlaceVerdict { taken, alone: true, ..PlaceVerdict::default() };
    assert_eq!(take(&a, 4, REFUSE).await, alone(true), "it has one connection of the user here");
    assert_eq!(take(&a, 5, REFUSE).await, alone(false), "and now two");
    let displacing = take(&a, 6, CLOSE).await;
    assert!(displacing.alone && displacing.taken, "{displacing:?}");
    assert_eq!(displacing.displaced.iter().map(|it| it.connection).collect::<Vec<_>>(), [1]);
    b.broker.places.give_back(&[claim(2)]).await;
    tokio::task::block_in_place(|| {
        server.restart();
        server.wait_ready();
    });
    for pod in [&a, &b] {
        pod.well().await;
    }
    // What was decided meanwhile is made known: 4 and 6 are held, everything else was given back or lost.
    until("Redis knows", || {
        let places = key(&server);
        let names = server.call(&["HKEYS", &places]);
        let mut names: Vec<_> = names.list().iter().map(|name| name.text().to_owned()).collect();
        names.sort();
        names == [4, 6].map(|connection| format!("{}/{connection:016x}", a.broker.pod()))
    })
    .await;
    assert_eq!(take(&b, 7, REFUSE).await, PlaceVerdict::default());
}
