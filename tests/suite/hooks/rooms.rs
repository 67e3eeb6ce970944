//! Rooms that the backend decides about.

use super::*;

#[tokio::test]
async fn what_was_read_in_a_room_is_told_to_its_members_only() {
    let backend = Backend::start(|_, _| yes()).await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.policies[0].policy.acks = AckMode::Keep;
    });
    let bearer = format!("Bearer {}", token(&json!({"sub": "ann", "exp": 4_102_444_800_u64})));
    let address = pod.addresses().plain[0];
    let headers = [("Authorization", bearer.as_str())];
    let mut ann = Client::open(address, "/ws", &["roomcast.v1"], &headers, None).await.unwrap();
    assert_eq!(ann.json().await["type"], "welcome");
    let room = "asked:1";
    let mut counted = async |kind: &str| {
        let said = ann.ask(json!({"type": kind, "room": room, "id": 1})).await;
        assert_eq!(said["type"], format!("{kind}d"), "{said}");
        if kind == "subscribe" {
            assert_eq!(ann.ask(json!({"type": "ack", "room": room, "offset": 0, "id": 2})).await["type"], "done");
        }
        ann.ask(json!({"type": "unread", "rooms": [], "id": 3})).await["rooms"].as_array().unwrap().len()
    };
    assert_eq!(counted("subscribe").await, 1);
    // What it has read there is kept, and is no way around the backend.
    assert_eq!(counted("unsubscribe").await, 0);
    pod.stop();
}

