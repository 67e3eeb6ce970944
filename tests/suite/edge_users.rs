//! What an edge may do in a user's name: nothing without a good token of that user.

use std::time::{Duration, Instant};

use roomcast::testing::{
    config::{ApiKey, ListenAddress, Settings, UpstreamUrl},
    model::{Access, PresenceMode, Room},
    pod::Pod,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::redis::Way;

use crate::{
    harness::{Client, Seen, config, get, pod, refused, settings},
    hooks::backend::{Backend, Does},
    raw_link::{RawHome, metric, welcome},
    tokens::support::{Pair, file},
    users::{call, connect_as, known, ready},
};

pub const KEY: &str = "the-key-of-edges";
const LATER: u64 = 4_102_444_800;

pub fn takes_edges(settings: &mut Settings) {
    settings.relay.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())];
    settings.relay.tls = false;
    settings.relay.keys = vec![ApiKey::new(KEY.into())];
    settings.general.anonymous = Some(true);
    settings.default_policy.publish = Access::Anyone;
    settings.default_policy.presence = PresenceMode::List;
}

pub fn knows(settings: &mut Settings) {
    takes_edges(settings);
    known(settings);
    settings.relay.verify_users = Some(true);
}

/// Waits until a room has these members, by the names of their users.
pub async fn members(pod: &Pod, room: &str, wanted: &[&str]) {
    let (room, began) = (Room::parse(room).unwrap(), Instant::now());
    loop {
        let list = pod.services().presence.list(&room, 10).await.unwrap();
        let mut users: Vec<_> = list.members.iter().map(|member| member.user.as_deref().unwrap_or("")).collect();
        users.sort_unstable();
        if users == wanted {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{users:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Has a pod verify tokens with this public key, and follow these homes.
fn verifies(settings: &mut Settings, key: &NamedTempFile, urls: &[String]) {
    takes_edges(settings);
    settings.tokens.public_keys = vec![key.path().to_owned()];
    settings.upstream.urls = urls.iter().map(|url| UpstreamUrl::parse(url).unwrap()).collect();
    settings.upstream.key = (!urls.is_empty()).then(|| ApiKey::new(KEY.into()));
    settings.upstream.call_timeout = Duration::from_secs(3);
}

async fn verifying(key: &NamedTempFile, urls: &[String], change: impl Fn(&mut Settings)) -> Pod {
    let pod = pod(|settings| {
        verifies(settings, key, urls);
        change(settings);
    });
    ready(&pod).await;
    pod
}

fn url(home: &Pod) -> String {
    format!("ws://{}", home.addresses().relay[0])
}

/// The answer to a command.
async fn answer(client: &mut Client, id: u64, command: Value) -> Value {
    let mut command = command;
    command["id"] = json!(id);
    client.send(&command.to_string()).await;
    loop {
        let said = client.json().await;
        if said["id"] == id {
            return said;
        }
    }
}

fn publish(n: u64) -> Value {
    json!({"type": "publish", "room": "a", "topic": "t", "data": n})
}

async fn publishes(client: &mut Client, id: u64) {
    let said = answer(client, id, publish(id)).await;
    assert_eq!(said["type"], "published", "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_edges_act_in_their_names_over_any_link_and_any_way() {
    let pair = Pair::p256();
    let key = file(&pair.public_pem);
    let home = verifying(&key, &[], |_| ()).await;
    let way = Way::to(home.addresses().relay[0].port());
    let near = verifying(&key, &[format!("ws://127.0.0.1:{}", way.address().1)], |_| ()).await;
    let far = verifying(&key, &[url(&near)], |settings| settings.socketio.enabled = true).await;
    let token = |user: &str| pair.signing.token(&json!({"sub": user, "exp": LATER}), None).unwrap();
    let mut reader = connect_as(&home, &token("reader")).await;
    reader.subscribe("a").await;
    let mut heard = async |user: Value| {
        loop {
            let said = reader.json().await;
            if said["type"] == "events" {
                assert_eq!(said["events"][0]["user"], user, "{said}");
                return;
            }
        }
    };
    let mut clients = Vec::new();
    for (pod, user) in [(&near, "ann"), (&far, "bob"), (&far, "carol")] {
        let mut client = connect_as(pod, &token(user)).await;
        client.subscribe("a").await;
        clients.push((client, user));
    }
    members(&home, "a", &["ann", "bob", "carol", "reader"]).await;
    let mut id = 0;
    for _ in 0..2 {
        for (client, user) in &mut clients {
            id += 1;
            publishes(client, id).await;
            heard(json!(user)).await;
        }
        // A new link has seen no token.
        way.swallow();
        while get(&near, "/ready").await.1 == r#"{"status":"ready"}"# {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ready(&near).await;
    }
    // A request without a connection, Socket.IO, and a client that names no user.
    let head = format!("POST /send?token={} HTTP/1.1", token("dave"));
    let (status, body) = call(far.addresses().plain[0], &head, &json!([publish(1)]).to_string()).await;
    assert!(status == 200 && body.contains("published"), "{body}");
    heard(json!("dave")).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&token={}", token("erin"));
    let mut socket = Client::open(far.addresses().plain[0], &target, &[], &[], None).await.unwrap();
    packet(&mut socket, "0{").await;
    socket.send("40").await;
    packet(&mut socket, "40{").await;
    socket.send(r#"421["publish",{"room":"a","topic":"t","data":1}]"#).await;
    packet(&mut socket, r#"431[{"type":"published""#).await;
    heard(json!("erin")).await;
    publishes(&mut Client::connect(far.addresses().plain[0]).await, 1).await;
    heard(Value::Null).await;
    members(&home, "a", &["ann", "bob", "carol", "reader"]).await;
    metric(&home, "roomcast_relay_refused_total{reason=\"user\"}", |count| count == 0.0).await;
    metric(&home, "roomcast_relay_refused_total{reason=\"token\"}", |count| count == 0.0).await;
    for pod in [far, near, home] {
        pod.stop();
    }
}

/// Reads packets of Engine.IO until one begins so.
async fn packet(client: &mut Client, start: &str) {
    loop {
        match client.next().await {
            Seen::Text(packet) if packet.starts_with(start) => return,
            Seen::Text(_) => {}
            Seen::Json(_) => client.send("3").await,
            other => panic!("{other:?} instead of {start}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_home_cannot_verify_is_refused_with_a_sentence() {
    let (pair, other) = (Pair::p256(), Pair::p256());
    let (key, others) = (file(&pair.public_pem), file(&other.public_pem));
    let home = verifying(&key, &[], |_| ()).await;
    // A backend of the edge alone knows its users.
    let backend = Backend::start(|_, _| Does::Says(json!({"allow": true, "user": "guest"}))).await;
    let asks = verifying(&key, &[url(&home)], |settings| {
        settings.hooks.connect = Some(backend.url("/connect"));
    })
    .await;
    let mut guest = Client::connect(asks.addresses().plain[0]).await;
    let said = answer(&mut guest, 1, publish(1)).await;
    assert_eq!(said["code"], "unauthorized", "{said}");
    let why = said["message"].as_str().unwrap();
    assert!(why.contains("no good token of the user \"guest\"") && why.contains("relay.verify_users"), "{why}");
    metric(&asks, "roomcast_upstream_users_refused_total", |count| count == 1.0).await;
    // The keys of an edge are others than its home's.
    let strange = verifying(&others, &[url(&home)], |_| ()).await;
    let mut client =
        connect_as(&strange, &other.signing.token(&json!({"sub": "ann", "exp": LATER}), None).unwrap()).await;
    for id in 1..=2_u32 {
        assert_eq!(answer(&mut client, id.into(), publish(id.into())).await["code"], "unauthorized");
        // It is shown again each time: the home may have the key by now.
        metric(&home, "roomcast_relay_refused_total{reason=\"token\"}", |count| count == f64::from(id)).await;
    }
    home.reload(config(settings(|settings| {
        verifies(settings, &key, &[]);
        settings.tokens.public_keys.push(others.path().to_owned());
    })));
    publishes(&mut client, 3).await;
    for pod in [asks, strange, home] {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_tells_its_home_of_a_refreshed_token() {
    let pair = Pair::p256();
    let (key, home) = (file(&pair.public_pem), RawHome::listen().await);
    let edge = pod(|settings| verifies(settings, &key, &[home.url()]));
    let mut link = home.accept().await;
    let mut said = welcome(json!({"pods": ["00000000000000aa"], "hops": 1}));
    said["welcome"]["wants_tokens"] = json!(true);
    link.say(&said).await;
    let token = |exp: u64| pair.signing.token(&json!({"sub": "ann", "exp": exp}), None).unwrap();
    let (first, second) = (token(LATER), token(LATER + 1));
    let mut client = connect_as(&edge, &first).await;
    client.send(&publish(1).to_string()).await;
    assert_eq!(link.hear_of("vouch").await, first);
    let call = link.hear_of("call").await;
    assert_eq!(call["call"]["publish"][0][1]["user"], "ann", "{call}");
    client.send(&json!({"type": "refresh", "id": 2, "token": second}).to_string()).await;
    assert_eq!(link.hear_of("vouch").await, second);
    // The home has other keys: it is shown once more what it has seen, and not as often as it likes.
    for _ in 0..3 {
        link.say(&json!("show_again")).await;
    }
    assert_eq!(link.hear_of("vouch").await, second);
    client.send(&publish(3).to_string()).await;
    let next = loop {
        let said = link.hear().await.unwrap();
        if said.get("vouch").is_some() || said.get("call").is_some() {
            break said;
        }
    };
    assert_eq!(next, json!({"vouch": second}), "before the first call in that name, and no sooner");
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_tokens_than_an_edge_may_keep_have_the_oldest_go() {
    let pair = Pair::p256();
    let key = file(&pair.public_pem);
    let home = verifying(&key, &[], |_| ()).await;
    let token = |user: &str| pair.signing.token(&json!({"sub": user, "exp": LATER}), None).unwrap();
    // Two have place.
    let edge = verifying(&key, &[url(&home)], |settings| {
        settings.upstream.token_bytes = 5 * (200 + token("ann").len()) / 2;
    })
    .await;
    let mut ann = connect_as(&edge, &token("ann")).await;
    let (mut bob, mut eve) = (connect_as(&edge, &token("bob")).await, connect_as(&edge, &token("eve")).await);
    metric(&edge, "roomcast_upstream_tokens_dropped_total", |count| count == 1.0).await;
    publishes(&mut bob, 1).await;
    publishes(&mut eve, 1).await;
    let said = answer(&mut ann, 1, publish(1)).await;
    assert_eq!(said["code"], "unauthorized", "{said}");
    // By its next token it can again, and what the home has seen goes on counting there.
    let again = answer(&mut ann, 2, json!({"type": "refresh", "token": token("ann")})).await;
    assert_eq!(again["type"], "done", "{again}");
    publishes(&mut ann, 3).await;
    publishes(&mut bob, 2).await;
    edge.stop();
    home.stop();
}

#[test]
fn a_home_that_could_verify_nothing_is_refused_and_one_that_verifies_nothing_is_told() {
    let errors = refused(|settings| {
        takes_edges(settings);
        settings.relay.verify_users = Some(true);
    });
    assert!(errors.len() == 1 && errors[0].to_string().contains("no key of `tokens` is set"), "{errors:?}");
    let warns = |change: &dyn Fn(&mut Settings)| {
        let warnings = config(settings(change)).warnings;
        warnings.iter().filter(|text| text.contains("user")).map(String::clone).collect::<Vec<_>>()
    };
    let unverified = warns(&takes_edges);
    assert!(unverified.iter().any(|text| text.contains("under any user's name")), "{unverified:?}");
    let said = warns(&|settings| {
        takes_edges(settings);
        settings.relay.verify_users = Some(false);
    });
    assert!(!said.iter().any(|text| text.contains("under any user's name")), "{said:?}");
    assert!(!warns(&knows).iter().any(|text| text.contains("verify_users")));
    let verifies = |change: &dyn Fn(&mut Settings)| config(settings(change)).relay.verify_users;
    let with_public_key = |settings: &mut Settings| {
        takes_edges(settings);
        settings.tokens.public_keys = vec!["key.pem".into()];
    };
    assert!(verifies(&with_public_key) && !verifies(&takes_edges));
    // An edge has no such secret, so that tokens of its clients are none that the home verifies.
    assert!(!verifies(&|settings| {
        takes_edges(settings);
        known(settings);
    }));
}
