//! The preset `social`: two pods over a real Redis.

use super::*;
use crate::archive::database::Database;
use roomcast::testing::{auth::SigningKey, config::HmacSecret, model::ArchiveMode};
use testkit::redis::Node;

const JWT: &str = "a-secret-of-at-least-thirty-two-bytes";

/// A pod whose users are offline after three seconds, so that a test need not wait for ten.
fn member(server: &Node) -> Pod {
    let (host, port) = server.address();
    let url = format!("redis://{host}:{port}");
    let variables = set(&[("JWT_SECRET", JWT), ("REDIS_URL", &url)]);
    let mut settings = merge_over(Preset::named("social"), &Flags::new(), &variables, None).unwrap().settings;
    settings.user_presence.offline_after = Duration::from_secs(3);
    settings.timeouts.poll = Duration::from_secs(2);
    start(settings)
}

async fn fleet() -> (Standalone, [Pod; 2]) {
    let server = block_in_place(Standalone::start);
    let pods = [member(&server), member(&server)];
    for pod in &pods {
        ready(pod).await;
    }
    (server, pods)
}

/// A user's token, which names these rooms.
fn token(user: &str, rooms: &[&str]) -> String {
    let rooms: Vec<_> = rooms.iter().map(|room| json!({"room": room, "rights": ["join", "publish"]})).collect();
    let claims = json!({"sub": user, "exp": 4_102_444_800_u64, "rooms": rooms});
    SigningKey::secret(&HmacSecret::new(JWT).unwrap()).token(&claims, None).unwrap()
}

/// The next message that is this event.
async fn event(client: &mut Client, name: &str) -> Value {
    loop {
        let message = client.json().await;
        assert_eq!((&message["v"], message["timestamp"].is_u64()), (&json!(1), true), "{message}");
        if message["event"] == name || message["type"] == name {
            return message;
        }
        assert_ne!(message["type"], "error", "{message}");
    }
}

/// A connection of a user that is in these channels.
async fn connect(pod: &Pod, user: &str, channels: &[&str], more: &str) -> Client {
    let mut client = open(pod, &format!("/ws?token={}{more}", token(user, channels))).await;
    assert_eq!(event(&mut client, "connected").await["data"]["user_id"], user);
    for channel in channels {
        client.send(&json!({"type": "subscribe", "id": channel, "channel": channel}).to_string()).await;
        while event(&mut client, "subscribed").await["data"]["channel"] != *channel {}
    }
    client
}

