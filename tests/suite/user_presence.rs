//! The presence of users, as followers, the users themselves and a backend meet it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use roomcast_proto::roomcast::{GetUserPresenceRequest, SetUserPresenceRequest, roomcast_client::RoomcastClient};
use serde_json::{Value, json};

use crate::{
    grpc::{channel, with_key},
    harness::{Client, Seen, get, pod, rule},
    users::{connect, known},
};
use roomcast::testing::{
    config::{ListenAddress, PersonalRoom, Settings},
    model::{Access, Retain},
    pod::Pod,
};

mod failover;
mod fleet;

/// A pod with presence, whose users are gone after that time.
fn start(offline_after: Duration, settle: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        known(settings);
        settings.user_presence.room = Some(PersonalRoom::parse("presence:{user}").unwrap());
        settings.user_presence.offline_after = offline_after;
        settings.policies = vec![rule("presence:*", |policy| {
            (policy.retain, policy.publish) = (Retain::Room, Access::Nobody);
        })];
        settle(settings);
    })
}

/// Far longer than a test takes.
const LONG: Duration = Duration::from_secs(600);

const SHORT: Duration = Duration::from_millis(20);

/// A follower without a user.
struct Follower {
    client: Client,
    events: VecDeque<Value>,
}

impl Follower {
    async fn of(pod: &Pod, users: &[&str]) -> Self {
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        let mut events = VecDeque::new();
        for user in users {
            client.send(&json!({"type": "subscribe", "room": format!("presence:{user}")}).to_string()).await;
            // Between the answers come the values that the rooms before have kept.
            loop {
                let message = client.json().await;
                match message["type"].as_str() {
                    Some("subscribed") => break,
                    Some("events") => events.extend(message["events"].as_array().unwrap().clone()),
                    _ => panic!("{message}"),
                }
            }
        }
        Self { client, events }
    }

    /// What is told next: user, status, and whether it was seen.
    async fn told(&mut self) -> (String, String, bool) {
        loop {
            if let Some(event) = self.events.pop_front() {
                assert_eq!((&event["topic"], event["id"].is_string()), (&json!("presence"), true), "{event}");
                let data = &event["data"];
                let text = |name: &str| data[name].as_str().unwrap().to_owned();
                return (text("user"), text("status"), data["last_seen"].is_u64());
            }
            match self.client.next().await {
                Seen::Json(message) if message["type"] == "events" => {
                    self.events.extend(message["events"].as_array().unwrap().clone());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nothing is told before what is told of a user that comes now.
    async fn hears_nothing_before(&mut self, pod: &Pod, marker: &str) -> Client {
        let marked = connect(pod, marker).await;
        assert_eq!(self.told().await, said(marker, "online", false));
        marked
    }
}

fn said(user: &str, status: &str, seen: bool) -> (String, String, bool) {
    (user.to_owned(), status.to_owned(), seen)
}

async fn status(client: &mut Client, change: Value) -> Value {
    let mut command = json!({"type": "status", "id": 1});
    command.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    client.ask(command).await
}

/// A counter's value.
async fn counted(pod: &Pod, name: &str) -> u64 {
    let metrics = get(pod, "/metrics").await.1;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// What `GET /api/v1/presence` says of users.
async fn shown(pod: &Pod, users: &[&str]) -> Vec<Value> {
    let query: Vec<String> = users.iter().map(|user| format!("users={user}")).collect();
    let (code, body) = call(pod, "GET", &format!("?{}", query.join("&")), "").await;
    assert_eq!(code, 200, "{body}");
    body["users"].as_array().unwrap().clone()
}

/// A call of `/api/v1/presence`.
async fn call(pod: &Pod, method: &str, query: &str, body: &str) -> (u16, Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} /api/v1/presence{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test-key\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn followers_are_told_of_a_user_over_its_devices() {
    let pod = start(SHORT, |_| {});
    let mut follower = Follower::of(&pod, &["ann"]).await;
    let (phone, laptop) = (connect(&pod, "ann").await, connect(&pod, "ann").await);
    assert_eq!(follower.told().await, said("ann", "online", false));
    drop(phone);
    drop(laptop);
    // One of two devices that went would have been told before.
    assert_eq!(follower.told().await, said("ann", "offline", true));
    let mut late = Follower::of(&pod, &["ann"]).await;
    assert_eq!(late.told().await, said("ann", "offline", true), "one that comes later is told at once");
    let states = shown(&pod, &["ann", "nobody"]).await;
    assert_eq!((&states[0]["status"], states[0]["last_seen"].is_u64()), (&json!("offline"), true));
    let nobody = json!({"user": "nobody", "status": "offline", "chosen": "online", "hidden": false});
    assert_eq!(states[1], nobody);
    pod.stop();
}

#[tokio::test]
async fn one_that_comes_back_in_time_is_not_announced() {
    let pod = start(LONG, |_| {});
    let mut follower = Follower::of(&pod, &["ann", "mark"]).await;
    let mut ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "online", false));
    let began = Instant::now();
    // The pod may see that a connection ended only after the next one has begun.
    while counted(&pod, "roomcast_user_presence_total{outcome=\"returned\"}").await < 3 {
        assert!(began.elapsed() < Duration::from_secs(20));
        drop(ann);
        ann = connect(&pod, "ann").await;
    }
    assert_eq!(counted(&pod, "roomcast_user_presence_announced_total{status=\"offline\"}").await, 0);
    drop(ann);
    follower.hears_nothing_before(&pod, "mark").await;
    pod.stop();
}

#[tokio::test]
async fn what_a_user_chose_stays_with_it() {
    let pod = start(SHORT, |_| {});
    let mut follower = Follower::of(&pod, &["ann"]).await;
    let mut ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "online", false));
    assert_eq!(status(&mut ann, json!({"status": "busy"})).await, json!({"type": "done", "id": 1}));
    assert_eq!(follower.told().await, said("ann", "busy", false));
    drop(ann);
    assert_eq!(follower.told().await, said("ann", "offline", true));
    let mut ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "busy", false), "on another connection");
    status(&mut ann, json!({"status": "offline"})).await;
    assert_eq!(follower.told().await, said("ann", "offline", true));
    status(&mut ann, json!({"status": "away"})).await;
    assert_eq!(follower.told().await, said("ann", "away", false));
    let (code, body) = call(&pod, "PUT", "", r#"{"user":"ann","status":"online"}"#).await;
    assert_eq!((code, &body["status"]), (200, &json!("online")));
    assert_eq!(follower.told().await, said("ann", "online", false), "the backend may, too");
    pod.stop();
}

#[tokio::test]
async fn of_one_that_hides_nothing_is_told() {
    let pod = start(SHORT, |_| {});
    let mut follower = Follower::of(&pod, &["ann", "mark"]).await;
    let mut ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "online", false));
    assert_eq!(status(&mut ann, json!({"hidden": true})).await["type"], "done");
    assert_eq!(follower.told().await, said("ann", "offline", false), "and not when it was seen");
    status(&mut ann, json!({"status": "away"})).await;
    drop(ann);
    let mut ann = connect(&pod, "ann").await;
    let _mark = follower.hears_nothing_before(&pod, "mark").await;
    let state = json!({"user": "ann", "status": "offline", "chosen": "away", "hidden": true});
    assert_eq!(shown(&pod, &["ann"]).await, [state]);
    assert_eq!(status(&mut ann, json!({"hidden": false})).await["type"], "done");
    assert_eq!(follower.told().await, said("ann", "away", false), "it is there as it chose");
    pod.stop();
}

