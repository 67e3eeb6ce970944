//! Tokens that an application keeps in Redis: looked up instead of verified, and what their users are given.

use std::time::{Duration, Instant};

use crate::harness::{Client, SOON, config, get, settings};
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, LookUpTemplate, Machine, RedisUrl, RoomPattern, Rule, Settings, SettingsError, resolve},
    dialect::Pointer,
    model::{Access, Policy},
    pod::Pod,
};
use serde_json::json;
use testkit::redis::Standalone;
use tokio::task::block_in_place;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn described(settings: &mut Settings) {
    let look_up = &mut settings.token_lookup;
    look_up.key = Some(LookUpTemplate::parse("/current_users/{token}", &["token"]).unwrap());
    look_up.groups = Some(Pointer::parse("/group_ids").unwrap());
    let places = |text: &str| LookUpTemplate::parse(text, &["user", "group"]).unwrap();
    look_up.rooms = vec![places("notice"), places("user-{user}"), places("group-{group}")];
    look_up.unknown_rooms = vec![LookUpTemplate::parse("notice", &[]).unwrap()];
    let policy = Policy { join: Access::Claim, ..Policy::default() };
    let patterns = ["user-*", "group-*", "notice"].map(|pattern| RoomPattern::parse(pattern).unwrap()).to_vec();
    settings.policies = vec![Rule { patterns, policy }];
    settings.general.anonymous = Some(false);
}

async fn start(server: &testkit::redis::Node, change: impl FnOnce(&mut Settings)) -> Pod {
    let (host, port) = server.address();
    let pod = Pod::start(config(settings(|settings| {
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        described(settings);
        change(settings);
    })))
    .unwrap();
    let began = Instant::now();
    while get(&pod, "/ready").await.0 != 200 {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pod
}

/// The rooms that a client with this token is put into, by name; the status that it is refused with.
async fn rooms(pod: &Pod, target: &str, count: usize) -> Result<Vec<String>, u16> {
    let mut client = Client::open(pod.addresses().plain[0], target, &["roomcast.v1"], &[], None).await?;
    assert_eq!(client.json().await["type"], "welcome");
    let mut rooms = Vec::new();
    for _ in 0..count {
        let message = client.json().await;
        assert_eq!(message["type"], "subscribed", "{message}");
        rooms.push(message["room"].as_str().unwrap().to_owned());
    }
    assert!(client.is_quiet().await);
    let refused = client.ask(json!({"type": "subscribe", "room": "group-99"})).await;
    assert_eq!(refused["code"], "forbidden");
    rooms.sort();
    Ok(rooms)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_looked_up_and_its_user_is_in_their_rooms() {
    let server = block_in_place(Standalone::start);
    let pod = start(&server, |_| ()).await;
    block_in_place(|| {
        server.call(&["SET", "/current_users/t-ann", r#"{"id": 7, "name": "Ann", "group_ids": [1.0, "2"]}"#]).ok();
        server.call(&["SET", "/current_users/t-bad", "no JSON"]).ok();
        server.call(&["SET", "/current_users/t-none", r#"{"name": "Ann"}"#]).ok();
        server.call(&["SET", "/current_users/t-star", r#"{"id": 8, "group_ids": ["*"]}"#]).ok();
    });
    let all = ["group-1", "group-2", "notice", "user-7"].map(str::to_owned).to_vec();
    assert_eq!(rooms(&pod, "/ws?token=t-ann", 4).await, Ok(all));
    // A group's name is no pattern for others' rooms.
    let star = ["group-*", "notice", "user-8"].map(str::to_owned).to_vec();
    assert_eq!(rooms(&pod, "/ws?token=t-star", 3).await, Ok(star));
    for token in ["t-bad", "t-none", "t-nobody", "a%7Bb%7D", "a%20b", &"x".repeat(513)] {
        assert_eq!(rooms(&pod, &format!("/ws?token={token}"), 0).await, Err(401), "{token}");
    }
    // The application's object is what it is: where nobody unknown is let in, a part of it gives nothing.
    block_in_place(|| server.call(&["SET", "/current_users/t-holes", r#"{"id": 9, "group_ids": [null, 1]}"#]).ok());
    assert_eq!(rooms(&pod, "/ws?token=t-holes", 0).await, Err(401));
    // Without a token one may still come by `connect`.
    let mut later = Client::connect(pod.addresses().plain[0]).await;
    let done = later.ask(json!({"type": "connect", "token": "t-ann"})).await;
    assert_eq!(done["type"], "done", "{done}");
    for _ in 0..4 {
        assert_eq!(later.json().await["type"], "subscribed");
    }
    // A token that is over closes nobody who is here.
    block_in_place(|| server.call(&["DEL", "/current_users/t-ann"]).ok());
    assert_eq!(later.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(rooms(&pod, "/ws?token=t-ann", 0).await, Err(401));
    // Redis is gone: nobody is let in, and nobody is called a liar.
    block_in_place(|| server.kill());
    let began = Instant::now();
    let mut status = rooms(&pod, "/ws?token=t-ann", 0).await;
    while status != Err(503) {
        assert!(began.elapsed() < SOON, "{status:?}");
        status = rooms(&pod, "/ws?token=t-ann", 0).await;
    }
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_tokens_may_be_taken_in_and_signed_ones_stand_beside() {
    let server = block_in_place(Standalone::start);
    let pod = start(&server, |settings| {
        settings.token_lookup.accept_unknown = true;
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    })
    .await;
    let notice = Ok(vec!["notice".to_owned()]);
    assert_eq!(rooms(&pod, "/ws", 1).await, notice);
    assert_eq!(rooms(&pod, "/ws?token=unknown", 1).await, notice);
    let key = SigningKey::secret(&HmacSecret::new(SECRET).unwrap());
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let signed = key.token(&json!({"sub": "ann", "exp": exp}), None).unwrap();
    assert_eq!(rooms(&pod, &format!("/ws?token={signed}"), 0).await, Ok(Vec::new()));
    // A forged one is not taken for a key that is not there.
    assert_eq!(rooms(&pod, &format!("/ws?token={}x", &signed[..signed.len() - 1]), 0).await, Err(401));
    pod.stop();
}

#[test]
fn without_redis_there_is_nothing_to_look_up_in() {
    let machine = Machine {
        cores: 1,
        open_files: 1_000,
        memory: roomcast::testing::config::MemoryCeiling::detect(),
        state_dir: None,
        api_key: roomcast::testing::config::ApiKey::new("k".into()).unwrap(),
    };
    let missing = resolve(settings(described), &machine).unwrap_err();
    assert_eq!(missing, [SettingsError::LookUp]);
    assert!(missing[0].to_string().contains("redis.urls"));
}