#[tokio::test]
async fn a_clients_commands_stay_in_their_order() {
    let backend = Backend::start(|asked, _| {
        let word = asked.body["room"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        let ms = asked.body["data"].as_u64().unwrap_or(if word == "slow" { 200 } else { 0 });
        Does::Ponders(Duration::from_millis(ms), json!({"allow": word != "no"}))
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.limits.max_rooms = 6;
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let began = Instant::now();
    for message in [
        json!({"type": "subscribe", "room": "asked:slow", "id": 1}),
        json!({"type": "ping", "id": 2}),
        json!({"type": "subscribe", "room": "asked:slow", "id": 3}),
    ] {
        client.send(&message.to_string()).await;
    }
    // Rooms answer when their owners do; everything else in its order, behind the backend.
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.json().await);
        assert!(began.elapsed() >= Duration::from_millis(200), "{answers:?}");
    }
    let of = |id: u64| answers.iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!((&of(1)["type"], &of(2)["type"]), (&json!("subscribed"), &json!("pong")));
    assert_eq!(of(3)["code"], "already_subscribed");
    let place = |id: u64| answers.iter().position(|answer| answer["id"] == id);
    assert!(place(2) < place(3), "{answers:?}");
    // Who leaves meanwhile is let in first, or turns back before it is in: both commands are answered.
    client
        .send_at_once(&[
            json!({"type": "subscribe", "room": "asked:more:slow", "id": 40}),
            json!({"type": "unsubscribe", "room": "asked:more:slow", "id": 41}),
        ])
        .await;
    let (joined, left) = (client.json().await, client.json().await);
    assert!(joined["type"] == "subscribed" || joined["code"] == "not_subscribed", "{joined}");
    assert_eq!((&joined["id"], &left["id"], &left["type"]), (&json!(40), &json!(41), &json!("unsubscribed")), "{left}");
    // Rooms of one command are asked about together, and answered each by itself.
    let words = ["a", "no", "free", "slow", "b", "c", "d", "e"];
    let rooms: Vec<_> = words.map(|word| json!({"room": format!("asked:5:{word}")})).into();
    client.send(&json!({"type": "subscribe", "rooms": rooms, "id": 5}).to_string()).await;
    let (mut joined, mut codes) = (0, Vec::new());
    // Those beyond the limit in one answer.
    for _ in 0..6 {
        let answer = client.json().await;
        assert_eq!(answer["id"], 5, "{answer}");
        match answer["code"].as_str() {
            Some(code) => codes.push(code.to_owned()),
            None => joined += 1,
        }
    }
    codes.sort();
    assert_eq!((joined, codes), (4, ["forbidden", "limit_exceeded"].map(str::to_owned).to_vec()));
    // The first publish is decided last, and is in the log first.
    for ms in [150, 0, 60, 0] {
        let event = json!({"type": "publish", "room": "asked:x", "topic": "t", "data": ms, "id": ms});
        client.send(&event.to_string()).await;
    }
    let mut offsets = Vec::new();
    for _ in 0..4 {
        offsets.push(client.json().await["offset"].as_u64().unwrap());
    }
    assert_eq!(offsets, [1, 2, 3, 4]);
    let (_, history) = get_api(&pod, "/api/rooms/asked:x/history").await;
    let data: Vec<_> =
        history["events"].as_array().unwrap().iter().map(|event| event["data"].as_u64().unwrap()).collect();
    assert_eq!(data, [150, 0, 60, 0]);
    // Much that is sent behind a join waits, and is no flood.
    let text = "x".repeat(60_000);
    client.send(&json!({"type": "unsubscribe", "room": "asked:5:a"}).to_string()).await;
    assert_eq!(client.json().await["type"], "unsubscribed");
    client.send(&json!({"type": "subscribe", "room": "asked:6:slow", "id": 6}).to_string()).await;
    for n in 10..16 {
        let event = json!({"type": "publish", "room": "demo:x", "topic": "t", "data": text, "id": n});
        client.send(&event.to_string()).await;
    }
    let mut ids = Vec::new();
    for _ in 0..7 {
        let answer = client.json().await;
        assert!(answer["type"] != "error", "{answer}");
        ids.push(answer["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, [6, 10, 11, 12, 13, 14, 15]);
    // Who goes while the backend ponders is in no room.
    let mut gone = Client::connect(pod.addresses().plain[0]).await;
    gone.send(&json!({"type": "subscribe", "room": "asked:slow"}).to_string()).await;
    sleep(Duration::from_millis(50)).await;
    drop(gone);
    sleep(Duration::from_millis(400)).await;
    let (_, room) = get_api(&pod, "/api/rooms/asked:slow").await;
    assert_eq!(room["members"], 1, "the first client alone: {room}");
    pod.stop();
}

#[tokio::test]
async fn a_room_that_is_asked_about_is_read_by_its_members_only() {
    let backend = Backend::start(|asked, _| if asked.body["room"] == "asked:no" { no() } else { yes() }).await;
    let pod = pod(|settings| asking(settings, &backend));
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for kind in ["history", "presence"] {
        for room in ["asked:1", "asked:no"] {
            let answer = client.ask(json!({"type": kind, "room": room})).await;
            assert_eq!(answer["code"], "not_subscribed", "{answer}");
        }
    }
    assert_eq!(backend.asked().len(), 0);
    client.subscribe("asked:1").await;
    assert_eq!(client.ask(json!({"type": "history", "room": "asked:1"})).await["type"], "history");
    assert_eq!(client.ask(json!({"type": "presence", "room": "asked:1"})).await["total"], 1);
    // Whom a backend puts into a room, it has decided about.
    let asked = backend.asked().len();
    let id = client.ask(json!({"type": "stats"})).await;
    assert_eq!(id["rooms"], 1);
    let (status, _, body) = http(pod.addresses().plain[0], "GET", "/poll?room=free&room=asked:no", "").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["message"]), (403, &json!("not you")), "a poll enters no room, or all");
    assert_eq!(backend.asked().len(), asked + 1);
    publish(&pod, "asked:1", "t", "7").await;
    assert_eq!(client.json().await["events"][0]["data"], 7);
    let (status, _, body) = http(pod.addresses().plain[0], "GET", "/poll?room=asked:1", "").await;
    assert_eq!((status, body.contains("\"cursor\":\"asked%3A1=")), (200, true), "{body}");
    pod.stop();
}

#[tokio::test]
async fn a_snapshot_is_shown_where_nothing_is_retained() {
    let events = json!([{"topic": "poll", "key": "1", "data": {"votes": 3}, "time": 1_700_000_000_000_u64}, {"topic": "poll", "data64": "AQI="}]);
    let backend = Backend::start(move |_, _| Does::Says(json!({"allow": true, "events": events}))).await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.policies.push(rule("kept:*", |policy| {
            policy.subscribe_hook = true;
            policy.retain = Retain::Key;
        }));
    });
    let address = pod.addresses().plain[0];
    for room in ["asked:1", "kept:1"] {
        let mut client = Client::connect(address).await;
        let joined = client.subscribe(room).await;
        assert_eq!(joined["offset"], 0);
        let shown = client.json().await;
        assert_eq!((&shown["retained"], &shown["room"]), (&json!(true), &json!(room)), "{shown}");
        let (first, second) = (&shown["events"][0], &shown["events"][1]);
        assert_eq!((&first["data"]["votes"], &first["time"]), (&json!(3), &json!(1_700_000_000_000_u64)));
        assert!(second["data64"] == "AQI=" && second["time"].as_u64().unwrap() > 1_700_000_000_000);
        let at = publish(&pod, room, "t", "1").await;
        let live = client.json().await;
        assert_eq!(
            (&live["after"], &live["offset"], at.offset),
            (&json!(0), &json!(1), 1),
            "it moved no position: {live}"
        );
        // Who was here and missed nothing is shown nothing.
        let mut back = Client::connect(address).await;
        let since = json!({"epoch": live["epoch"], "offset": 0});
        let joined = back.ask(json!({"type": "subscribe", "room": room, "since": since})).await;
        assert_eq!(joined["recovered"], true);
        assert_eq!(back.json().await["offset"], 1);
        assert!(back.is_quiet().await);
    }
    // What the room retains itself is newer.
    let mut event = crate::harness::publication("poll", "9");
    event.key = Some("1".into());
    crate::harness::publish_as(&pod, "kept:1", event).await;
    let mut client = Client::connect(address).await;
    client.subscribe("kept:1").await;
    let shown = client.json().await;
    assert_eq!((shown["events"].as_array().unwrap().len(), &shown["events"][0]["data"]), (1, &json!(9)));
    assert!(client.is_quiet().await);
    pod.stop();
}

/// A backend that keeps messages gives each a number of its own: a retry is told by what the client sent.
#[tokio::test]
async fn a_retry_is_the_event_that_was_decided_first() {
    let backend = Backend::start(|asked, before| {
        assert_eq!((&asked.body["id"], &asked.body["idempotency_key"]), (&json!("m-1"), &json!("m-1")));
        Does::Says(json!({"allow": true, "data": {"text": asked.body["data"], "number": before}}))
    })
    .await;
    let pod = pod(|settings| asking(settings, &backend));
    let say = |data: &str| {
        json!({
            "type": "publish", "room": "asked:x", "topic": "said", "data": data, "event_id": "m-1",
            "idempotency_key": "m-1",
        })
    };
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let first = client.ask(say("hello")).await;
    assert_eq!((&first["type"], &first["offset"]), (&json!("published"), &json!(1)), "{first}");
    assert_eq!(client.ask(say("hello")).await, first);
    assert_eq!(client.ask(say("goodbye")).await["code"], "conflict");
    let (_, history) = get_api(&pod, "/api/rooms/asked:x/history").await;
    let events = history["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["data"]["text"], &events[0]["id"]), (1, &json!("hello"), &json!("m-1")));
    pod.stop();
}
