//! An edge that was taken over, and what it cannot do to the home's other edges, pods and clients.

use std::time::{Duration, Instant};

use roomcast::testing::{
    broker::{FleetAnswer, FleetQuestion},
    config::{ApiKey, Settings},
    model::Room,
    pod::Pod,
};
use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::{task::block_in_place, time::timeout};

use crate::{
    edge_users::{KEY, knows, takes_edges},
    harness::{config, pod, settings},
    raw_link::{RawLink, greeted, hello, metric, raw_edge},
    users::{connect_as, over, ready, token},
};

const HONEST: &str = "00000000000000e1";
const TAKEN: &str = "00000000000000e2";
const SILENT: &str = "00000000000000e3";

/// A hello with what an edge of ours draws by lot.
fn secret_hello(pod: &str, secret: &str) -> Value {
    let mut said = hello(pod);
    said["hello"]["secret"] = json!(secret);
    said
}

/// Says that members are told over this link, and orders come here.
async fn leads(link: &mut RawLink) {
    link.say(&json!({"lead": true})).await;
}

async fn acts_for(link: &mut RawLink, user: &str) {
    link.say(&json!({"vouch": token(user)})).await;
}

fn member(connection: &str, user: &str) -> Value {
    json!({"connection": connection, "user": user})
}

async fn say_each(link: &mut RawLink, word: &str, members: &[Value]) {
    for member in members {
        link.say(&json!({word: ["a", member]})).await;
    }
}

/// The members of the room, as this link sees them after all that it has said.
async fn members(link: &mut RawLink, id: u64) -> Vec<(String, String)> {
    let said = link.ask(id, json!({"members": ["a", 100]})).await;
    let all = said["Ok"]["members"]["members"].as_array().unwrap_or_else(|| panic!("{said}")).clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = all.iter().map(|member| (text(&member["connection"]), text(&member["user"]))).collect();
    all.sort();
    all
}

async fn present(home: &Pod, users: &[&str]) -> (Vec<(String, FleetAnswer)>, Vec<String>) {
    let question = FleetQuestion::Present(users.iter().map(|user| (*user).into()).collect());
    let answers = home.services().control.ask_others(&question, Duration::from_secs(5)).await.unwrap();
    (answers.said, answers.silent)
}

/// Answers the next question that these users are there.
async fn says_present(link: &mut RawLink, users: &[&str]) {
    let asked = link.hear_of("ask").await;
    link.say(&json!({"answer": {"id": asked["id"], "said": {"present": users}}})).await;
}

