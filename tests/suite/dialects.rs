//! The worked example of `docs/DIALECTS.md`, as its clients meet it, and dialects that leave things out.

use std::{path::Path, time::Duration};

use crate::harness::{Client, Seen, config, publication, publish, publish_as, settings};
use roomcast::testing::{
    auth::SigningKey,
    config::{Flags, HmacSecret, Variables, merge},
    model::Disconnect,
    pod::Pod,
};
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least thirty-two bytes";

const PAGE: &str = include_str!("../../docs/DIALECTS.md");

/// A pod with the policies and dialects of a file.
fn pod(toml: &str) -> Pod {
    let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("dialects.toml"), toml))).unwrap().settings;
    Pod::start(config(settings(|settings| {
        settings.policies = file.policies;
        settings.dialects = file.dialects;
        settings.limits.send_queue = file.limits.send_queue;
        settings.user_presence = file.user_presence;
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    })))
    .unwrap()
}

async fn open(pod: &Pod, target: &str) -> Client {
    Client::open(pod.addresses().plain[0], target, &[], &[], None).await.unwrap()
}

#[tokio::test]
async fn the_worked_example_works() {
    let example = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the example");
    let pod = pod(example);
    let mut ann = open(&pod, "/chat").await;
    let hello = ann.json().await;
    assert!(hello["hello"].is_string() && hello["at"].is_u64(), "{hello}");
    assert_eq!(ann.ask(json!({"do": "enter", "room": "blue", "ref": 1})).await, json!({"ok": 1}));
    let mut bob = open(&pod, "/chat").await;
    bob.json().await;
    assert_eq!(bob.ask(json!({"do": "enter", "room": "blue", "ref": "b"})).await, json!({"ok": "b"}));
    bob.send(r#"{"do":"beat"}"#).await;
    bob.send(r#"{"do":"say","room":"blue","text":"hi"}"#).await;
    for client in [&mut ann, &mut bob] {
        let said = client.json().await;
        assert_eq!(said, json!({"said": "hi", "in": "blue", "at": said["at"]}));
        assert!(said["at"].as_str().unwrap().ends_with('Z'));
    }
    let error = ann.ask(json!({"do": "enter", "ref": 2})).await;
    assert_eq!(error, json!({"error": "room is missing: /room must be a string or a number", "ref": 2}));
    let error = ann.ask(json!({"do": "enter", "room": "blue"})).await;
    assert_eq!(error, json!({"error": "already subscribed to chat:blue"}));
    // The native protocol is there for who asks for it, with the same rooms; elsewhere there is nothing.
    let address = pod.addresses().plain[0];
    let mut native = Client::open(address, "/chat", &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(native.json().await["type"], "welcome");
    native.subscribe("chat:blue").await;
    publish(&pod, "chat:blue", "said", "7").await;
    assert_eq!(native.json().await["events"][0]["data"], 7);
    assert_eq!(ann.json().await["said"], 7);
    assert_eq!(Client::open(address, "/chat/", &[], &[], None).await.err(), Some(404));
    // What is not described is native on /ws.
    assert_eq!(open(&pod, "/ws").await.json().await["type"], "welcome");
    pod.stop();
}

#[tokio::test]
async fn the_example_of_what_was_read_works() {
    let example = PAGE
        .split("\n## What users have read\n")
        .nth(1)
        .and_then(|rest| rest.split("```toml\n").nth(1))
        .expect("it is there");
    let toml = example.split("```").next().expect("its end");
    let secret = "a secret of at least thirty-two bytes";
    let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("dialects.toml"), toml))).unwrap().settings;
    let pod = Pod::start(config(settings(|settings| {
        (settings.policies, settings.dialects, settings.tokens) = (file.policies, file.dialects, file.tokens);
        settings.tokens.hmac_secrets = vec![HmacSecret::new(secret).unwrap()];
    })))
    .unwrap();
    for _ in 0..3 {
        publish(&pod, "dm:7", "said", "1").await;
    }
    let claims = json!({"sub": "ann", "exp": 4_102_444_800_u64});
    let token = SigningKey::secret(&HmacSecret::new(secret).unwrap()).token(&claims, None).unwrap();
    let target = format!("/inbox?token={token}");
    let (mut phone, mut laptop) = (open(&pod, &target).await, open(&pod, &target).await);
    // Joining says nothing here: a refused command is answered behind it.
    for client in [&mut phone, &mut laptop] {
        let refused = client.ask(json!({"event": "read", "in": 7, "upTo": "x"})).await;
        assert_eq!(refused, json!({"event": "error", "code": "bad_request"}));
    }
    assert_eq!(phone.ask(json!({"event": "read", "in": 7, "upTo": 4})).await["code"], "bad_position");
    phone.send(&json!({"event": "read", "in": 7, "upTo": 2}).to_string()).await;
    for client in [&mut phone, &mut laptop] {
        assert_eq!(client.json().await, json!({"event": "badge", "in": "7", "count": 1}));
    }
    pod.stop();
}

