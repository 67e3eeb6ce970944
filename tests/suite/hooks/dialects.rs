//! What clients of other protocols are told.

use super::*;

const CHAT: &str = r#"
[[dialect]]
name = "chat"
paths = ["/chat"]
command = [
  { when = { "/type" = "join" }, does = "subscribe", room = "asked:{/room}" },
  { when = { "/type" = "say" }, does = "publish", room = "asked:{/room}", topic = "said", data = "/text" },
]
message = [
  { on = "welcome", write = '{"type": "hello"}' },
  { on = "subscribed", write = '{"type": "joined", "room": "{room}"}' },
  { on = "error", write = '{"type": "oops", "code": "{code}", "says": "{message}"}' },
]
event = [{ write = '{"type": "{topic}", "text": "{data}"}' }]
"#;

pub(super) fn chat(settings: &mut Settings) {
    let described = merge(&Flags::new(), &Variables::new(), Some((std::path::Path::new("chat"), CHAT))).unwrap();
    settings.dialects = described.settings.dialects;
}

fn by_room_or_query(asked: &Asked, _: usize) -> Does {
    let (room, text) = (asked.body["room"].as_str().unwrap_or_default(), asked.body["data"].as_str());
    match (room, text) {
        _ if asked.body["query"]["as"] == "bob" => no(),
        ("asked:no", _) | (_, Some("curse")) => no(),
        ("asked:hangs", _) => Does::Hangs,
        (_, Some(text)) => Does::Says(json!({"allow": true, "data": text.to_uppercase()})),
        _ => yes(),
    }
}

#[tokio::test]
async fn a_described_dialect_says_it_in_its_own_words() {
    let backend = Backend::start(by_room_or_query).await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        judging(settings, &backend);
        chat(settings);
    });
    let address = pod.addresses().plain[0];
    assert_eq!(refused(address, "/chat?as=bob").await.0, 403);
    let mut client = Client::open(address, "/chat", &[], &[], None).await.unwrap();
    assert_eq!(client.json().await, json!({"type": "hello"}));
    assert_eq!(backend.asked().last().unwrap().body["dialect"], "chat");
    for (message, answer) in [
        (json!({"type": "join", "room": "1"}), json!({"type": "joined", "room": "asked:1"})),
        (json!({"type": "join", "room": "no"}), json!({"type": "oops", "code": "forbidden", "says": "not you"})),
        (json!({"type": "say", "room": "1", "text": "hi"}), json!({"type": "said", "text": "HI"})),
        (
            json!({"type": "say", "room": "1", "text": "curse"}),
            json!({"type": "oops", "code": "forbidden", "says": "not you"}),
        ),
    ] {
        assert_eq!(client.ask(message).await, answer);
    }
    let answer = client.ask(json!({"type": "join", "room": "hangs"})).await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("oops"), &json!("unavailable")));
    pod.stop();
}

/// A Socket.IO client that polls.
pub struct Polling {
    address: SocketAddr,
    target: String,
}

impl Polling {
    pub async fn open(address: SocketAddr, query: &str) -> Self {
        let target = format!("/socket.io/?EIO=4&transport=polling{query}");
        let (status, _, body) = http(address, "GET", &target, "").await;
        assert_eq!(status, 200, "{body}");
        let open: Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
        Self { address, target: format!("{target}&sid={}", open["sid"].as_str().unwrap()) }
    }

    pub async fn send(&self, packets: &str) {
        assert_eq!(http(self.address, "POST", &self.target, packets).await.2, "ok");
    }

    /// The next packets.
    pub async fn get(&self) -> Vec<String> {
        let (status, _, body) = http(self.address, "GET", &self.target, "").await;
        assert_eq!(status, 200, "{body}");
        body.split('\x1e').map(str::to_owned).collect()
    }

    pub async fn ask(&self, packets: &str) -> String {
        self.send(packets).await;
        self.get().await.remove(0)
    }
}

