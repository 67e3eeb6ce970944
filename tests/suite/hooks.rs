//! A backend that decides who connects, who joins and what is published: a real HTTP server, over every way in.

mod absent;
pub mod backend;
mod calls;
mod connect;
pub mod dialects;
mod rooms;
mod rpc;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::ca::Ca;
use crate::harness::{Client, SOON, config, get, pod, publish, rule, settings};
use crate::webtransport::client::{Page, ask, code};
use backend::{Asked, Backend, Does};
use roomcast::testing::{
    auth::SigningKey,
    config::{
        Flags, HmacSecret, HookSecret, HookUrl, Machine, PersonalRoom, Settings, SettingsError, Variables, merge,
        resolve,
    },
    metrics::HOOK_DESCRIPTIONS,
    model::{Access, AckMode, PresenceMode, Retain},
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
    let event = json!({
        "type": "publish", "room": "project:7", "topic": "note", "key": "n1", "event_id": "m-91",
        "idempotency_key": "m-91", "data": {"text": "hello"},
    });
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
    assert_eq!(event["id"], "m-91");
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

#[test]
fn a_configuration_that_asks_nobody_is_refused() {
    let machine = Machine {
        cores: 1,
        open_files: 1_000,
        memory: roomcast::testing::config::MemoryCeiling::detect(),
        state_dir: None,
        api_key: roomcast::testing::config::ApiKey::new("k".into()).unwrap(),
    };
    let with = |change: &dyn Fn(&mut Settings)| resolve(settings(change), &machine);
    let missing = with(&|settings| settings.default_policy.publish_hook = true).unwrap_err();
    assert_eq!(missing, [SettingsError::Hook("publish")]);
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
    for warning in ["it is never asked", "over http, anything on the path", "no token is sent"] {
        assert!(config.warnings.iter().any(|said| said.contains(warning)), "{warning}: {:?}", config.warnings);
    }
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    // A backend alone is an audience.
    let production = |connect: Option<HookUrl>| {
        let mut settings = Settings::default();
        settings.general.dev = Some(false);
        settings.general.plain_listen =
            Some(vec![roomcast::testing::config::ListenAddress::Ip(([127, 0, 0, 1], 0).into())]);
        settings.hooks.connect = connect;
        resolve(settings, &machine).map(|_| ())
    };
    assert_eq!((production(None), production(Some(url()))), (Err(vec![SettingsError::Audience]), Ok(())));
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