#[tokio::test]
async fn the_example_of_signals_works() {
    let example =
        PAGE.split("\n## Signals\n").nth(1).and_then(|rest| rest.split("```toml\n").nth(1)).expect("it is there");
    let pod = pod(example.split("```").next().expect("its end"));
    let (mut ann, mut bob) = (open(&pod, "/typing").await, open(&pod, "/typing").await);
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.ask(json!({"do": "enter", "in": 7})).await, json!({"entered": "7"}));
    }
    for start in [true, false] {
        let event = if start { "typing_start" } else { "typing_stop" };
        ann.send(&json!({"event": event, "in": 7}).to_string()).await;
        let said = bob.json().await;
        assert_eq!((&said["event"], &said["in"]), (&json!(event), &json!("7")), "{said}");
        assert!(said["by"].as_str().is_some_and(|by| by.len() == 16), "{said}");
    }
    pod.stop();
}

#[tokio::test]
async fn the_example_of_positions_works() {
    let example =
        PAGE.split("\n## Positions\n").nth(1).and_then(|rest| rest.split("```toml\n").nth(1)).expect("it is there");
    let pod = pod(example.split("```").next().expect("its end"));
    let mut ann = open(&pod, "/positions").await;
    let entered = ann.ask(json!({"do": "enter", "room": "blue"})).await;
    assert_eq!((&entered["entered"], &entered["caughtUp"]), (&json!("blue"), &json!(false)), "{entered}");
    let mut positions = Vec::new();
    for n in 1..=5 {
        publish(&pod, "chat:blue", "said", &n.to_string()).await;
        let said = ann.json().await;
        assert_eq!(said["said"], n);
        positions.push(said["at"].clone());
    }
    // It comes back behind the second.
    let mut again = open(&pod, "/positions").await;
    let entered = again.ask(json!({"do": "enter", "room": "blue", "after": positions[1]})).await;
    assert_eq!((&entered["caughtUp"], &entered["at"]), (&json!(true), &positions[1]), "{entered}");
    for n in 3..=5 {
        assert_eq!(again.json().await, json!({"said": n, "at": positions[n - 1]}));
    }
    let past = again.ask(json!({"do": "lookBack", "room": "blue", "after": positions[0], "most": 2})).await;
    let said = |n: usize| json!({"said": n, "at": positions[n - 1]});
    assert_eq!(past, json!({"past": [said(2), said(3)], "whole": false}), "there is more");
    let rest = again.ask(json!({"do": "lookBack", "room": "blue", "after": positions[2]})).await;
    assert_eq!(rest, json!({"past": [said(4), said(5)], "whole": true}));
    let newest = again.ask(json!({"do": "lookBack", "room": "blue", "most": 1})).await;
    assert_eq!(newest["past"], json!([said(5)]));
    for (bad, why) in
        [(json!({"after": "4"}), "since: \"4\" is not a position"), (json!({"most": -1}), "limit must be")]
    {
        let mut message = json!({"do": "lookBack", "room": "blue"});
        message.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        let error = again.ask(message).await;
        assert!(error["error"].as_str().is_some_and(|error| error.starts_with(why)), "{error}");
    }
    pod.stop();
}

/// By which clocks may differ.
const LEEWAY: u64 = 30;

const TOKENS: &str = r#"
[[policy]]
match = ["dm:*"]
join = "user"
acks = "keep"
[[dialect]]
name = "tokens"
paths = ["/tokens"]
id = "/ref"
[[dialect.command]]
when = { "/do" = "renew" }
does = "refresh"
token = "/token"
[[dialect.command]]
when = { "/do" = "count" }
does = "unread"
room = "dm:{/in}"
[[dialect.message]]
on = "done"
write = '{"done": "{id}", "until": "{expires_at?}"}'
[[dialect.message]]
on = "unread"
write = '{"in": "{room:id}", "unread": "{unread}"}'
[[dialect.message]]
on = "error"
write = '{"error": "{code}", "ref": "{id?}"}'
[[dialect.event]]
write = '{"said": "{data}"}'
"#;

