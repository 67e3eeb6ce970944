//! Publishes that wait go out together, and do not pile up.

use super::*;

/// How often a server ran a command since it was asked to forget that.
fn calls(server: &Node, command: &str) -> u64 {
    let stats = server.call(&["INFO", "commandstats"]);
    let line = stats.text().lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).map(str::to_owned);
    line.map_or(0, |line| line.split(['=', ',']).nth(1).unwrap().parse().unwrap())
}

/// While a call is under way, what comes waits for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_that_wait_share_a_call() {
    const EVENTS: usize = 300;
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    let rooms: Vec<Room> = (0..100).map(|n| room(&format!("r:{n}"))).collect();
    pod.publish(&rooms[0], "before").await.unwrap();
    tokio::task::block_in_place(|| {
        server.call(&["CONFIG", "RESETSTAT"]);
        // A script that takes a while, so that all the others come meanwhile.
        server.call(&["CLIENT", "PAUSE", "300", "WRITE"]);
    });
    let published = (0..EVENTS).map(|n| pod.publish(&rooms[n % 100], "t"));
    let published = futures_util::future::try_join_all(published).await.unwrap();
    assert_eq!(published.len(), EVENTS);
    let (events, scripts) = tokio::task::block_in_place(|| (calls(&server, "xadd"), calls(&server, "evalsha")));
    // Two calls were under way, the others carried 64 events each; leases and comparisons run scripts too.
    assert!(events == EVENTS as u64 && scripts < 60, "{events} events in {scripts} calls");
    for (n, room) in rooms.iter().enumerate() {
        assert_eq!(log_of(&pod, room).await.end, 3 + u64::from(n == 0));
    }
}

/// Publishes to a server that does not answer are refused as soon as too many wait, and all are answered within their time-out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_do_not_pile_up() {
    let server = tokio::task::block_in_place(Standalone::start);
    // All have begun to wait, on whatever machine, before the first gives up.
    let timeouts =
        Timeouts { attempt: Duration::from_millis(800), command: Duration::from_secs(8), ..Timeouts::default() };
    let pod = Arc::new(Pod::ready(Settings { timeouts, ..alone(&server) }).await);
    let room = room("a");
    pod.publish(&room, "t").await.unwrap();
    tokio::task::block_in_place(|| server.pause());
    let mut publishes = tokio::task::JoinSet::new();
    for _ in 0..18_000 {
        let (pod, room) = (Arc::clone(&pod), room.clone());
        publishes.spawn(async move { pod.publish(&room, "waits").await });
    }
    let (mut busy, mut unknown) = (0, 0);
    while let Some(publish) = publishes.join_next().await {
        match publish.unwrap() {
            Err(BrokerError::Unavailable(why)) => busy += usize::from(why.starts_with("busy")),
            Err(BrokerError::Unknown) => unknown += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(busy > 0 && busy < 18_000, "{busy} publishes found no place");
    assert!(unknown > 0 && unknown < 1_000, "the outcome of {unknown} is not known: only what was sent may be");
    tokio::task::block_in_place(|| server.resume());
    pod.insist(&room, "after").await;
    pod.well().await;
}
