//! The preset `live-polls`.

use super::*;

/// A client of live-polls that speaks Socket.IO packet by packet.
struct Poller {
    client: Client,
    /// What it was told, oldest first: name and data.
    told: Vec<(String, Value)>,
}

impl Poller {
    async fn open(pod: &Pod, query: &str) -> Self {
        let mut client = open(pod, &format!("/socket.io/?EIO=4&transport=websocket&{query}")).await;
        client.send("40").await;
        Self { client, told: Vec::new() }
    }

    /// The data of the next packet of that name; `None`: it was told to leave.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let packet = match self.client.next().await {
                Seen::Text(packet) => packet,
                // A packet without data may be a number as well.
                Seen::Json(number) => number.to_string(),
                other => panic!("{other:?}"),
            };
            match packet.get(..2) {
                Some("42") => {
                    let event: (String, Value) =
                        match serde_json::from_str::<Vec<Value>>(&packet[2..]).unwrap().as_slice() {
                            [Value::String(name), data, ..] => (name.clone(), data.clone()),
                            other => panic!("{other:?}"),
                        };
                    self.told.push(event.clone());
                    return Some(event);
                }
                Some("41") => return None,
                Some("40") => {}
                _ if packet.starts_with('0') => {}
                _ => panic!("{packet}"),
            }
        }
    }

    async fn established(&mut self) -> Value {
        match self.next().await {
            Some((name, data)) if name == "connection:established" => data,
            other => panic!("{other:?}"),
        }
    }

    async fn event(&mut self) -> Value {
        match self.next().await {
            Some((name, data)) if name == "event" => data,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_polls_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> =
        cluster.addresses().iter().map(|(host, port)| format!("redis-cluster://{host}:{port}")).collect();
    let pods = [preset("live-polls", &urls.join(","), &[]), preset("live-polls", &urls.join(","), &[])];
    for pod in &pods {
        ready(pod).await;
    }
    let mut first = Poller::open(&pods[0], "sessionId=abc&participantId=user456").await;
    let established = first.established().await;
    assert_eq!(
        (&established["sessionId"], &established["participantId"], &established["replayed"]),
        (&json!("abc"), &json!("user456"), &json!(false)),
        "{established}"
    );
    assert!(established["connectionId"].is_string() && established["serverTime"].as_str().unwrap().ends_with('Z'));
    // Any node will do for a publisher. What is said twice, because nobody may have heard it at first, is one event.
    let mut links: Vec<_> =
        cluster.addresses().iter().map(|(_, port)| testkit::redis::Link::open(*port, None).unwrap()).collect();
    let began = Instant::now();
    let heard = loop {
        for link in &mut links {
            let event = r#"{"eventId":"evt1","eventType":"poll:created","payload":{"pollId":1}}"#;
            block_in_place(|| link.call(&["PUBLISH", "session:abc", event]).unwrap().ok());
        }
        match tokio::time::timeout(Duration::from_millis(400), first.event()).await {
            Ok(event) => break event,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(20), "nobody takes messages in"),
        }
    };
    let expected = json!({"eventId": "evt1", "eventType": "poll:created", "timestamp": heard["timestamp"], "sessionId": "abc",
        "payload": {"pollId": 1}});
    assert_eq!(heard, expected);
    for n in 0..5 {
        publish(&pods[n % 2], "session:abc", "vote:accepted", &format!("{{\"n\":{n}}}")).await;
    }
    let mut events = Vec::new();
    for n in 0..5 {
        let event = first.event().await;
        assert_eq!((&event["eventType"], &event["payload"]["n"]), (&json!("vote:accepted"), &json!(n)), "{event}");
        events.push(event);
    }
    // Who comes back anywhere, by a publisher's id or ours, gets what followed, then what is new.
    for (pod, id, from) in [(0, "evt1", 0), (1, "evt1", 0), (1, events[2]["eventId"].as_str().unwrap(), 3)] {
        let mut again = Poller::open(&pods[pod], &format!("sessionId=abc&fromEventId={id}")).await;
        assert_eq!(again.established().await["replayed"], json!(true));
        for event in &events[from..] {
            assert_eq!(&again.event().await, event);
        }
        assert!(again.client.is_quiet().await);
    }
    // What is older than a day, or beyond the cap, is unknown.
    let mut unknown = Poller::open(&pods[1], "sessionId=abc&fromEventId=evt0").await;
    assert_eq!(unknown.established().await["replayed"], json!(false));
    assert!(unknown.client.is_quiet().await);
    let mut refused = Poller::open(&pods[1], "participantId=1").await;
    let (name, error) = refused.next().await.unwrap();
    assert_eq!((name.as_str(), &error["code"]), ("connection:error", &json!("bad_request")), "{error}");
    assert_eq!(refused.next().await, None, "then it is disconnected");
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_live_polls_keeps_what_its_document_says() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("live-polls", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let policy = pod.services().policy(&roomcast::testing::model::Room::parse("session:abc").unwrap());
    assert_eq!(policy.history_age, Duration::from_secs(24 * 3_600));
    let mut ids = Vec::new();
    for n in 0..1_003 {
        let position = publish(&pod, "session:abc", "vote:accepted", &n.to_string()).await;
        ids.push(format!("{}:{}", position.epoch, position.offset));
    }
    // As many as are kept are replayed; one more, and none is: never a part.
    for (from, replayed) in [(2, true), (1_002, true), (1, false), (0, false)] {
        let mut again = Poller::open(&pod, &format!("sessionId=abc&fromEventId={}", ids[from])).await;
        assert_eq!(again.established().await["replayed"], json!(replayed), "{from}");
        for n in from + 1..if replayed { 1_003 } else { 0 } {
            assert_eq!(again.event().await["payload"], json!(n));
        }
        assert!(again.client.is_quiet().await);
    }
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nobody_judges_keeps_no_participant_out() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("live-polls", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    for token in ["", "&token=", "&token=abc", "&token=undefined"] {
        let (status, body) = get(&pod, &format!("/socket.io/?EIO=4&transport=polling&sessionId=a{token}")).await;
        assert_eq!(status, 200, "{token}: {body}");
    }
    pod.stop();
}