#[tokio::test]
async fn a_token_that_came_with_the_request_is_replaced() {
    let pod = pod(TOKENS);
    let key = SigningKey::secret(&HmacSecret::new(SECRET).unwrap());
    let token = |user: &str, exp: u64| key.token(&json!({"sub": user, "exp": exp}), None).unwrap();
    let (first, second) = (4_102_444_800_u64, 4_102_444_900_u64);
    let mut ann = open(&pod, &format!("/tokens?token={}", token("ann", first))).await;
    let renewed = ann.ask(json!({"do": "renew", "ref": 1, "token": token("ann", second)})).await;
    assert_eq!(renewed, json!({"done": 1, "until": (second + LEEWAY) * 1000}));
    let refused = ann.ask(json!({"do": "renew", "ref": 2, "token": token("bob", second)})).await;
    assert_eq!(refused, json!({"error": "unauthorized", "ref": 2}));
    for _ in 0..2 {
        publish(&pod, "dm:7", "said", "1").await;
    }
    assert_eq!(ann.ask(json!({"do": "count", "in": 7})).await, json!({"in": "7", "unread": 2}));
    pod.stop();
}

#[tokio::test]
async fn the_example_of_presence_works() {
    let example = PAGE.split("\n## Presence of users\n").nth(1).and_then(|rest| rest.split("```toml\n").nth(1));
    let pod = pod(example.expect("it is there").split("```").next().expect("its end"));
    let key = SigningKey::secret(&HmacSecret::new(SECRET).unwrap());
    let open = async |user: &str| {
        let claims = json!({"sub": user, "exp": u32::MAX});
        let bearer = format!("Bearer {}", key.token(&claims, None).unwrap());
        let headers = [("Authorization", bearer.as_str())];
        Client::open(pod.addresses().plain[0], "/friends", &[], &headers, None).await.unwrap()
    };
    let mut bob = open("bob").await;
    assert_eq!(bob.ask(json!({"do": "follow", "whom": "ann"})).await, json!({"following": "ann"}));
    let mut ann = open("ann").await;
    let online = |status: &str| json!({"event": "presence", "user": "ann", "online": true, "status": status});
    assert_eq!(bob.json().await, online("online"));
    assert_eq!(ann.ask(json!({"do": "status", "status": "away", "ref": 5})).await, json!({"ok": 5}));
    assert_eq!(bob.json().await, online("away"));
    let error = ann.ask(json!({"do": "status", "status": "asleep", "ref": 6})).await;
    assert_eq!(error, json!({"error": "there is no status \"asleep\": it is one of online, away, busy, offline"}));
    ann.ask(json!({"do": "status", "status": "offline", "ref": 7})).await;
    let gone = bob.json().await;
    assert_eq!((&gone["online"], gone["last_seen"].is_null()), (&json!(false), false), "{gone}");
    pod.stop();
}

const SESSIONS: &str = r#"
[[policy]]
match = ["session:closed"]
join = "nobody"
[[policy]]
match = ["session:*"]
presence = "events"
[[dialect]]
name = "sessions"
paths = ["/s", "/sessions"]
rooms = ["session:{query:session}", "session:{query:other}"]
required_query = ["session"]
[[dialect.message]]
on = "refused"
write = '["refused", "{message}"]'
[[dialect.message]]
on = "subscribed"
write = '["in", "{room:id}"]'
[[dialect.message]]
on = "error"
write = '["error", "{code}", "{room?}"]'
[[dialect.event]]
write = '["{topic}", "{data}"]'
"#;