#[tokio::test]
async fn a_socketio_client_is_asked_about_when_it_connects() {
    let backend = Backend::start(|asked, _| match (&*asked.path, asked.body["auth"]["name"].as_str()) {
        ("/connect", Some("ann")) => Does::Says(json!({"allow": true, "user": "ann", "rooms": ["given:1"]})),
        ("/connect", Some("hangs")) => Does::Hangs,
        ("/connect", _) => no(),
        _ => by_room_or_query(asked, 0),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        judging(settings, &backend);
        settings.socketio.enabled = true;
        settings.general.anonymous = Some(false);
    });
    let address = pod.addresses().plain[0];
    let client = Polling::open(address, "&page=board").await;
    assert_eq!(backend.asked().len(), 0, "it is asked about when it connects to a namespace");
    assert_eq!(
        client.ask("40{\"name\":\"bob\"}").await,
        "44{\"message\":\"not you\",\"data\":{\"code\":\"forbidden\"}}"
    );
    // No answer is no refusal, after which a client stays away: its session ends, and it comes back by itself.
    client.send("40{\"name\":\"hangs\"}").await;
    let (status, _, body) = http(address, "GET", &client.target, "").await;
    assert_eq!((status, &*body), (400, "{\"code\":1,\"message\":\"Session ID unknown\"}"));
    let client = Polling::open(address, "&page=board").await;
    // What comes behind a connect waits for it.
    client.send("40{\"name\":\"ann\",\"token\":\"s3cret\"}\x1e420[\"subscribe\",{\"room\":\"asked:1\"}]").await;
    let mut packets = Vec::new();
    while !packets.iter().any(|packet: &String| packet.starts_with("430")) {
        packets.extend(client.get().await);
    }
    assert!(packets[0].starts_with("40{\"sid\""), "{packets:?}");
    assert!(packets.iter().any(|packet| packet.contains("given:1")), "{packets:?}");
    assert!(packets.iter().any(|packet| packet.starts_with("430") && packet.contains("asked:1")), "{packets:?}");
    let asked = backend.asked();
    let connect = &asked[2].body;
    assert_eq!((&connect["namespace"], &connect["auth"]), (&json!("/"), &json!({"name": "ann"})));
    assert_eq!((&connect["query"]["page"], &connect["transport"]), (&json!("board"), &json!("polling")));
    assert!(connect["connection"].is_string() && !connect.to_string().contains("s3cret"), "{connect}");
    let join = &asked[3].body;
    assert_eq!(
        (&join["hook"], &join["user"], &join["dialect"]),
        (&json!("subscribe"), &json!("ann"), &json!("socketio"))
    );
    let denied = client.ask("421[\"subscribe\",{\"room\":\"asked:no\"}]").await;
    assert!(denied.starts_with("431[") && denied.contains("forbidden") && denied.contains("not you"), "{denied}");
    pod.stop();
}

#[tokio::test]
async fn a_socketio_session_comes_back_only_to_rooms_that_are_still_its_own() {
    let banned = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now = std::sync::Arc::clone(&banned);
    let backend =
        Backend::start(move |_, _| if now.load(std::sync::atomic::Ordering::Relaxed) { no() } else { yes() }).await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.socketio.enabled = true;
    });
    let address = pod.addresses().plain[0];
    let sid = |packet: &str| -> Value { serde_json::from_str(packet.strip_prefix("40").unwrap()).unwrap() };
    let first = Polling::open(address, "").await;
    let session = sid(&first.ask("40").await);
    first.send("420[\"subscribe\",{\"room\":\"asked:1\"}]").await;
    first.get().await;
    publish(&pod, "asked:1", "t", "1").await;
    let event = first.get().await.remove(0);
    let event: Value = serde_json::from_str(event.strip_prefix("42").unwrap()).unwrap();
    let offset = event.as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    first.send("1").await;
    sleep(Duration::from_millis(100)).await;
    publish(&pod, "asked:1", "t", "2").await;
    let back = json!({"pid": session["pid"], "offset": offset}).to_string();
    let second = Polling::open(address, "").await;
    second.send(&format!("40{back}")).await;
    let mut packets = Vec::new();
    while !packets.iter().any(|packet: &String| packet.starts_with("40")) {
        packets.extend(second.get().await);
    }
    let same = sid(packets.iter().find(|packet| packet.starts_with("40")).unwrap());
    assert_eq!(same["sid"], session["sid"], "{packets:?}");
    assert!(packets[0].starts_with("42") && packets[0].contains('2'), "what it missed comes first: {packets:?}");
    second.send("1").await;
    sleep(Duration::from_millis(100)).await;
    // The backend has changed its mind.
    banned.store(true, std::sync::atomic::Ordering::Relaxed);
    publish(&pod, "asked:1", "t", "3").await;
    let third = Polling::open(address, "").await;
    third.send(&format!("40{back}")).await;
    let packets = third.get().await;
    let anew = sid(packets.iter().find(|packet| packet.starts_with("40")).unwrap());
    assert_ne!(anew["sid"], session["sid"], "it begins anew: {packets:?}");
    assert!(!packets.iter().any(|packet| packet.contains("events")), "and is told nothing of the room: {packets:?}");
    let (_, room) = get_api(&pod, "/api/rooms/asked:1").await;
    assert!(room["members"] == 0 || room["error"]["code"] == "not_found", "{room}");
    pod.stop();
}