fn are_there(pod: &str, users: &[&str]) -> (String, FleetAnswer) {
    (pod.to_owned(), FleetAnswer::Present(users.iter().map(|user| (*user).into()).collect()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_replaces_and_removes_no_member_of_another_edge_or_of_the_home() {
    let home = pod(knows);
    let mut client = connect_as(&home, &token("bob")).await;
    client.subscribe("a").await;
    let mut honest = raw_edge(&home, KEY, HONEST).await;
    leads(&mut honest).await;
    acts_for(&mut honest, "ann").await;
    say_each(&mut honest, "join", &[member("c1", "ann")]).await;
    let before = members(&mut honest, 1).await;
    let bobs = before.iter().find(|(_, user)| user == "bob").map(|(name, _)| name.clone()).unwrap();
    assert!(before.contains(&("c1".to_owned(), "ann".to_owned())) && before.len() == 2, "{before:?}");
    let mut taken = raw_edge(&home, KEY, TAKEN).await;
    leads(&mut taken).await;
    acts_for(&mut taken, "mallory").await;
    // Names that are in use, and one that another edge comes to later.
    let all = ["c1", "c2", &bobs].map(|connection| member(connection, "mallory"));
    say_each(&mut taken, "join", &all).await;
    acts_for(&mut honest, "carol").await;
    say_each(&mut honest, "join", &[member("c2", "carol")]).await;
    members(&mut taken, 1).await;
    let seen = members(&mut honest, 2).await;
    for (name, user) in [(&*bobs, "bob"), ("c1", "ann")] {
        assert!(seen.contains(&(name.to_owned(), user.to_owned())), "{seen:?}");
        assert!(seen.contains(&(format!("{name}@{TAKEN}"), "mallory".to_owned())), "{seen:?}");
    }
    assert!(seen.iter().any(|(_, user)| user == "carol") && seen.len() == 6, "{seen:?}");
    // It takes back what it said, as it said it and otherwise.
    say_each(&mut taken, "leave", &all).await;
    say_each(&mut taken, "leave", &[member("c1", "ann"), member(&bobs, "bob")]).await;
    members(&mut taken, 2).await;
    let mut after = before;
    after.push(("c2".to_owned(), "carol".to_owned()));
    after.sort();
    assert_eq!(members(&mut honest, 3).await, after);
    // Nor by saying all once more and ending.
    say_each(&mut taken, "join", &all).await;
    taken.say(&json!({"lead": false})).await;
    members(&mut taken, 3).await;
    assert_eq!(members(&mut honest, 4).await, after);
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_no_name_of_another_edge() {
    let another_key = "another-key-of-edges";
    let home = pod(|settings| {
        knows(settings);
        settings.relay.keys.push(ApiKey::new(another_key.into()));
    });
    let own = secret_hello(HONEST, "drawn-by-lot");
    let mut honest = greeted(&home, KEY, &own).await.unwrap();
    leads(&mut honest).await;
    say_each(&mut honest, "join", &[json!({"connection": "c1"})]).await;
    assert_eq!(members(&mut honest, 1).await.len(), 1);
    let is_refused = async |key: &str, hello: &Value| {
        let why = greeted(&home, key, hello).await.err().expect("it is not taken in");
        assert!(why.starts_with("the edge's name is in use"), "{why}");
    };
    let guessed = secret_hello(HONEST, "guessed");
    for (key, said) in [(KEY, &guessed), (KEY, &hello(HONEST)), (another_key, &own)] {
        is_refused(key, said).await;
    }
    // The edge itself comes back, also before its old link was seen to have ended.
    let mut again = greeted(&home, KEY, &own).await.unwrap();
    leads(&mut again).await;
    drop(honest);
    drop(again);
    metric(&home, "roomcast_relay_edges", |count| count == 0.0).await;
    is_refused(KEY, &guessed).await;
    let mut taken = raw_edge(&home, KEY, TAKEN).await;
    assert_eq!(members(&mut taken, 1).await.len(), 1, "its members stay for a while");
    metric(&home, "roomcast_relay_refused_total{reason=\"name\"}", |count| count == 4.0).await;
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_no_name_of_a_pod_of_the_home_and_counts_with_the_pod_that_has_its_link() {
    let server = block_in_place(Standalone::start);
    let home = || {
        pod(|settings| {
            knows(settings);
            over(&server, settings);
        })
    };
    let (first, second) = (home(), home());
    ready(&first).await;
    ready(&second).await;
    let name = second.services().control.pod().to_owned();
    let began = Instant::now();
    // The first pod knows the second one once it has renewed its lease.
    let why = loop {
        match greeted(&first, KEY, &hello(&name)).await {
            Err(why) => break why,
            Ok(link) => drop(link),
        }
        assert!(began.elapsed() < Duration::from_secs(40), "it is taken in under a pod's name");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(why.starts_with("the edge's name is in use") && why.contains(&name), "{why}");
    // What an edge says to one pod of the home counts for the others, as far as it is believed.
    let mut edge = raw_edge(&second, KEY, HONEST).await;
    leads(&mut edge).await;
    acts_for(&mut edge, "ann").await;
    members(&mut edge, 1).await;
    let users = ["ann", "bob"];
    let ((said, silent), ()) = tokio::join!(present(&first, &users), says_present(&mut edge, &users));
    assert_eq!((said, silent), (vec![are_there(&name, &["ann"])], vec![]));
    first.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_no_user_is_there_without_a_token_of_that_user() {
    let home = pod(knows);
    let mut taken = raw_edge(&home, KEY, TAKEN).await;
    leads(&mut taken).await;
    acts_for(&mut taken, "mallory").await;
    members(&mut taken, 1).await;
    let users = ["ann", "mallory"];
    let ((said, silent), ()) = tokio::join!(present(&home, &users), says_present(&mut taken, &users));
    // What it was not believed may be so: the backend is told that it is not sure.
    assert_eq!((said, silent), (vec![are_there(TAKEN, &["mallory"])], vec![TAKEN.to_owned()]));
    metric(&home, "roomcast_relay_refused_total{reason=\"answer\"}", |count| count == 1.0).await;
    acts_for(&mut taken, "ann").await;
    let ((said, silent), ()) = tokio::join!(present(&home, &users), says_present(&mut taken, &users));
    assert_eq!((said, silent), (vec![are_there(TAKEN, &["ann", "mallory"])], vec![]));
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_of_the_home_goes_where_it_says_that_it_is() {
    let home = pod(knows);
    let mut says = hello(TAKEN);
    says["hello"]["address"] = json!("127.0.0.1:6379");
    let _taken = greeted(&home, KEY, &says).await.unwrap();
    assert_eq!(home.services().control.address(TAKEN).await, Ok(None));
    // Another edge may ask, and judges it by its own networks.
    let mut honest = raw_edge(&home, KEY, HONEST).await;
    assert_eq!(honest.ask(1, json!({"address": TAKEN})).await, json!({"Ok": {"address": "127.0.0.1:6379"}}));
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_questions_to_the_fleet_hold_up_no_answer_of_another_edge() {
    let home = pod(|settings| {
        takes_edges(settings);
        settings.relay.orders = true;
        settings.general.memory_budget = Some(16 * 1024 * 1024);
    });
    // One of those that are asked does not answer.
    let mut silent = raw_edge(&home, KEY, SILENT).await;
    leads(&mut silent).await;
    let mut taken = raw_edge(&home, KEY, TAKEN).await;
    for id in 0..64 {
        let patience = json!({"secs": 10, "nanos": 0});
        taken.say(&json!({"call": {"id": id, "call": {"ask_others": ["stats", patience]}}})).await;
    }
    silent.hear_of("ask").await;
    let mut honest = raw_edge(&home, KEY, HONEST).await;
    for id in 0..8 {
        let said = honest.ask(id, json!({"retained": "a"})).await;
        assert!(said.get("Ok").is_some(), "{said}");
    }
    let answered = timeout(Duration::from_millis(1), taken.hear_of("answered")).await;
    assert!(answered.is_err(), "the others were answered only after it: {answered:?}");
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_link_ends_once_its_key_is_taken_away_however_often_keys_change() {
    let with = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| ApiKey::new((*key).into())).collect();
        move |settings: &mut Settings| {
            takes_edges(settings);
            settings.relay.keys.clone_from(&keys);
        }
    };
    let home = pod(with(&[KEY]));
    let mut taken = raw_edge(&home, KEY, TAKEN).await;
    // It asks all the time, and asks for much.
    for id in 0..1_000 {
        taken.say(&json!({"call": {"id": id, "call": {"members": ["a", 10_000]}}})).await;
    }
    let began = Instant::now();
    for keys in [&[KEY, "second"][..], &["second"], &["second", "third"], &["third"]] {
        home.reload(config(settings(with(keys))));
    }
    assert_eq!(taken.ended().await, "its key is not one of `relay.keys` any more");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Nor does one that has begun to come in with it.
    home.reload(config(settings(with(&[KEY]))));
    let mut waiting = crate::raw_link::open(home.addresses().relay[0], KEY).await.unwrap();
    home.reload(config(settings(with(&["third"]))));
    waiting.say(&hello(TAKEN)).await;
    assert_eq!(waiting.ended().await, "its key is not one of `relay.keys` any more");
    assert!(home.services().presence.list(&Room::parse("a").unwrap(), 1).await.is_ok());
    home.stop();
}