#[tokio::test]
async fn rooms_are_entered_as_the_address_says() {
    let pod = pod(SESSIONS);
    let mut client = open(&pod, "/s?session=a").await;
    assert_eq!(client.json().await, json!(["in", "a"]));
    // Presence is not said in this dialect: nothing comes of it.
    let mut other = open(&pod, "/sessions?session=a&other=closed").await;
    let mut said = [other.json().await, other.json().await];
    said.sort_by_key(Value::to_string);
    assert_eq!(said, [json!(["error", "forbidden", "session:closed"]), json!(["in", "a"])]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    publish(&pod, "session:a", "t", "1").await;
    assert_eq!((client.json().await, other.json().await), (json!(["t", 1]), json!(["t", 1])));
    // Without what is required: told so, then closed.
    let mut refused = open(&pod, "/s?other=a").await;
    assert_eq!(refused.json().await, json!(["refused", "session is missing in the query of the address"]));
    assert_eq!(refused.next().await, Seen::Close(Some(Disconnect::Refused.code())));
    pod.stop();
}

const NO_GAP: &str = r#"
[limits]
send_queue = "8KiB"
[[policy]]
match = ["state:*"]
conflate = "key"
[[policy]]
match = ["bare:*"]
history_size = 0
[[dialect]]
name = "plain"
paths = ["/p"]
[[dialect.command]]
does = "subscribe"
room = "{/room}"
[[dialect.message]]
on = "subscribed"
write = '"in"'
[[dialect.event]]
write = '["{key}", "{data}"]'
"#;

/// Fills a client's socket and queue until it is behind, without reading.
async fn flood(pod: &Pod, room: &str) {
    let text = serde_json::to_string(&"x".repeat(40_000)).unwrap();
    for n in 0..400 {
        let key = Some(format!("k{}", n % 3).into());
        publish_as(pod, room, roomcast::testing::model::Publication { key, ..publication("t", &text) }).await;
        tokio::task::yield_now().await;
    }
    let key = Some("last".into());
    publish_as(pod, room, roomcast::testing::model::Publication { key, ..publication("t", "\"end\"") }).await;
}

#[tokio::test]
async fn who_falls_behind_and_cannot_be_told_of_a_gap_is_brought_up_to_date_or_closed() {
    let pod = pod(NO_GAP);
    for (room, expected) in [("state:1", None), ("bare:1", Some(4008))] {
        let mut client = open(&pod, "/p").await;
        client.send(&json!({"room": room}).to_string()).await;
        assert_eq!(client.json().await, json!("in"));
        flood(&pod, room).await;
        let mut ended = None;
        loop {
            match client.next().await {
                Seen::Json(event) if event == json!(["last", "end"]) => break,
                Seen::Json(event) => assert!(event[0].as_str().unwrap().starts_with('k')),
                Seen::Close(code) => {
                    ended = code;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        // The log of the first room holds what is left after conflation, or it does not and the client is closed for that.
        assert!(ended == expected || (expected.is_none() && ended == Some(4010)), "{room}: {ended:?}");
    }
    pod.stop();
}

const RETRIES: &str = r#"
[[policy]]
match = ["chat:*"]
publish = "anyone"
[[dialect]]
name = "retries"
paths = ["/retries"]
id = "/ref"
[[dialect.command]]
when = { "/do" = "say" }
does = "publish"
room = "chat:{/room}"
topic = "said"
event_id = "{/message}"
idempotency_key = "{/message}"
data = "/text"
[[dialect.message]]
on = "published"
write = '{"stored": "{offset}", "ref": "{id?}"}'
[[dialect.message]]
on = "error"
write = '{"error": "{code}", "ref": "{id?}"}'
[[dialect.event]]
write = '{"said": "{data}", "message": "{event_id?}"}'
"#;

#[tokio::test]
async fn a_message_that_is_sent_again_is_one_event() {
    let pod = pod(RETRIES);
    let say = |reference: u64, text: &str, message: Option<&str>| json!({"do": "say", "room": "blue", "ref": reference, "text": text, "message": message});
    let mut ann = open(&pod, "/retries").await;
    assert_eq!(ann.ask(say(1, "hi", Some("m-1"))).await, json!({"stored": 1, "ref": 1}));
    let mut again = open(&pod, "/retries").await;
    assert_eq!(again.ask(say(2, "hi", Some("m-1"))).await, json!({"stored": 1, "ref": 2}));
    assert_eq!(again.ask(say(3, "ho", Some("m-1"))).await, json!({"error": "conflict", "ref": 3}));
    assert_eq!(again.ask(say(4, "hi", None)).await, json!({"stored": 2, "ref": 4}));
    assert_eq!(again.ask(say(5, "hi", None)).await, json!({"stored": 3, "ref": 5}));
    assert_eq!(again.ask(say(6, "hi", Some(&"x".repeat(256)))).await, json!({"error": "limit_exceeded", "ref": 6}));
    pod.stop();
}
