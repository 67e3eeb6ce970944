//! The preset `loomio`.

use super::*;

/// A Socket.IO session over a WebSocket, its packets as they are.
struct Session {
    client: Client,
    sid: String,
    pid: String,
}

impl Session {
    /// `auth`: what the session connects with; what came before it was answered.
    async fn begin(pod: &Pod, token: &str, auth: &str) -> (Self, Vec<Value>) {
        let target = format!("/socket.io/?EIO=4&transport=websocket&channel_token={token}");
        let client = open(pod, &target).await;
        let mut session = Self { client, sid: String::new(), pid: String::new() };
        assert!(session.packet().await.starts_with("0{"));
        session.client.send(&format!("40{auth}")).await;
        let mut before = Vec::new();
        loop {
            let packet = session.packet().await;
            if let Some(answer) = packet.strip_prefix("40") {
                let answer: Value = serde_json::from_str(answer).unwrap();
                session.sid = answer["sid"].as_str().unwrap().to_owned();
                session.pid = answer["pid"].as_str().unwrap().to_owned();
                return (session, before);
            }
            before.push(event(&packet));
        }
    }

    async fn packet(&mut self) -> String {
        loop {
            match self.client.next().await {
                Seen::Text(text) => return text,
                Seen::Json(ping) if ping == json!(2) => self.client.send("3").await,
                other => panic!("{other:?} instead of a packet"),
            }
        }
    }

    async fn event(&mut self) -> Value {
        event(&self.packet().await)
    }
}

/// The name, the data and the offset of an event.
fn event(packet: &str) -> Value {
    serde_json::from_str(packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet} is no event"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loomio_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> =
        cluster.addresses().iter().map(|(host, port)| format!("redis-cluster://{host}:{port}")).collect();
    let pods = [preset("loomio", &urls.join(","), &[]), preset("loomio", &urls.join(","), &[])];
    // Keys of tokens lie in whatever slot they fall into.
    let mut links: Vec<_> =
        cluster.addresses().iter().map(|(_, port)| testkit::redis::Link::open(*port, None).unwrap()).collect();
    for token in ["one", "two", "three"] {
        let user = r#"{"id":7,"name":"Ann","group_ids":[1,2,3]}"#;
        let set = ["SET", &format!("/current_users/{token}"), user];
        let kept = links.iter_mut().any(|link| block_in_place(|| link.call(&set).unwrap().text() == "OK"));
        assert!(kept, "no node takes the key");
    }
    let mut sessions = Vec::new();
    for (pod, token) in pods.iter().zip(["one", "two"]) {
        ready(pod).await;
        sessions.push(Session::begin(pod, token, "").await.0);
    }
    let began = Instant::now();
    let mut publish = |room: &str, n: usize| {
        let message = json!({"room": room, "records": {"events": [{"id": n}]}}).to_string();
        // Any node will do for a publisher.
        let link = &mut links[n / 20 % 3];
        block_in_place(|| link.call(&["PUBLISH", "/records", &message]).unwrap().ok());
    };
    let rooms = ["group-1", "user-7", "group-2", "group-9", "group-3"];
    // Until somebody takes them in, messages are lost, as `PUBLISH` has it.
    while tokio::time::timeout(Duration::from_millis(300), sessions[0].client.is_quiet()).await != Ok(false) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody takes messages in");
        publish("group-1", 0);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for n in 1..60 {
        publish(rooms[n * 3 % 5], n);
        // Over different nodes there is no order without time between.
        tokio::time::sleep(Duration::from_millis(if n % 20 == 19 { 300 } else { 1 })).await;
    }
    let mine: Vec<usize> = (1..60).filter(|n| rooms[n * 3 % 5] != "group-9").collect();
    let id = |event: &Value| event[1]["records"]["events"][0]["id"].as_u64().unwrap() as usize;
    let mut offset = String::new();
    for session in &mut sessions {
        let mut seen = Vec::new();
        while seen.last() != mine.last() {
            let event = session.event().await;
            assert_eq!(event[0], "records", "{event}");
            offset = event[2].as_str().unwrap().to_owned();
            seen.push(id(&event));
        }
        seen.retain(|n| *n > 0);
        assert_eq!(seen, mine);
    }
    // The session of one pod goes on at the other: what it missed first, then the same names.
    let gone = sessions.remove(1);
    drop(gone.client);
    for n in 60..100 {
        publish(rooms[n * 3 % 5], n);
        tokio::time::sleep(Duration::from_millis(if n % 20 == 19 { 300 } else { 1 })).await;
    }
    let missed: Vec<usize> = (60..100).filter(|n| rooms[n * 3 % 5] != "group-9").collect();
    while id(&sessions[0].event().await) != *missed.last().unwrap() {}
    let auth = json!({"pid": gone.pid, "offset": offset}).to_string();
    let (mut back, before) = Session::begin(&pods[0], "two", &auth).await;
    assert_eq!(before.iter().map(id).collect::<Vec<_>>(), missed);
    assert_eq!((&back.sid, &back.pid), (&gone.sid, &gone.pid));
    publish("user-7", 100);
    assert_eq!(id(&back.event().await), 100);
    // Another user's token does not take a session over.
    let other = json!({"pid": back.pid, "offset": offset}).to_string();
    let user = r#"{"id":8,"group_ids":[]}"#;
    for (_, port) in cluster.addresses() {
        let mut link = testkit::redis::Link::open(port, None).unwrap();
        // The nodes that do not have its slot say so.
        let _ = block_in_place(|| link.call(&["SET", "/current_users/three", user]).unwrap());
    }
    let (thief, before) = Session::begin(&pods[1], "three", &other).await;
    assert!(before.is_empty() && thief.sid != back.sid);
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_who_have_not_logged_in_are_let_in_with_what_their_object_gives() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("loomio", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    for (token, object, expected) in [
        ("visitor", r#"{"id":null,"name":null,"group_ids":[]}"#, &["notice"][..]),
        ("guest", r#"{"id":null,"name":"guest","group_ids":[7,null]}"#, &["group-7", "notice"]),
        ("holes", r#"{"id":5,"group_ids":[null,7,{}]}"#, &["group-7", "notice", "user-5"]),
        ("object", r#"{"id":5,"group_ids":{"a":7}}"#, &["notice", "user-5"]),
        ("text", "no JSON", &["notice"]),
    ] {
        block_in_place(|| server.call(&["SET", &format!("/current_users/{token}"), object]).ok());
        let (mut session, _) = Session::begin(&pod, token, "").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // What was published last comes last.
        let rooms = ["group-7", "user-5", "notice"];
        let mut seen = Vec::new();
        for room in rooms {
            publish(&pod, room, "records", &json!({"room": room}).to_string()).await;
        }
        while !seen.contains(&"notice".to_owned()) {
            seen.push(session.event().await[1]["room"].as_str().unwrap().to_owned());
        }
        seen.sort();
        assert_eq!(seen, expected, "{token}");
    }
    // Four of them are not as they should be. A visitor's is.
    let (_, metrics) = crate::harness::get(&pod, "/metrics").await;
    assert!(metrics.contains("roomcast_token_faulty_objects_total 4"), "{metrics}");
    pod.stop();
}
