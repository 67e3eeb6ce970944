//! The preset `trips`.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trips_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> =
        cluster.addresses().iter().map(|(host, port)| format!("redis-cluster://{host}:{port}")).collect();
    let pods = [preset("trips", &urls.join(","), &[]), preset("trips", &urls.join(","), &[])];
    let mut clients = Vec::new();
    for (pod, trip) in pods.iter().zip(["trip-1", "1"]) {
        ready(pod).await;
        let mut client = open(pod, "/ws").await;
        client.send(&json!({"type": "subscribe", "trip_id": trip}).to_string()).await;
        clients.push((client, trip));
    }
    // Any node will do for a publisher.
    let mut links: Vec<_> =
        cluster.addresses().iter().map(|(_, port)| testkit::redis::Link::open(*port, None).unwrap()).collect();
    let began = Instant::now();
    'published: loop {
        for link in &mut links {
            let event = r#"{"topic":"poll.updated","data":{"poll_id":"9","n":1}}"#;
            block_in_place(|| link.call(&["PUBLISH", "trip:1", event]).unwrap().ok());
        }
        for (client, trip) in &mut clients {
            let Ok(Seen::Json(message)) = tokio::time::timeout(Duration::from_millis(400), client.next()).await else {
                assert!(began.elapsed() < Duration::from_secs(20), "nobody takes messages in");
                continue 'published;
            };
            assert_eq!(
                (&message["type"], &message["events"][0]["trip_id"]),
                (&json!("events"), &json!(trip)),
                "{message}"
            );
        }
        break;
    }
    // Who comes later gets the snapshot.
    let mut late = open(&pods[1], "/ws").await;
    late.send(r#"{"type":"subscribe","trip_id":"1"}"#).await;
    assert_eq!(late.json().await["events"][0]["data"], json!({"poll_id": "9", "n": 1}));
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_that_lost_events_is_joined_anew() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("trips", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let mut client = open(&pod, "/ws").await;
    client.send(r#"{"type":"subscribe","trip_id":"1"}"#).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    publish(&pod, "trip:1", "comment.created", "1").await;
    assert_eq!(client.json().await["events"][0]["data"], json!(1));
    // A client of the old server knows no gap: it is closed, comes back, and gets the newest.
    block_in_place(|| server.call(&["FLUSHALL"]));
    for n in 0..3 {
        publish(&pod, "trip:1", "comment.created", &n.to_string()).await;
    }
    let code = client.closed().await;
    assert_eq!(code, Some(4010));
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_a_thousand_trips_and_may_bring_a_token_that_nobody_judges() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("trips", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let address = pod.addresses().plain[0];
    for (target, bearer) in
        [("/ws?token=abc", None), ("/ws?token=", None), ("/ws", Some("Bearer abc")), ("/ws", Some("Bearer"))]
    {
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", *bearer)).collect();
        let mut client = Client::open(address, target, &[], &headers, None).await.unwrap();
        client.send(r#"{"type":"ping"}"#).await;
        assert_eq!(client.json().await["type"], "pong", "{target} {bearer:?}");
    }
    let mut client = open(&pod, "/ws").await;
    for trip in 1..=999 {
        client.send(&json!({"type": "subscribe", "trip_id": trip}).to_string()).await;
    }
    client.send(r#"{"type":"ping"}"#).await;
    let answer = client.json().await;
    assert_eq!(answer["type"], "pong", "{answer}");
    pod.stop();
}
