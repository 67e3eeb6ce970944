//! A backend that decides who connects, who joins and what is published: a real HTTP server, over every way in.

mod backend;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::ca::Ca;
use crate::harness::{Client, SOON, config, get, pod, publish, rule, settings};
use crate::webtransport::client::{Page, ask, code};
use backend::{Asked, Backend, Does};
use roomcast::{
    auth::SigningKey,
    config::{
        Flags, HmacSecret, HookSecret, HookUrl, Machine, Missing, PersonalRoom, Settings, Variables, merge, resolve,
    },
    metrics::HOOK_DESCRIPTIONS,
    model::{Access, PresenceMode, Retain},
    pod::Pod,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const SECRET: &str = "a secret of at least thirty-two bytes";
const DOCUMENT: &str = include_str!("../../docs/HOOKS.md");

/// An example of the document.
fn example(name: &str) -> Value {
    let start = format!("\n```json {name}\n");
    let rest = DOCUMENT.split(&start).nth(1).unwrap_or_else(|| panic!("the example {name} is no longer there"));
    serde_json::from_str(rest.split("\n```").next().unwrap()).unwrap()
}

fn token(claims: &Value) -> String {
    SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(claims, None).unwrap()
}

/// A pod whose rooms `asked:*` are the backend's to decide.
fn asking(settings: &mut Settings, backend: &Backend) {
    settings.hooks.subscribe = Some(backend.url("/subscribe"));
    settings.hooks.publish = Some(backend.url("/publish"));
    settings.hooks.timeout = Duration::from_millis(500);
    settings.policies = vec![rule("asked:*", |policy| {
        policy.subscribe_hook = true;
        policy.publish_hook = true;
        policy.publish = Access::Anyone;
        policy.presence = PresenceMode::List;
    })];
}

/// A pod that asks about who connects.
fn judging(settings: &mut Settings, backend: &Backend) {
    settings.hooks.connect = Some(backend.url("/connect"));
    settings.hooks.timeout = Duration::from_millis(500);
}

fn yes() -> Does {
    Does::Says(json!({"allow": true}))
}

fn no() -> Does {
    Does::Says(json!({"allow": false, "message": "not you"}))
}

/// The value of a series.
async fn count(pod: &Pod, series: &str) -> f64 {
    let (_, text) = get(pod, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

async fn questions(pod: &Pod, hook: &str, result: &str) -> f64 {
    count(pod, &format!("roomcast_hook_questions_total{{hook=\"{hook}\",result=\"{result}\"}}")).await
}

/// An answer to a request of HTTP: the status, the head and the body.
async fn http(address: SocketAddr, method: &str, target: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

/// A WebSocket's upgrade that is refused: the status, the head and the body.
async fn refused(address: SocketAddr, target: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn the_documents_questions_are_asked_and_its_answers_understood() {
    let backend = Backend::start(|asked, _| match &*asked.path {
        "/connect" => Does::Says(example("connect-answer")),
        "/publish" => Does::Says(example("publish-answer")),
        _ if asked.body["room"] == "project:7" => Does::Says(example("subscribe-answer")),
        _ => Does::Says(example("denial")),
    })
    .await;
    let pod = pod(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.tokens.keep_claims = true;
        // As the document's configuration says, but for the addresses.
        let text = DOCUMENT.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let variables = Variables::from([("HOOK_SECRET".to_owned(), "0123456789abcdef".to_owned())]);
        let described =
            merge(&Flags::new(), &variables, Some((std::path::Path::new("example"), text))).unwrap().settings;
        settings.policies = described.policies;
        settings.hooks = described.hooks;
        settings.hooks.connect = Some(backend.url("/connect"));
        settings.hooks.subscribe = Some(backend.url("/subscribe"));
        settings.hooks.publish = Some(backend.url("/publish"));
        settings.hooks.headers = vec!["cookie".parse().unwrap()];
        settings.policies.push(rule("notes:*", |policy| policy.publish = Access::Claim));
    });
    let signed = token(&json!({"sub": "ann", "exp": 4_102_444_800_u64, "team": "red"}));
    let target = format!("/ws?page=board&token={signed}");
    let address = pod.addresses().plain[0];
    let mut client = Client::open(address, &target, &["roomcast.v1"], &[("Cookie", "session=1")], None).await.unwrap();
    let welcome = client.json().await;
    let given = client.json().await;
    assert_eq!((&given["type"], &given["room"]), (&json!("subscribed"), &json!("team:red")));
    let joined = client.ask(json!({"type": "subscribe", "room": "project:7", "id": 1})).await;
    assert_eq!((&joined["type"], &joined["id"]), (&json!("subscribed"), &json!(1)), "{joined}");
    let shown = client.json().await;
    assert_eq!((&shown["retained"], &shown["events"][0]["data"]), (&json!(true), &json!({"cards": 3})), "{shown}");
    let denied = client.ask(json!({"type": "subscribe", "room": "project:8"})).await;
    let denial = example("denial");
    assert_eq!((&denied["code"], &denied["message"]), (&denial["code"], &denial["message"]), "{denied}");
    assert_eq!(denied["room"], "project:8");
    let event =
        json!({"type": "publish", "room": "project:7", "topic": "note", "key": "n1", "data": {"text": "hello"}});
    client.send(&event.to_string()).await;
    let (mut published, mut events) = (client.json().await, client.json().await);
    if published["type"] == "events" {
        std::mem::swap(&mut published, &mut events);
    }
    assert_eq!(published["type"], "published");
    let event = &events["events"][0];
    let rewritten = example("publish-answer");
    assert_eq!((&event["topic"], &event["data"]), (&rewritten["topic"], &rewritten["data"]), "{event}");
    assert_eq!((&event["key"], &event["user"]), (&json!("n1"), &json!("ann")), "what is left out stays");
    // A right that the backend gave.
    let noted = client.ask(json!({"type": "publish", "room": "notes:7", "topic": "t", "data": 1})).await;
    assert_eq!(noted["type"], "published", "{noted}");

    let asked = backend.asked();
    let of = |path: &str| asked.iter().find(|asked| asked.path == path).unwrap();
    for (path, name) in [("/connect", "connect"), ("/subscribe", "subscribe"), ("/publish", "publish")] {
        let (mut body, mut expected) = (of(path).body.clone(), example(name));
        if name != "connect" {
            assert_eq!(body["connection"], welcome["connection"]);
            // What the backend said of the user when it connected counts from then on.
            expected["claims"] = json!({"team": "red"});
            expected["connection"] = body["connection"].take();
            body["connection"] = expected["connection"].clone();
        }
        assert_eq!(body, expected);
    }
    for asked in &asked {
        assert_eq!(asked.header("authorization"), Some("Bearer 0123456789abcdef"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        let name = asked.header("idempotency-key").expect("a name of the question");
        assert_eq!(backend.asked().iter().filter(|other| other.header("idempotency-key") == Some(name)).count(), 1);
        assert!(!asked.body.to_string().contains(&signed), "never the token");
    }
    pod.stop();
}

#[tokio::test]
async fn who_connects_is_the_backends_to_decide() {
    let backend = Backend::start(|asked, _| match asked.body["query"]["as"].as_str() {
        Some("ann") => Does::Says(json!({"allow": true, "user": "ann"})),
        Some("guest") => yes(),
        Some("unknown") => Does::Says(json!({"allow": false, "code": "unauthorized", "message": "who are you?"})),
        Some("soon") => Does::Says(json!({"allow": false, "code": "rate_limited", "message": "later"})),
        Some("broken") => Does::Answers(403, "{\"allow\":true}".to_owned()),
        _ => no(),
    })
    .await;
    let pod = pod(|settings| {
        judging(settings, &backend);
        // Nobody judges tokens: the backend alone lets clients in.
        settings.general.anonymous = Some(false);
        settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
        settings.policies = vec![
            rule("user:*", |policy| policy.join = Access::Owner),
            rule("for:users", |policy| policy.join = Access::User),
        ];
    });
    let address = pod.addresses().plain[0];
    let open = async |target: &str| Client::open(address, target, &["roomcast.v1"], &[], None).await;
    let mut ann = open("/ws?as=ann").await.unwrap();
    assert_eq!(ann.json().await["type"], "welcome");
    assert_eq!(ann.json().await["room"], "user:ann");
    ann.subscribe("for:users").await;
    let mut guest = open("/ws?as=guest").await.unwrap();
    assert_eq!(guest.json().await["type"], "welcome");
    let answer = guest.ask(json!({"type": "subscribe", "room": "for:users"})).await;
    assert_eq!(answer["code"], "forbidden", "let in, as nobody");
    for (target, status, says) in [
        ("/ws?as=bob", 403, "not you\n"),
        ("/ws?as=unknown", 401, "who are you?\n"),
        ("/ws?as=soon", 429, "later\n"),
        ("/ws?as=broken", 503, "the backend that decides this gives no answer: try again later\n"),
    ] {
        let (got, head, body) = refused(address, target).await;
        assert_eq!((got, &*body), (status, says), "{target}");
        assert_eq!(head.contains("retry-after"), status >= 429, "{head}");
    }
    assert_eq!(count(&pod, "roomcast_handshakes_total{stage=\"upgrade\",result=\"hook\"}").await, 4.0);
    assert_eq!(questions(&pod, "connect", "denied").await, 3.0);
    assert_eq!(questions(&pod, "connect", "allowed").await, 2.0);
    assert_eq!(questions(&pod, "connect", "failed").await, 1.0);
    // A poll and an event stream ask as well, and are answered in JSON.
    for path in ["/poll", "/events"] {
        let (status, _, body) = http(address, "GET", &format!("{path}?room=a&as=bob"), "").await;
        assert_eq!(status, 400, "polls take no parameters but their own: {body}");
    }
    let (status, _, body) = http(address, "GET", "/poll?room=a", "").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["message"]),
        (403, &json!("forbidden"), &json!("not you"))
    );
    assert_eq!(backend.asked().last().unwrap().body["transport"], "poll");
    // A page over WebTransport is told by a close.
    let quic = pod.addresses().quic[0];
    let mut page = Page::connect_to(quic, "/wt?as=guest").await;
    assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong");
    for (target, expected) in [("/wt?as=bob", 4003), ("/wt?as=unknown", 4001), ("/wt?as=broken", 1013)] {
        let (_endpoint, session) = ask(quic, target, &[], |_| {}).await.expect("it is accepted to be told");
        assert_eq!(code(&session.closed().await), Some(expected), "{target}");
    }
    assert_eq!(backend.asked().last().unwrap().body["transport"], "webtransport");
    pod.stop();
}

#[tokio::test]
async fn tokens_that_only_the_backend_knows_are_handed_on() {
    let backend = Backend::start(|asked, _| match asked.body["token"].as_str() {
        Some("t-ann") => Does::Says(json!({"allow": true, "user": "ann", "claims": {"n": 1}})),
        Some("t-ann-2") => Does::Says(json!({"allow": true, "user": "ann", "claims": {"n": 2}})),
        Some("t-bob") => Does::Says(json!({"allow": true, "user": "bob"})),
        Some("t-short") => {
            let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 700;
            Does::Says(json!({"allow": true, "user": "ann", "expires_at": u64::try_from(soon).unwrap()}))
        }
        Some("t-odd") => Does::Answers(500, String::new()),
        _ => Does::Says(json!({"allow": false, "code": "unauthorized", "message": "no such token"})),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        judging(settings, &backend);
        settings.hooks.token = true;
        settings.general.anonymous = Some(false);
    });
    let address = pod.addresses().plain[0];
    let open = async |target: &str| Client::open(address, target, &["roomcast.v1"], &[], None).await;
    assert_eq!(open("/ws?token=t-no").await.err(), Some(401));
    let mut client = open("/ws?token=t-ann").await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    // Another token of the same user is asked about as a refresh; somebody else's is not taken.
    let done = client.ask(json!({"type": "refresh", "token": "t-ann-2"})).await;
    assert_eq!(done["type"], "done", "{done}");
    let last = backend.asked().last().unwrap().clone();
    assert_eq!((&last.body["refresh"], &last.body["token"]), (&json!(true), &json!("t-ann-2")));
    assert!(last.body["connection"].is_string() && last.body["path"] == "/ws");
    let other = client.ask(json!({"type": "refresh", "token": "t-bob"})).await;
    assert_eq!(other["code"], "unauthorized");
    for (token, code) in [("t-no", "unauthorized"), ("t-odd", "unavailable")] {
        let refused = client.ask(json!({"type": "refresh", "token": token})).await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    assert_eq!(client.ask(json!({"type": "ping"})).await["type"], "pong", "it stays as it was");
    client.send(&json!({"type": "subscribe", "room": "asked:1"}).to_string()).await;
    client.json().await;
    let last = backend.asked().last().unwrap().body.clone();
    assert_eq!((&last["user"], &last["claims"]), (&json!("ann"), &json!({"n": 2})));

    // A token that comes later, behind it a command that waits for it.
    let mut later = open("/ws").await.unwrap();
    assert_eq!(later.json().await["type"], "welcome");
    assert_eq!(later.ask(json!({"type": "subscribe", "room": "a"})).await["code"], "unauthorized");
    assert_eq!(later.ask(json!({"type": "connect", "token": "t-odd"})).await["code"], "unavailable");
    later.send(&json!({"type": "connect", "token": "t-ann"}).to_string()).await;
    later.send(&json!({"type": "subscribe", "room": "a"}).to_string()).await;
    assert_eq!(later.json().await["type"], "done");
    assert_eq!(later.json().await["type"], "subscribed");
    let mut stranger = open("/ws").await.unwrap();
    stranger.json().await;
    assert_eq!(stranger.ask(json!({"type": "connect", "token": "t-no"})).await["code"], "unauthorized");
    assert_eq!(stranger.closed().await, Some(4001));
    // The end that the backend states.
    let mut short = open("/ws?token=t-short").await.unwrap();
    short.json().await;
    assert_eq!(short.closed().await, Some(4002));
    pod.stop();
}

#[tokio::test]
async fn a_verified_token_stands_beside_the_backend() {
    let backend = Backend::start(|asked, _| match asked.body["query"]["as"].as_str() {
        Some(user) => Does::Says(json!({"allow": true, "user": user})),
        None => yes(),
    })
    .await;
    let pod = pod(|settings| {
        judging(settings, &backend);
        settings.general.anonymous = Some(false);
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    });
    let address = pod.addresses().plain[0];
    let signed = token(&json!({"sub": "ann", "exp": 4_102_444_800_u64}));
    for (target, status) in [
        ("/ws?token=forged".to_owned(), Some(401)),
        (format!("/ws?token={signed}&as=bob"), Some(503)),
        (format!("/ws?token={signed}&as=ann"), None),
        (format!("/ws?token={signed}"), None),
    ] {
        let opened = Client::open(address, &target, &["roomcast.v1"], &[], None).await;
        assert_eq!(opened.err(), status, "{target}");
    }
    assert_eq!(backend.asked().len(), 3, "a forged token asks nobody");
    assert_eq!(backend.asked()[0].body["user"], "ann");
    // Without a token a client waits for its own, as without a backend.
    let mut later = Client::open(address, "/ws", &["roomcast.v1"], &[], None).await.unwrap();
    later.json().await;
    assert_eq!(later.ask(json!({"type": "connect", "token": signed})).await["type"], "done");
    let (status, _, _) = http(address, "GET", "/poll?room=a", "").await;
    assert_eq!(status, 401);
    pod.stop();
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_not_called_a_denial() {
    let backend = Backend::start(|asked, _| match asked.body["room"].as_str().unwrap() {
        "asked:hangs" => Does::Hangs,
        "asked:500" => Does::Answers(500, "{\"allow\":true}".to_owned()),
        "asked:302" => Does::Answers(302, "{\"allow\":true}".to_owned()),
        "asked:404" => Does::Answers(404, "{\"allow\":false}".to_owned()),
        "asked:rubbish" => Does::Answers(200, "<html>".to_owned()),
        "asked:typo" => Does::Says(json!({"allow": true, "expires": 1})),
        "asked:large" => Does::Says(json!({"allow": true, "events": [{"topic": "t", "data": "x".repeat(300_000)}]})),
        "asked:drops" => Does::Drops,
        _ => no(),
    })
    .await;
    let pod = pod(|settings| asking(settings, &backend));
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for room in ["hangs", "500", "302", "404", "rubbish", "typo", "large", "drops"] {
        let began = Instant::now();
        let answer = client.ask(json!({"type": "subscribe", "room": format!("asked:{room}"), "id": room})).await;
        assert_eq!((&answer["code"], &answer["id"]), (&json!("unavailable"), &json!(room)), "{answer}");
        assert_eq!(answer["message"], "the backend that decides this gives no answer: try again later");
        assert!(began.elapsed() < Duration::from_secs(2), "{room}");
        let published =
            client.ask(json!({"type": "publish", "room": format!("asked:{room}"), "topic": "t", "data": 1})).await;
        assert_eq!(published["code"], "unavailable", "{published}");
    }
    let answer = client.ask(json!({"type": "subscribe", "room": "asked:no"})).await;
    assert_eq!((&answer["code"], &answer["message"]), (&json!("forbidden"), &json!("not you")));
    for (result, expected) in
        [("timeout", 1.0), ("failed", 4.0), ("bad_answer", 3.0), ("denied", 1.0), ("allowed", 0.0), ("full", 0.0)]
    {
        assert_eq!(questions(&pod, "subscribe", result).await, expected, "{result}");
    }
    // Nobody is in a room, and nothing is in a log.
    assert_eq!(client.ask(json!({"type": "stats"})).await["rooms"], 0);
    let (_, rooms) = get_api(&pod, "/api/rooms/asked:500/history").await;
    assert_eq!(rooms["events"], json!([]), "{rooms}");
    pod.stop();
}

/// What the API answers.
async fn get_api(pod: &Pod, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-key\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_question_is_asked_again_where_that_can_help() {
    let backend = Backend::start(|asked, before| match (asked.body["room"].as_str().unwrap(), before) {
        ("asked:drops", 0) => Does::Drops,
        ("asked:drops", 1) => Does::Answers(503, String::new()),
        (room, _) if room.starts_with("asked:5") => Does::Answers(room[6..].parse().unwrap(), String::new()),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.hooks.timeout = Duration::from_secs(2);
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("asked:drops").await;
    let asked = backend.asked();
    let names: BTreeSet<_> = asked.iter().map(|asked| asked.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!((asked.len(), names.len()), (3, 1), "three times, by one name");
    assert_eq!(asked[0].body, asked[2].body);
    for (status, times) in [(502, 3), (504, 3), (500, 1), (501, 1)] {
        let before = backend.asked().len();
        let answer = client.ask(json!({"type": "subscribe", "room": format!("asked:{status}")})).await;
        assert_eq!((&answer["code"], backend.asked().len() - before), (&json!("unavailable"), times), "{status}");
    }
    assert_eq!(count(&pod, "roomcast_hook_retries_total{hook=\"subscribe\"}").await, 6.0);
    pod.stop();

    // The pauses stay within the time.
    let away = HookUrl::parse("http://127.0.0.1:9/").unwrap();
    let pod = crate::harness::pod(|settings| {
        asking(settings, &backend);
        settings.hooks.subscribe = Some(away);
        settings.hooks.timeout = Duration::from_millis(300);
        settings.hooks.retries = 10;
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let began = Instant::now();
    let answer = client.ask(json!({"type": "subscribe", "room": "asked:1"})).await;
    assert_eq!(answer["code"], "unavailable");
    assert!((250..900).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    pod.stop();
}

#[tokio::test]
async fn answers_are_kept_for_as_long_as_they_say() {
    let backend = Backend::start(|asked, _| match asked.body["room"].as_str().unwrap() {
        "asked:kept" => Does::Says(json!({"allow": true, "cache_for": 400})),
        "asked:no" => Does::Says(json!({"allow": false, "cache_for": 60_000})),
        "asked:slow" => Does::Ponders(Duration::from_millis(150), json!({"allow": true, "cache_for": 60_000})),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| asking(settings, &backend));
    let address = pod.addresses().plain[0];
    let times = |room: &str| backend.asked().iter().filter(|asked| asked.body["room"] == room).count();
    for _ in 0..3 {
        let mut client = Client::connect(address).await;
        client.subscribe("asked:kept").await;
        client.subscribe("asked:each").await;
        assert_eq!(client.ask(json!({"type": "subscribe", "room": "asked:no"})).await["code"], "forbidden");
    }
    assert_eq!((times("asked:kept"), times("asked:no"), times("asked:each")), (1, 1, 3));
    assert_eq!(questions(&pod, "subscribe", "cached").await, 4.0);
    assert!(count(&pod, "roomcast_hook_cache_bytes{hook=\"subscribe\"}").await > 500.0);
    sleep(Duration::from_millis(450)).await;
    Client::connect(address).await.subscribe("asked:kept").await;
    assert_eq!(times("asked:kept"), 2, "its time is over");
    // Many who ask the same at once are one question.
    let clients: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move {
                Client::connect(address).await.subscribe("asked:slow").await;
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(times("asked:slow"), 1);
    pod.stop();
}

#[tokio::test]
async fn what_is_too_much_at_once_is_refused_and_named() {
    let backend = Backend::start(|asked, _| match asked.body["room"].as_str().unwrap() {
        "asked:slow" => Does::Ponders(Duration::from_millis(400), json!({"allow": true})),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.hooks.in_flight = 1;
        settings.hooks.timeout = Duration::from_secs(5);
    });
    let address = pod.addresses().plain[0];
    let (mut slow, mut other) = (Client::connect(address).await, Client::connect(address).await);
    slow.send(&json!({"type": "subscribe", "room": "asked:slow"}).to_string()).await;
    let began = Instant::now();
    while backend.asked().is_empty() {
        assert!(began.elapsed() < SOON);
        sleep(Duration::from_millis(5)).await;
    }
    let answer = other.ask(json!({"type": "subscribe", "room": "asked:1"})).await;
    assert_eq!(answer["code"], "unavailable");
    assert_eq!(answer["message"], "too many clients wait for the backend that decides this: try again later");
    assert_eq!(questions(&pod, "subscribe", "full").await, 1.0);
    assert_eq!(count(&pod, "roomcast_hook_in_flight").await, 1.0);
    assert_eq!(slow.json().await["type"], "subscribed");
    other.subscribe("asked:1").await;
    assert_eq!(count(&pod, "roomcast_hook_in_flight").await, 0.0);
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
    for _ in 0..8 {
        let answer = client.json().await;
        assert_eq!(answer["id"], 5, "{answer}");
        match answer["code"].as_str() {
            Some(code) => codes.push(code.to_owned()),
            None => joined += 1,
        }
    }
    codes.sort();
    assert_eq!(
        (joined, codes),
        (4, ["forbidden", "limit_exceeded", "limit_exceeded", "limit_exceeded"].map(str::to_owned).to_vec())
    );
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

fn chat(settings: &mut Settings) {
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
struct Polling {
    address: SocketAddr,
    target: String,
}

impl Polling {
    async fn open(address: SocketAddr, query: &str) -> Self {
        let target = format!("/socket.io/?EIO=4&transport=polling{query}");
        let (status, _, body) = http(address, "GET", &target, "").await;
        assert_eq!(status, 200, "{body}");
        let open: Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
        Self { address, target: format!("{target}&sid={}", open["sid"].as_str().unwrap()) }
    }

    async fn send(&self, packets: &str) {
        assert_eq!(http(self.address, "POST", &self.target, packets).await.2, "ok");
    }

    /// The next packets.
    async fn get(&self) -> Vec<String> {
        let (status, _, body) = http(self.address, "GET", &self.target, "").await;
        assert_eq!(status, 200, "{body}");
        body.split('\x1e').map(str::to_owned).collect()
    }

    async fn ask(&self, packets: &str) -> String {
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
    let hung = client.ask("40{\"name\":\"hangs\"}").await;
    assert!(hung.starts_with("44{") && hung.contains("\"code\":\"unavailable\""), "{hung}");
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

#[tokio::test]
async fn the_backend_is_trusted_by_its_certificate() {
    // Nothing that speaks TLS is there: what matters is that the file is read when the pod starts.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut broken = settings(|settings| {
        settings.hooks.connect = Some(HookUrl::parse("https://127.0.0.1:9/").unwrap());
        settings.hooks.ca = Some(file.path().to_owned());
    });
    let error = Pod::start(config(broken.clone())).err().expect("it does not start").to_string();
    assert!(error.contains("the hooks cannot be set up") && error.contains("has no certificate"), "{error}");
    broken.hooks.ca = None;
    let pod = Pod::start(config(broken)).unwrap();
    assert_eq!(refused(pod.addresses().plain[0], "/ws").await.0, 503);
    pod.stop();
}

#[tokio::test]
async fn only_a_backend_that_is_trusted_decides() {
    let (ca, stranger) = (Ca::new("ours"), Ca::new("another"));
    let backend = Backend::start_over(Some(ca.acceptor()), |asked, _| match &*asked.path {
        "/connect" if asked.body["query"]["as"] == "bob" => no(),
        _ => yes(),
    })
    .await;
    let with = |ca: Option<&Ca>| {
        pod(|settings| {
            judging(settings, &backend);
            asking(settings, &backend);
            settings.hooks.secret = HookSecret::new("0123456789abcdef");
            settings.hooks.ca = ca.map(Ca::file);
        })
    };
    // By the authority that the operator names.
    let trusting = with(Some(&ca));
    let address = trusting.addresses().plain[0];
    let mut client = Client::connect(address).await;
    client.subscribe("asked:1").await;
    let answer = client.ask(json!({"type": "publish", "room": "asked:1", "topic": "t", "data": 1})).await;
    assert!(answer["type"] == "published" || answer["type"] == "events", "{answer}");
    assert_eq!(refused(address, "/ws?as=bob").await.0, 403);
    let asked = backend.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some("Bearer 0123456789abcdef")));
    for (hook, result, expected) in [
        ("connect", "allowed", 1.0),
        ("connect", "denied", 1.0),
        ("subscribe", "allowed", 1.0),
        ("publish", "allowed", 1.0),
    ] {
        assert_eq!(questions(&trusting, hook, result).await, expected, "{hook} {result}");
    }
    trusting.stop();
    // By nobody, or by another authority: it is asked nothing, told no secret, and nobody is let in.
    for ca in [None, Some(&stranger)] {
        let pod = with(ca);
        let address = pod.addresses().plain[0];
        for target in ["/ws", "/ws?as=bob"] {
            let (status, head, body) = refused(address, target).await;
            assert_eq!((status, head.contains("retry-after: ")), (503, true), "{head}");
            assert!(body.contains("the backend that decides this gives no answer: try again later"), "{body}");
            assert!(!body.contains("certificate") && !body.contains("UnknownIssuer"), "nothing of the backend: {body}");
        }
        assert_eq!(questions(&pod, "connect", "failed").await, 2.0);
        assert_eq!(questions(&pod, "connect", "allowed").await + questions(&pod, "connect", "denied").await, 0.0);
        pod.stop();
    }
    // Neither is one that speaks no TLS where https is asked, nor the other way round.
    let plain = Backend::start(|_, _| yes()).await;
    for url in [format!("https://{}/", plain.address), format!("http://{}/", backend.address)] {
        let pod = pod(|settings| {
            settings.hooks.connect = Some(HookUrl::parse(&url).unwrap());
            settings.hooks.timeout = Duration::from_millis(500);
            settings.hooks.ca = Some(ca.file());
        });
        assert_eq!(refused(pod.addresses().plain[0], "/ws").await.0, 503, "{url}");
        pod.stop();
    }
    assert_eq!((backend.asked().len(), plain.asked().len()), (4, 0));
}

#[test]
fn a_configuration_that_asks_nobody_is_refused() {
    let machine = Machine {
        cores: 1,
        open_files: 1_000,
        state_dir: None,
        api_key: roomcast::config::ApiKey::new("k".into()).unwrap(),
    };
    let with = |change: &dyn Fn(&mut Settings)| resolve(settings(change), &machine);
    let missing = with(&|settings| settings.default_policy.publish_hook = true).unwrap_err();
    assert_eq!(missing, [Missing::Hook("publish")]);
    let missing =
        with(&|settings| settings.policies = vec![rule("a:*", |policy| policy.subscribe_hook = true)]).unwrap_err();
    assert!(missing[0].to_string().contains("set `hooks.subscribe`"), "{missing:?}");
    let url = || HookUrl::parse("http://backend.svc/").unwrap();
    let config = with(&|settings| {
        settings.hooks.subscribe = Some(url());
        settings.hooks.secret = HookSecret::new("0123456789abcdef");
        settings.hooks.token = true;
    })
    .unwrap();
    for warning in ["it is never asked", "over http, whoever is on the way", "nobody is told a token"] {
        assert!(config.warnings.iter().any(|said| said.contains(warning)), "{warning}: {:?}", config.warnings);
    }
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    // A backend alone is an audience.
    let production = |connect: Option<HookUrl>| {
        let mut settings = Settings::default();
        settings.general.dev = Some(false);
        settings.general.plain_listen = Some(vec![roomcast::config::ListenAddress::Ip(([127, 0, 0, 1], 0).into())]);
        settings.hooks.connect = connect;
        resolve(settings, &machine).map(|_| ())
    };
    assert_eq!((production(None), production(Some(url()))), (Err(vec![Missing::Audience]), Ok(())));
}

#[tokio::test]
async fn every_metric_of_hooks_is_described() {
    let backend = Backend::start(|_, _| yes()).await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        judging(settings, &backend);
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("asked:1").await;
    let (_, text) = get(&pod, "/metrics").await;
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .filter(|name| name.starts_with("roomcast_hook_"))
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name))
        .collect();
    assert_eq!(names, HOOK_DESCRIPTIONS.iter().map(|(name, _)| *name).collect());
    let guide = include_str!("../../docs/OPERATIONS.md");
    for (name, says) in HOOK_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")) && guide.contains(&format!("`{name}")), "{name}");
    }
    pod.stop();
    let pod = crate::harness::pod(|_| {});
    assert!(!get(&pod, "/metrics").await.1.contains("roomcast_hook_"), "a pod that asks nobody has none of them");
    pod.stop();
}
