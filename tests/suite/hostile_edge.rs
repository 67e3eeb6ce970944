//! An edge that is none of ours, and acts in users' names.

use std::time::{Duration, Instant};

use roomcast::testing::config::{HmacSecret, Settings};
use serde_json::{Value, json};

use crate::{
    edge_users::{KEY, knows, members},
    harness::{config, pod, settings},
    raw_link::{RawLink, metric, raw_edge},
    users::{signed, token},
};

const EDGE: &str = "00000000000000e1";

fn event(user: Option<&str>) -> Value {
    json!({"topic": "t", "key": null, "payload": {"json": 1}, "user": user, "id": null, "idempotency_key": null})
}

/// Publishes as an edge that says this is the user. The error names the user, where the home knows no token of it.
async fn publish_as(edge: &mut RawLink, user: Option<&str>) -> Result<u64, String> {
    let said = edge.ask(1, json!({"publish": [["a", event(user)]]})).await;
    let each = &said["Ok"]["published"][0];
    match each["Err"]["no_token"].as_str() {
        Some(stranger) => Err(stranger.to_owned()),
        None => Ok(each["Ok"]["offset"].as_u64().unwrap_or_else(|| panic!("{said}"))),
    }
}

async fn vouch(edge: &mut RawLink, token: &str) {
    edge.say(&json!({"vouch": token})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_edge_acts_only_for_users_whose_good_tokens_it_holds() {
    let home = pod(knows);
    let mut edge = raw_edge(&home, KEY, EDGE).await;
    assert_eq!(publish_as(&mut edge, Some("ann")).await, Err("ann".into()));
    assert_eq!(publish_as(&mut edge, None).await, Ok(1), "a backend of the edge names no user");
    let ended = signed(&json!({"sub": "ann", "exp": 1_000_000}));
    let forged = format!("{}x", token("ann"));
    for bad in ["no token", &ended, &forged, &token("bob")] {
        vouch(&mut edge, bad).await;
    }
    assert_eq!(publish_as(&mut edge, Some("ann")).await, Err("ann".into()), "by a token of another user");
    assert_eq!(publish_as(&mut edge, Some("bob")).await, Ok(2));
    // Of several, each is judged by itself.
    let three = [Some("bob"), Some("ann"), None].map(|user| json!(["a", event(user)]));
    let said = edge.ask(2, json!({"publish": three})).await;
    let each = &said["Ok"]["published"];
    assert_eq!((&each[0]["Ok"]["offset"], &each[2]["Ok"]["offset"]), (&json!(3), &json!(4)), "{said}");
    assert_eq!(each[1], json!({"Err": {"no_token": "ann"}}));
    let position = json!({"epoch": "e", "offset": 1});
    let bounds = json!({"rooms": 1, "age": {"secs": 1, "nanos": 0}});
    let ack = |user: &str| json!({"user": user, "room": "a", "position": position});
    let keep = json!({"keep": [[ack("bob"), ack("ann")], bounds]});
    let said = edge.ask(3, keep.clone()).await;
    assert!(said["Ok"]["acked"][0].get("Ok").is_some(), "{said}");
    assert_eq!(said["Ok"]["acked"][1], json!({"Err": {"no_token": "ann"}}));
    let receipt = json!({"progress": "read", "room": "a", "user": "ann", "position": position});
    let in_her_name = [
        json!({"signal": ["a", {"topic": "t", "sender": {"connection": "c", "user": "ann"}, "data": null, "act": "stop"}]}),
        json!({"notify": ["user:bob", {"receipts": [receipt]}]}),
        json!({"unlogged": ["a", event(Some("ann")), "bob"]}),
        json!({"note_author": ["a", "ann"]}),
    ];
    for call in &in_her_name {
        assert_eq!(edge.ask(4, call.clone()).await, json!({"Err": {"no_token": "ann"}}), "{call}");
    }
    let join = |connection: &str, user: Option<&str>| json!({"join": ["a", {"connection": connection, "user": user}]});
    edge.say(&json!({"lead": true})).await;
    for said in [join("c1", Some("ann")), join("c2", Some("bob")), join("c3", None)] {
        edge.say(&said).await;
    }
    members(&home, "a", &["", "bob"]).await;
    metric(&home, "roomcast_relay_refused_total{reason=\"user\"}", |count| count == 9.0).await;
    metric(&home, "roomcast_relay_refused_total{reason=\"token\"}", |count| count == 3.0).await;
    // A token that it has stolen while that is good.
    vouch(&mut edge, &token("ann")).await;
    for call in &in_her_name {
        assert!(edge.ask(5, call.clone()).await.get("Ok").is_some(), "{call}");
    }
    assert!(edge.ask(6, keep).await["Ok"]["acked"][1].get("Ok").is_some());
    assert_eq!(publish_as(&mut edge, Some("ann")).await, Ok(5));
    edge.say(&join("c1", Some("ann"))).await;
    members(&home, "a", &["", "ann", "bob"]).await;
    // Another link has shown nothing.
    let mut other = raw_edge(&home, KEY, "00000000000000e2").await;
    assert_eq!(publish_as(&mut other, Some("ann")).await, Err("ann".into()));
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_until_it_ends_or_its_key_goes() {
    let knows_shortly = |settings: &mut Settings| {
        knows(settings);
        settings.tokens.leeway = Duration::ZERO;
    };
    let home = pod(knows_shortly);
    let mut edge = raw_edge(&home, KEY, EDGE).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    vouch(&mut edge, &signed(&json!({"sub": "ann", "exp": now + 3}))).await;
    vouch(&mut edge, &token("bob")).await;
    assert_eq!(publish_as(&mut edge, Some("ann")).await, Ok(1));
    edge.say(&json!({"lead": true})).await;
    for (connection, user) in [("c1", "ann"), ("c2", "bob")] {
        edge.say(&json!({"join": ["a", {"connection": connection, "user": user}]})).await;
    }
    members(&home, "a", &["ann", "bob"]).await;
    // Its members are taken back: an edge that lives says so many times meanwhile.
    let began = Instant::now();
    let mut published = 1;
    while publish_as(&mut edge, Some("ann")).await.is_ok() {
        published += 1;
        assert!(began.elapsed() < Duration::from_secs(40), "it counts for ever");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let gone = async {
        loop {
            edge.say(&json!({"ping": {"at": 1}})).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = members(&home, "a", &["bob"]) => {}
        () = gone => {}
    }
    // A newer token: its members are back, without a word of them.
    vouch(&mut edge, &token("ann")).await;
    members(&home, "a", &["ann", "bob"]).await;
    assert_eq!(publish_as(&mut edge, Some("ann")).await, Ok(published + 1));
    // The key is taken away: the edge is asked to show its tokens again, and what it has is not good any more.
    home.reload(config(settings(|settings| {
        knows_shortly(settings);
        settings.tokens.hmac_secrets = vec![HmacSecret::new("another secret of at least thirty-two bytes").unwrap()];
    })));
    while edge.hear().await.unwrap() != "show_again" {}
    vouch(&mut edge, &token("ann")).await;
    metric(&home, "roomcast_relay_refused_total{reason=\"token\"}", |count| count == 1.0).await;
    // Off, edges are believed.
    home.reload(config(settings(|settings| {
        knows_shortly(settings);
        settings.relay.verify_users = Some(false);
    })));
    assert_eq!(edge.ended().await, "`relay.verify_users` has changed");
    let mut edge = raw_edge(&home, KEY, EDGE).await;
    assert!(publish_as(&mut edge, Some("carol")).await.is_ok());
    home.stop();
}
