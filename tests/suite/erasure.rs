//! A user is erased, and a room: what is left of it, on two pods and in Redis.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use crate::{
    harness::{Client, pod, publish, rule},
    users::{call, connect, known, over, ready},
};
use roomcast::testing::{
    config::{PersonalRoom, Settings},
    model::{Access, AckMode, Retain},
    pod::Pod,
};

/// All of Redis as text that names `ARGV[1]`.
pub const SEARCH: &str = "
local function flat(value)
  if type(value) ~= 'table' then return tostring(value) end
  local parts = {}
  for i, part in ipairs(value) do parts[i] = flat(part) end
  return table.concat(parts, ' ')
end
local reads = { string = { 'GET' }, hash = { 'HGETALL' }, set = { 'SMEMBERS' }, zset = { 'ZRANGE', '0', '-1' }, stream = { 'XRANGE', '-', '+' } }
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local read = reads[redis.call('TYPE', key).ok]
  local text = key .. ' = ' .. flat(redis.call(read[1], key, unpack(read, 2)))
  if string.find(text, ARGV[1], 1, true) then found[#found + 1] = text end
end
return table.concat(found, '; ')";

fn social(settings: &mut Settings) {
    known(settings);
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
    settings.user_presence.room = Some(PersonalRoom::parse("presence:{user}").unwrap());
    settings.user_presence.offline_after = Duration::from_secs(600);
    settings.acks.every = Duration::from_secs(600);
    settings.policies = vec![
        rule("chat:*", |policy| policy.acks = AckMode::Keep),
        rule("user:*", |policy| policy.join = Access::Owner),
        rule("presence:*", |policy| policy.retain = Retain::Room),
    ];
}

async fn api(pod: &Pod, method: &str, path: &str) -> (u16, Value) {
    let head = format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer test-key");
    let (status, body) = call(pod.addresses().internal[0], &head, "").await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Reads what a client is told until it is told that.
async fn hears(client: &mut Client, wanted: impl Fn(&Value) -> bool) {
    while !wanted(&client.json().await) {}
}

fn status_of(message: &Value) -> Option<&str> {
    message["events"].as_array()?.last()?["data"]["status"].as_str()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_user_that_is_erased_nothing_is_left_in_redis() {
    let server = block_in_place(Standalone::start);
    let [a, b] = [(); 2].map(|()| {
        pod(|settings| {
            social(settings);
            over(&server, settings);
        })
    });
    ready(&a).await;
    ready(&b).await;
    let mut follower = connect(&b, "bob").await;
    follower.send(&json!({"type": "subscribe", "id": 1, "room": "presence:ann-e"}).to_string()).await;
    let (mut phone, mut laptop) = (connect(&a, "ann-e").await, connect(&b, "ann-e").await);
    hears(&mut follower, |message| status_of(message) == Some("online")).await;
    publish(&a, "chat:1", "said", "1").await;
    publish(&b, "user:ann-e", "note", r#"{"to":"ann-e"}"#).await;
    // The first ack is written at once, the second waits on its pod.
    for (device, offset) in [("phone", 1), ("phone", 1), ("laptop", 0)] {
        let client = if device == "phone" { &mut phone } else { &mut laptop };
        client.send(&json!({"type": "ack", "id": "a", "room": "chat:1", "offset": offset}).to_string()).await;
        hears(client, |message| message["id"] == "a").await;
    }
    let search = || block_in_place(|| server.call(&["EVAL", SEARCH, "0", "ann-e"]).text().to_owned());
    let began = Instant::now();
    while !["acks:ann-e", "user:presence:ann-e", "log:user:ann-e", "room:user:ann-e"]
        .iter()
        .all(|key| search().contains(key))
    {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", search());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // On a busy machine its followers may not be told in time.
    let mut answer = api(&a, "DELETE", "/api/users/ann-e").await;
    while answer.0 == 503 {
        answer = api(&a, "DELETE", "/api/users/ann-e").await;
    }
    assert_eq!(answer, (200, json!({"scope": "fleet", "connections": 2, "pods": 2, "silent": []})));
    assert_eq!((phone.closed().await, laptop.closed().await), (Some(4003), Some(4003)));
    hears(&mut follower, |message| status_of(message) == Some("offline")).await;
    // What the pods look after is brought up to date a moment later.
    let began = Instant::now();
    while !search().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", search());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, unread) = api(&b, "GET", "/api/users/ann-e/unread").await;
    assert_eq!(unread["rooms"], json!([]));
    // To erase it again, or one that never was, is no error; and it begins anew if it comes back.
    for user in ["ann-e", "nobody"] {
        let (status, said) = api(&b, "DELETE", &format!("/api/users/{user}")).await;
        assert_eq!((status, &said["connections"]), (200, &json!(0)), "{said}");
    }
    let _back = connect(&a, "ann-e").await;
    hears(&mut follower, |message| status_of(message) == Some("online")).await;
    block_in_place(|| {
        a.stop();
        b.stop();
    });
}

#[tokio::test]
async fn a_room_that_is_deleted_begins_anew_for_its_members() {
    let pod = pod(|_| {});
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("news:1").await;
    publish(&pod, "news:1", "a", "1").await;
    hears(&mut member, |message| message["type"] == "events").await;
    let deleted = |deleted: bool| (200, json!({"room": "news:1", "deleted": deleted}));
    assert_eq!(api(&pod, "DELETE", "/api/rooms/news:1").await, deleted(true));
    assert_eq!(api(&pod, "DELETE", "/api/rooms/news:1").await, deleted(false));
    let (_, history) = api(&pod, "GET", "/api/rooms/news:1/history").await;
    assert_eq!((&history["events"], &history["end"]), (&json!([]), &json!(0)));
    publish(&pod, "news:1", "b", "2").await;
    hears(&mut member, |message| message["type"] == "gap").await;
    hears(&mut member, |message| message["type"] == "events" && message["events"][0]["topic"] == "b").await;
    assert_eq!(api(&pod, "DELETE", "/api/rooms/a%20b").await.0, 400);
    pod.stop();
}