#[tokio::test]
async fn bad_input_is_answered_as_documented() {
    let pod = start(LONG, |settings| settings.user_presence.change_burst = 2);
    let (mut ann, mut nameless) = (connect(&pod, "ann").await, Client::connect(pod.addresses().plain[0]).await);
    for (change, code) in [
        (json!({"status": "asleep"}), "bad_request"),
        (json!({"status": 7}), "bad_request"),
        (json!({"status": "busy", "hidden": "yes"}), "bad_request"),
        (json!({}), "bad_request"),
    ] {
        let answer = status(&mut ann, change.clone()).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{change}: {answer}");
    }
    assert_eq!(status(&mut nameless, json!({"status": "busy"})).await["code"], "unauthorized");
    for _ in 0..2 {
        assert_eq!(status(&mut ann, json!({"status": "busy"})).await["type"], "done");
    }
    // One a second is fine, however slow the machine is: this many at once are not.
    for n in 0..100 {
        ann.send(&json!({"type": "status", "status": "busy", "id": n}).to_string()).await;
    }
    let mut limited = 0;
    for n in 0..100 {
        let answer = ann.json().await;
        assert_eq!(answer["id"], n, "{answer}");
        limited += usize::from(answer["code"] == "rate_limited");
    }
    assert!(limited > 0);
    for (body, code) in [
        (r#"{"user":"ann","status":"asleep"}"#, 400),
        (r#"{"user":"ann"}"#, 400),
        (r#"{"user":"","status":"busy"}"#, 400),
        (r#"{"user":"a b","status":"busy"}"#, 400),
        (r#"{"user":"ann","status":"busy","x":1}"#, 400),
        (r#"{"status":"busy"}"#, 400),
    ] {
        assert_eq!(call(&pod, "PUT", "", body).await.0, code, "{body}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("users={n}")).collect();
    for query in [String::new(), format!("?{}", many.join("&")), "?users=a%20b".to_owned(), "?user=ann".to_owned()] {
        assert_eq!(call(&pod, "GET", &query, "").await.0, 400, "{query}");
    }
    pod.stop();
    let off = crate::harness::pod(known);
    assert_eq!(call(&off, "GET", "?users=ann", "").await.0, 409);
    assert_eq!(call(&off, "PUT", "", r#"{"user":"ann","status":"busy"}"#).await.0, 409);
    let mut ann = connect(&off, "ann").await;
    assert_eq!(status(&mut ann, json!({"status": "busy"})).await["code"], "not_available");
    off.stop();
}

#[tokio::test]
async fn the_same_is_there_over_grpc() {
    let pod = start(LONG, |settings| {
        settings.grpc.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())];
    });
    let mut follower = Follower::of(&pod, &["ann"]).await;
    let _ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "online", false));
    let mut api = RoomcastClient::new(channel(&pod).await);
    let change = SetUserPresenceRequest { user: "ann".into(), status: Some("busy".into()), hidden: None };
    let user = api.set_user_presence(with_key(change)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((user.status.as_str(), user.chosen.as_str(), user.hidden), ("busy", "busy", false));
    assert_eq!(follower.told().await, said("ann", "busy", false));
    let asked = GetUserPresenceRequest { users: vec!["ann".into(), "bob".into()] };
    let users = api.get_user_presence(with_key(asked)).await.unwrap().into_inner().users;
    assert_eq!(users.iter().map(|user| user.status.as_str()).collect::<Vec<_>>(), ["busy", "offline"]);
    let bad = SetUserPresenceRequest { user: "ann".into(), status: Some("asleep".into()), hidden: None };
    assert_eq!(api.set_user_presence(with_key(bad)).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    pod.stop();
}