/// The status and the JSON of an answer of the public listener.
async fn call(pod: &Pod, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(pod.addresses().plain[0]).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn message(id: &str, content: &str) -> Value {
    json!({"type": "message", "event": "new_message", "id": id, "data": {"conversation_id": 7, "sender_id": "eve", "content": content}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_of_two_on_two_pods() {
    let (_server, pods) = fleet().await;
    let mut ann = connect(&pods[0], "ann", &["message:7"], "").await;
    let mut bob = connect(&pods[1], "bob", &["message:7"], "").await;
    // Sent, once however often, and by whom the token says.
    ann.send(&message("m-1", "hi").to_string()).await;
    let ack = event(&mut ann, "ack").await;
    assert_eq!((&ack["id"], &ack["data"]["seq"]), (&json!("m-1"), &json!(1)), "{ack}");
    let said = event(&mut bob, "new_message").await;
    let expected = json!({"id": "m-1", "conversation_id": "7", "sender_id": "ann", "content": "hi",
        "timestamp": said["timestamp"], "read": false});
    assert_eq!((&said["type"], &said["data"], &said["seq"]), (&json!("message"), &expected, &json!(1)), "{said}");
    assert_eq!((&said["id"], &said["position"]), (&json!("m-1"), &ack["data"]["position"]));
    event(&mut ann, "new_message").await;
    ann.send(&message("m-1", "hi").to_string()).await;
    assert_eq!(event(&mut ann, "ack").await["data"], ack["data"]);
    ann.send(&message("m-1", "ho").to_string()).await;
    let conflict = event(&mut ann, "error").await;
    assert_eq!((&conflict["code"], &conflict["id"]), (&json!("conflict"), &json!("m-1")), "{conflict}");
    // Typing, with a type and without one; one in two seconds passes, a stop always.
    for start in [
        json!({"event": "typing_start", "conversation_id": "7"}),
        json!({"type": "typing", "event": "typing_start", "data": {"conversation_id": 7}}),
    ] {
        ann.send(&start.to_string()).await;
    }
    ann.send(&json!({"event": "typing_stop", "conversation_id": "7"}).to_string()).await;
    let typing = event(&mut bob, "typing_start").await;
    assert_eq!(typing["data"], json!({"conversation_id": "7", "user_id": "ann", "expires_in": 5000}), "{typing}");
    let stopped = bob.json().await;
    assert_eq!((&stopped["event"], &stopped["data"]["user_id"]), (&json!("typing_stop"), &json!("ann")), "{stopped}");
    // Read: the author hears of it, and the reader's other device.
    let mut tablet = connect(&pods[0], "bob", &[], "").await;
    event(&mut tablet, "subscribed").await;
    let read = json!({"event": "message_read", "conversation_id": 7, "message_ids": ["m-1"], "seq": 1, "id": "r"});
    bob.send(&read.to_string()).await;
    let receipt = event(&mut ann, "read_receipt").await;
    assert_eq!(receipt["data"], json!({"conversation_id": "7", "reader_id": "bob", "seq": 1}));
    let badge = event(&mut tablet, "badge").await;
    assert_eq!((&badge["data"]["channel"], &badge["data"]["unread"]), (&json!("message:7"), &json!(0)), "{badge}");
    // Positions that there are not, rooms that are not one's own, messages that mean nothing.
    for (bad, code) in [
        (json!({"event": "message_read", "conversation_id": 7, "seq": 99}), "bad_position"),
        (json!({"type": "subscribe", "channel": "message:8"}), "forbidden"),
        (json!({"type": "subscribe", "channel": "notification:bob"}), "forbidden"),
        (json!({"type": "presence", "data": {"status": "asleep"}}), "bad_request"),
        (json!({"type": "dance"}), "unknown_command"),
    ] {
        ann.send(&bad.to_string()).await;
        let error = ann.json().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{bad}: {error}");
    }
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_away_catches_up_or_is_told_of_the_gap() {
    let (_server, pods) = fleet().await;
    let mut ann = connect(&pods[0], "ann", &["message:7"], "").await;
    let note = async |pod: &Pod, n: u64| {
        publish(
            pod,
            "notification:ann",
            "new_notification",
            &json!({"id": n, "type": "like", "read": false}).to_string(),
        )
        .await
    };
    note(&pods[1], 0).await;
    let first = event(&mut ann, "new_notification").await;
    assert_eq!((&first["type"], &first["data"]["type"]), (&json!("notification"), &json!("like")), "{first}");
    drop(ann);
    for n in 1..=3 {
        note(&pods[0], n).await;
    }
    publish(&pods[0], "message:7", "new_message", &json!({"content": "back?", "sender_id": "app"}).to_string()).await;
    // What it had last in each channel is all that it needs, on whatever pod.
    let position = first["position"].as_str().unwrap();
    let (epoch, _) = position.rsplit_once(':').unwrap();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("notification:ann", position);
    let cursor = form.finish();
    let resume = |cursor: &str| {
        let cursor: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        format!("&last_poll_id={cursor}")
    };
    let mut ann = connect(&pods[1], "ann", &[], &resume(&cursor)).await;
    let entered = event(&mut ann, "subscribed").await;
    assert_eq!(
        (&entered["data"]["recovered"], &entered["data"]["channel"]),
        (&json!(true), &json!("notification:ann"))
    );
    for n in 1..=3 {
        let missed = event(&mut ann, "new_notification").await;
        assert_eq!((&missed["data"]["id"], &missed["seq"]), (&json!(n), &json!(n + 1)));
    }
    ann.send(&json!({"type": "subscribe", "channel": "message:7", "since": format!("{epoch}:0")}).to_string()).await;
    let refused = ann.json().await;
    assert_eq!(refused["code"], "forbidden", "this token does not name the conversation: {refused}");
    // More than the hundred that are kept.
    drop(ann);
    for n in 4..=130 {
        note(&pods[1], n).await;
    }
    let mut ann = connect(&pods[0], "ann", &[], &resume(&cursor)).await;
    assert_eq!(event(&mut ann, "subscribed").await["data"]["recovered"], false, "the client loads what it lacks");
    let asked = json!({"type": "history", "id": 5, "channel": "notification:ann", "limit": 200});
    ann.send(&asked.to_string()).await;
    let history = event(&mut ann, "history").await;
    let kept = history["data"]["messages"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[99]["data"]["id"], &history["id"]), (100, &json!(130), &json!(5)));
    // The badge, by what was read.
    ann.send(&json!({"type": "ack", "channel": "notification:ann", "seq": 129}).to_string()).await;
    ann.send(&json!({"type": "badge", "id": "b", "channel": "notification:ann"}).to_string()).await;
    loop {
        let badge = event(&mut ann, "badge").await;
        if badge["data"]["unread"] == 2 {
            break assert_eq!(badge["data"]["seq"], 131, "{badge}");
        }
    }
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_polls_has_the_same_and_goes_on_over_a_websocket() {
    let (_server, pods) = fleet().await;
    let mut bob = connect(&pods[1], "bob", &["message:7", "presence:ann"], "").await;
    let signed = token("ann", &["message:7"]);
    let poll = |cursor: &str| {
        let cursor: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        format!("/api/v1/realtime/poll?token={signed}&channel=message:7&last_poll_id={cursor}")
    };
    let (status, first) = call(&pods[0], "GET", &poll(""), &Value::Null).await;
    assert_eq!((status, &first["v"], &first["poll_interval"]), (200, &json!(1), &json!(5)), "{first}");
    let mut cursor = first["last_poll_id"].as_str().unwrap().to_owned();
    assert_eq!(event(&mut bob, "online").await["data"]["user_id"], "ann", "a poll is a connection");
    // It says the same as over a WebSocket, to another pod.
    let send = format!("/api/v1/realtime/send?token={signed}");
    let (status, sent) = call(&pods[1], "POST", &send, &message("m-1", "hi")).await;
    assert_eq!(
        (status, &sent["events"][0]["type"], &sent["events"][0]["id"]),
        (200, &json!("ack"), &json!("m-1")),
        "{sent}"
    );
    let (_, again) = call(&pods[0], "POST", &send, &message("m-1", "hi")).await;
    assert_eq!(again["events"][0]["data"], sent["events"][0]["data"], "one event");
    assert_eq!(event(&mut bob, "new_message").await["data"]["sender_id"], "ann");
    call(&pods[0], "POST", &send, &json!({"event": "typing_start", "conversation_id": 7})).await;
    assert_eq!(event(&mut bob, "typing_start").await["data"]["user_id"], "ann");
    publish(&pods[1], "notification:ann", "new_notification", r#"{"type":"follow"}"#).await;
    let (mut seen, began) = (Vec::new(), Instant::now());
    while seen.len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(15), "{seen:?}");
        let (_, news) = call(&pods[0], "GET", &poll(&cursor), &Value::Null).await;
        let is_news = |message: &&Value| message["type"] != "system";
        seen.extend(news["events"].as_array().unwrap().iter().filter(is_news).map(|message| message["event"].clone()));
        news["last_poll_id"].as_str().unwrap().clone_into(&mut cursor);
    }
    seen.sort_by_key(Value::to_string);
    assert_eq!(seen, ["new_message", "new_notification"]);
    // The user's own status, and one that there is not.
    let own = format!("/api/v1/presence?token={signed}");
    let (status, done) = call(&pods[0], "PUT", &own, &json!({"status": "busy"})).await;
    assert_eq!((status, &done["events"][0]["type"]), (200, &json!("ack")), "{done}");
    assert_eq!(event(&mut bob, "busy").await["data"]["status"], "busy");
    let (status, refused) = call(&pods[0], "PUT", &own, &json!({"status": "asleep"})).await;
    assert_eq!((status, &refused["events"][0]["code"]), (400, &json!("bad_request")), "{refused}");
    // A WebSocket is there again: nothing is lost and nothing comes twice.
    call(&pods[1], "POST", &send, &message("m-2", "ho")).await;
    let target: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
    let mut ann = open(&pods[1], &format!("/ws?token={signed}&last_poll_id={target}")).await;
    let missed = event(&mut ann, "new_message").await;
    assert_eq!((&missed["id"], &missed["seq"]), (&json!("m-2"), &json!(2)), "{missed}");
    // A cursor joins no more rooms than a connection may be in.
    let many: Vec<String> = (0..1_001).map(|n| format!("{n:x}=e:1")).collect();
    let target: String = form_urlencoded::byte_serialize(many.join("&").as_bytes()).collect();
    let mut greedy = open(&pods[1], &format!("/ws?token={signed}&last_poll_id={target}")).await;
    let refused = loop {
        let message = greedy.json().await;
        if message["type"] == "error" {
            break message;
        }
    };
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    // The history of the conversation, page by page.
    let history = |more: &str| format!("/api/v1/conversations/7/messages?token={signed}&{more}");
    let (status, newest) = call(&pods[1], "GET", &history("limit=1"), &Value::Null).await;
    let page = &newest["data"];
    assert_eq!(
        (status, &page["messages"][0]["id"], page["messages"].as_array().map(Vec::len)),
        (200, &json!("m-2"), Some(1))
    );
    let epoch = page["next"].as_str().unwrap().rsplit_once(':').unwrap().0;
    let first: String = form_urlencoded::byte_serialize(format!("{epoch}:0").as_bytes()).collect();
    let (_, oldest) = call(&pods[0], "GET", &history(&format!("limit=1&since={first}")), &Value::Null).await;
    assert_eq!(
        (&oldest["data"]["messages"][0]["id"], &oldest["data"]["complete"]),
        (&json!("m-1"), &json!(false)),
        "there is more"
    );
    for (path, status, code) in [
        (format!("/api/v1/conversations/8/messages?token={signed}"), 403, "forbidden"),
        ("/api/v1/conversations/7/messages".to_owned(), 401, "unauthorized"),
        ("/api/v1/realtime/poll".to_owned(), 401, "unauthorized"),
        ("/api/v1/realtime/poll?token=x".to_owned(), 401, "unauthorized"),
        (format!("/api/v1/realtime/poll?token={signed}&channel=message:8"), 403, "forbidden"),
        (format!("/api/v1/realtime/poll?token={signed}&last_poll_id=x"), 400, "bad_request"),
    ] {
        let (got, error) = call(&pods[0], "GET", &path, &Value::Null).await;
        assert_eq!((got, &error["type"], &error["code"]), (status, &json!("error"), &json!(code)), "{path}: {error}");
    }
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_over_devices_and_a_bound_of_connections() {
    let (_server, pods) = fleet().await;
    let mut bob = connect(&pods[0], "bob", &["presence:ann"], "").await;
    let phone = connect(&pods[1], "ann", &[], "").await;
    let online = event(&mut bob, "online").await;
    assert_eq!(online["data"], json!({"user_id": "ann", "status": "online"}), "{online}");
    let mut laptop = connect(&pods[0], "ann", &[], "").await;
    drop(phone);
    laptop.send(&json!({"type": "presence", "event": "status", "data": {"status": "away"}}).to_string()).await;
    assert_eq!(event(&mut bob, "away").await["data"]["status"], "away", "one device that ended is no news");
    drop(laptop);
    let offline = event(&mut bob, "offline").await;
    assert!(offline["data"]["last_seen"].is_u64(), "{offline}");
    // What it chose is its own, and not the connection's.
    let _back = connect(&pods[1], "ann", &[], "").await;
    assert_eq!(event(&mut bob, "away").await["data"]["status"], "away");
    assert_eq!(Client::open(pods[0].addresses().plain[0], "/ws", &[], &[], None).await.err(), Some(401));
    // Ten of one user, over both pods.
    let mut all = Vec::new();
    for n in 0..10 {
        all.push(connect(&pods[n % 2], "cem", &[], "").await);
    }
    all.push(open(&pods[0], &format!("/ws?token={}", token("cem", &[]))).await);
    // Which one goes is decided by whose claim Redis judges last, and each pod brings its own.
    let closed = all.iter_mut().map(|client| Box::pin(client.closed()));
    assert_eq!(futures_util::future::select_all(closed).await.0, Some(4011));
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_a_conversation_go_on_in_its_archive() {
    let server = block_in_place(Standalone::start);
    let database = Database::made().await;
    let (host, port) = server.address();
    let (redis, archive) = (format!("redis://{host}:{port}"), database.server.url(&database.name));
    let variables = set(&[("JWT_SECRET", JWT), ("REDIS_URL", &redis), ("ARCHIVE_URL", &archive)]);
    let mut settings = merge_over(Preset::named("social"), &Flags::new(), &variables, None).unwrap().settings;
    let conversations = settings.policies.iter_mut().find(|rule| rule.policy.archive == ArchiveMode::Postgres);
    conversations.unwrap().policy.history_size = 3;
    let pod = start(settings);
    ready(&pod).await;
    let mut ann = connect(&pod, "ann", &["message:7"], "").await;
    for n in 1..=8 {
        ann.send(&message(&format!("m-{n}"), &format!("words {n}")).to_string()).await;
        assert_eq!(event(&mut ann, "ack").await["data"]["seq"], n);
    }
    let token = token("bob", &["message:7"]);
    let read = async |query: &str| {
        let path = format!("/api/v1/conversations/7/messages?token={token}{query}");
        let (status, page) = call(&pod, "GET", &path, &Value::Null).await;
        let seqs: Vec<u64> = page["data"]["messages"]
            .as_array()
            .map(|messages| messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect())
            .unwrap_or_default();
        (status, seqs, page)
    };
    // Back to the first one, in pages of two: the log has three.
    let (mut seen, mut at, mut oldest) = (Vec::new(), String::new(), Value::Null);
    loop {
        let (status, seqs, page) = read(&format!("&limit=2{at}")).await;
        assert_eq!(status, 200, "{page}");
        let Some(first) = page["data"]["messages"].get(0) else { break };
        assert_eq!(first["data"]["content"], format!("words {}", seqs[0]), "as it was sent, from wherever it comes");
        assert_eq!((&first["id"], &first["data"]["sender_id"]), (&json!(format!("m-{}", seqs[0])), &json!("ann")));
        at = format!("&before={}", first["position"].as_str().unwrap());
        oldest = first["position"].clone();
        seen = [seqs, seen].concat();
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
    // And on from there: by `next`, until all is there.
    let (mut seen, mut next) = (vec![1], oldest.as_str().unwrap().to_owned());
    loop {
        let (status, seqs, page) = read(&format!("&limit=3&since={next}")).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(&seqs);
        next = page["data"]["next"].as_str().unwrap().to_owned();
        if page["data"]["complete"] == true {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
    let (status, _, error) = read(&format!("&since={next}&before={next}")).await;
    assert_eq!((status, &error["code"]), (400, &json!("bad_request")), "{error}");
    let stranger = format!("/api/v1/conversations/7/messages?token={}", self::token("eve", &["message:8"]));
    assert_eq!(call(&pod, "GET", &stranger, &Value::Null).await.0, 403);
    block_in_place(|| pod.stop());
}
