//! Events that are deleted, by a backend and by their authors: what members, and those that come later, are told.

mod ways;

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use crate::{
    edges::{KEY, follows, takes_edges, url},
    erasure::SEARCH,
    harness::{Client, pod, publish, rule},
    users::{call, connect, known, over, ready, token},
};
use roomcast::testing::{
    config::Settings,
    model::{Access, Conflate, DeleteMode, EraseMode, Retain},
    pod::Pod,
};

fn chats(settings: &mut Settings) {
    known(settings);
    settings.policies = vec![rule("chat:*", |policy| {
        (policy.publish, policy.delete) = (Access::User, DeleteMode::Author);
        (policy.conflate, policy.retain) = (Conflate::Topic, Retain::Topic);
        policy.conflate_topics = vec!["live".to_owned()];
    })];
}

async fn api(pod: &Pod, method: &str, path: &str, body: &str) -> (u16, Value) {
    let head = format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer test-key");
    let (status, body) = call(pod.addresses().internal[0], &head, body).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// The answer to a command, whatever comes before it.
async fn answer(client: &mut Client, command: Value) -> Value {
    client.send(&command.to_string()).await;
    loop {
        let message = client.json().await;
        if message["id"] == command["id"] {
            return message;
        }
    }
}

/// The next event with that topic.
async fn event(client: &mut Client, topic: &str) -> Value {
    loop {
        let message = client.json().await;
        let events = message["events"].as_array().cloned().unwrap_or_default();
        if let Some(event) = events.into_iter().find(|event| event["topic"] == topic) {
            return event;
        }
    }
}

async fn say(client: &mut Client, id: &str) -> Value {
    let event =
        json!({"type": "publish", "id": id, "room": "chat:1", "topic": "said", "event_id": id, "data": "secret"});
    let said = answer(client, event).await;
    assert_eq!(said["type"], "published", "{said}");
    said
}

fn delete(at: &Value) -> Value {
    json!({"type": "delete", "id": "d", "room": "chat:1", "epoch": at["epoch"], "offset": at["offset"]})
}

async fn over_two_pods(a: &Pod, b: &Pod, search: impl Fn() -> Option<bool>) {
    let (mut ann, mut bob) = (connect(a, "ann").await, connect(b, "bob").await);
    for client in [&mut ann, &mut bob] {
        client.subscribe("chat:1").await;
    }
    let (first, second) = (say(&mut ann, "m-1").await, say(&mut ann, "m-2").await);
    assert_ne!(search(), Some(false), "it is in the log");
    // Only its author, and only what there is.
    assert_eq!(answer(&mut bob, delete(&first)).await["code"], "forbidden");
    let mut absent = delete(&first);
    absent["offset"] = json!(9);
    assert_eq!(answer(&mut ann, absent.clone()).await["code"], "bad_position");
    (absent["offset"], absent["room"]) = (json!(1), json!("news:1"));
    assert_eq!(answer(&mut ann, absent).await["code"], "not_available");
    let reserved =
        json!({"type": "publish", "id": "r", "room": "chat:1", "topic": "$deleted", "data": {"offsets": [1]}});
    assert_eq!(answer(&mut bob, reserved).await["code"], "bad_request");

    assert_eq!(answer(&mut ann, delete(&first)).await["type"], "done");
    let told = event(&mut bob, "$deleted").await;
    assert_eq!((&told["data"], &told["user"]), (&json!({"offsets": [1], "ids": ["m-1"]}), &json!("ann")));
    assert_eq!(told["offset"], 3);
    assert_eq!(answer(&mut ann, delete(&first)).await["type"], "done", "to repeat it is harmless");
    // The backend, on whichever pod.
    let body = json!({"offset": 2, "epoch": second["epoch"]}).to_string();
    let (status, said) = api(b, "POST", "/api/rooms/chat:1/delete", &body).await;
    assert_eq!((status, &said["offset"], &said["position"]["offset"]), (200, &json!(2), &json!(4)), "{said}");
    let told = event(&mut bob, "$deleted").await;
    assert_eq!((&told["data"]["offsets"], &told["user"]), (&json!([2]), &Value::Null));
    assert_ne!(search(), Some(true), "nothing of it is left");

    // History, recovery and new members.
    let (_, history) = api(a, "GET", "/api/rooms/chat:1/history", "").await;
    let events = history["events"].as_array().unwrap();
    assert_eq!((events.len(), &history["complete"]), (4, &json!(true)), "{history}");
    assert!(events.iter().all(|event| event["topic"] == "$deleted") && !history.to_string().contains("secret"));
    assert_eq!((&events[0]["data"], &events[0]["id"]), (&json!({"offsets": [1]}), &json!("m-1")));
    let mut late = connect(b, "cem").await;
    let since = json!({"epoch": first["epoch"], "offset": 0});
    let joined = answer(&mut late, json!({"type": "subscribe", "id": "s", "room": "chat:1", "since": since})).await;
    assert_eq!(joined["recovered"], true, "{joined}");
    let missed = late.json().await;
    assert!(!missed.to_string().contains("secret"), "{missed}");
    assert_eq!(missed["events"].as_array().map(Vec::len), Some(4), "{missed}");
    // Nothing was retained, and the room goes on.
    publish(a, "chat:1", "live", "1").await;
    assert_eq!(event(&mut late, "live").await["offset"], 5);
    for (status, room, body) in [
        (404, "chat:1", r#"{"offset":99}"#),
        (404, "chat:1", r#"{"offset":99.0}"#),
        (400, "chat:1", r#"{"offset":1.5}"#),
        (400, "chat:1", r#"{"offset":"1"}"#),
        (404, "chat:1", r#"{"offset":1,"epoch":"another"}"#),
        (400, "chat:1", r#"{"offset":0}"#),
        (400, "chat:1", r#"{"offset":1,"epoch":""}"#),
        (400, "chat:1", r#"{"offset":1,"id":"m-1"}"#),
        (400, "a%20b", r#"{"offset":1}"#),
    ] {
        assert_eq!(api(a, "POST", &format!("/api/rooms/{room}/delete"), body).await.0, status, "{room} {body}");
    }
}

#[tokio::test]
async fn what_an_event_said_is_gone_and_members_are_told() {
    let pod = pod(chats);
    over_two_pods(&pod, &pod, || None).await;
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_on_two_pods_and_nothing_is_left_in_redis() {
    let server = block_in_place(Standalone::start);
    let [a, b] = [(); 2].map(|()| {
        pod(|settings| {
            chats(settings);
            over(&server, settings);
        })
    });
    ready(&a).await;
    ready(&b).await;
    let search = || block_in_place(|| server.call(&["EVAL", SEARCH, "0", "secret"]).text().to_owned());
    over_two_pods(&a, &b, || Some(!search().is_empty())).await;
    // A room that is forgotten takes what stood for its events with it.
    assert!(!block_in_place(|| server.call(&["EVAL", SEARCH, "0", "deleted:chat:1"]).text().to_owned()).is_empty());
    assert_eq!(api(&a, "DELETE", "/api/rooms/chat:1", "").await.0, 200);
    assert!(block_in_place(|| server.call(&["EVAL", SEARCH, "0", "deleted:chat:1"]).text().to_owned()).is_empty());
    block_in_place(|| {
        a.stop();
        b.stop();
    });
}

#[tokio::test]
async fn without_a_connection_too_and_at_the_rate_of_publishes() {
    let pod = pod(|settings| {
        chats(settings);
        settings.policies[0].policy.publish_burst = 3;
        settings.policies[0].policy.publish_per_second = 1;
    });
    let mut ann = connect(&pod, "ann").await;
    let said = say(&mut ann, "m-1").await;
    let commands = json!([delete(&said), delete(&said), delete(&said), delete(&said)]);
    let head = format!("POST /send?token={} HTTP/1.1", token("ann"));
    let (status, body) = call(pod.addresses().plain[0], &head, &commands.to_string()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let kinds: Vec<_> = body["messages"].as_array().unwrap().iter().map(|message| message["type"].clone()).collect();
    assert_eq!((status, kinds), (200, vec![json!("done"), json!("done"), json!("done"), json!("error")]), "{body}");
    assert_eq!(body["messages"][3]["code"], "rate_limited");
    pod.stop();
}

/// What a user published in rooms of three policies, once the user is erased. `left`: what still names it, if that can be seen.
async fn erases(a: &Pod, b: &Pod, left: impl Fn() -> Option<String>) {
    let (mut ann, mut bob) = (connect(a, "ann-e").await, connect(b, "bob").await);
    for room in ["kept:1", "shell:1", "gone:1"] {
        let joined = answer(&mut bob, json!({"type": "subscribe", "id": "s", "room": room})).await;
        assert_eq!(joined["type"], "subscribed", "{joined}");
        for (is_his, n) in [(false, 1), (true, 2), (false, 3)] {
            let client = if is_his { &mut bob } else { &mut ann };
            let event = json!({"type": "publish", "id": n, "room": room, "topic": "said", "event_id": format!("ann-e {n}"),
                "key": "of ann-e", "data": n});
            assert_eq!(answer(client, event).await["type"], "published");
        }
    }
    let mut erased = api(a, "DELETE", "/api/users/ann-e", "").await;
    while erased.0 == 503 {
        erased = api(a, "DELETE", "/api/users/ann-e", "").await;
    }
    assert_eq!((erased.0, &erased.1["silent"]), (200, &json!([])), "{erased:?}");
    let of = |events: &Value| -> Vec<Value> {
        let event = |event: &Value| json!([event["topic"], event["data"], event["user"], event["key"].is_null()]);
        events.as_array().unwrap().iter().map(event).collect()
    };
    let history = async |room: &str| api(b, "GET", &format!("/api/rooms/{room}/history"), "").await.1;
    let his = json!(["said", 2, "bob", false]);
    assert_eq!(of(&history("kept:1").await["events"])[0], json!(["said", 1, "ann-e", false]));
    let shell = json!(["said", null, null, true]);
    let told = json!(["$deleted", {"offsets": [1, 3], "content": true}, null, true]);
    assert_eq!(of(&history("shell:1").await["events"]), [shell.clone(), his.clone(), shell, told]);
    let tomb = |n| json!(["$deleted", {"offsets": [n]}, null, true]);
    let told = json!(["$deleted", {"offsets": [1, 3]}, null, true]);
    let gone = history("gone:1").await;
    assert_eq!((of(&gone["events"]), &gone["complete"]), (vec![tomb(1), his, tomb(3), told], &json!(true)));
    // In whichever order the rooms are found.
    let mut heard = [event(&mut bob, "$deleted").await, event(&mut bob, "$deleted").await].map(|it| it["data"].clone());
    heard.sort_by_key(|data| data["content"].is_null());
    assert_eq!(heard, [json!({"offsets": [1, 3], "content": true}), json!({"offsets": [1, 3]})]);
    // Of bob's own events nothing goes; what names the user is in the room that keeps it, and in bob's ids and keys.
    if let Some(left) = left() {
        let rooms: Vec<_> =
            left.split("; ").filter(|text| !text.contains("log:") && !text.contains("retry:")).collect();
        assert!(rooms.is_empty(), "{rooms:?}");
        assert!(!left.contains("authors:"), "{left}");
    }
}

/// Of a user that deleted events itself and is erased then no id is left. `left`: what still has one, if that can be seen.
async fn erases_ids(a: &Pod, b: &Pod, left: impl Fn() -> Option<String>) {
    let mut cem = connect(a, "cem-e").await;
    for room in ["shell:2", "gone:2"] {
        for n in [1, 2] {
            let event = json!({"type": "publish", "id": n, "room": room, "topic": "said", "event_id": format!("cem-e {n}"), "data": n});
            assert_eq!(answer(&mut cem, event).await["type"], "published");
        }
        let own = json!({"type": "delete", "id": "d", "room": room, "offset": 1});
        assert_eq!(answer(&mut cem, own).await["type"], "done");
    }
    let history = async |room: &str| api(b, "GET", &format!("/api/rooms/{room}/history"), "").await.1;
    assert!(history("gone:2").await["events"][0]["id"] == "cem-e 1", "until then it is found by it");
    while api(a, "DELETE", "/api/users/cem-e", "").await.0 == 503 {}
    for room in ["shell:2", "gone:2"] {
        let events = history(room).await["events"].clone();
        let said = |at: usize| json!([events[at]["topic"], events[at]["data"], events[at]["user"]]);
        assert_eq!([said(0), said(2)], [json!(["$deleted", {"offsets": [1]}, null]), said(0)], "{events}");
        assert!(!events.to_string().contains("cem-e"), "{events}");
    }
    assert_eq!(left().unwrap_or_default(), "");
}

fn writing(settings: &mut Settings) {
    known(settings);
    let rule = |pattern, erase| {
        rule(pattern, |policy| {
            (policy.publish, policy.erase, policy.history_age) =
                (Access::User, erase, std::time::Duration::from_secs(600));
            policy.delete = DeleteMode::Author;
        })
    };
    settings.policies =
        vec![rule("kept:*", EraseMode::Keep), rule("shell:*", EraseMode::Content), rule("gone:*", EraseMode::Event)];
}

#[tokio::test]
async fn what_an_erased_user_published_goes_as_the_policy_says() {
    let pod = pod(writing);
    erases(&pod, &pod, || None).await;
    erases_ids(&pod, &pod, || None).await;
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_on_two_pods() {
    let server = block_in_place(Standalone::start);
    let [a, b] = [(); 2].map(|()| {
        pod(|settings| {
            writing(settings);
            over(&server, settings);
        })
    });
    ready(&a).await;
    ready(&b).await;
    let search = |text| block_in_place(|| server.call(&["EVAL", SEARCH, "0", text]).text().to_owned());
    erases(&a, &b, || Some(search("ann-e"))).await;
    erases_ids(&a, &b, || Some(search("cem-e"))).await;
    block_in_place(|| {
        a.stop();
        b.stop();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_begins_anew_has_deleted_nothing() {
    let server = block_in_place(Standalone::start);
    let pod = pod(|settings| {
        chats(settings);
        over(&server, settings);
    });
    ready(&pod).await;
    let mut ann = connect(&pod, "ann").await;
    let first = say(&mut ann, "m-1").await;
    assert_eq!(answer(&mut ann, delete(&first)).await["type"], "done");
    // As if its record had run out before what says what was deleted.
    let lose = "for _, kind in ipairs({ 'room', 'log' }) do
                  redis.call('DEL', unpack(redis.call('KEYS', '*:' .. kind .. ':chat:1')))
                end
                return 1";
    block_in_place(|| server.call(&["EVAL", lose, "0"]));
    let second = say(&mut ann, "m-2").await;
    assert_eq!((&second["offset"], second["epoch"] == first["epoch"]), (&json!(1), false));
    let (_, history) = api(&pod, "GET", "/api/rooms/chat:1/history", "").await;
    assert_eq!(history["events"][0]["data"], "secret", "{history}");
    assert_eq!(answer(&mut ann, delete(&second)).await["type"], "done");
    let left = block_in_place(|| server.call(&["EVAL", SEARCH, "0", "secret"]).text().to_owned());
    assert!(left.is_empty(), "{left}");
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_deletes_where_its_home_takes_orders() {
    for orders in [false, true] {
        let home = pod(|settings| {
            takes_edges(settings);
            settings.relay.orders = orders;
        });
        let edge = pod(|settings| follows(settings, &[url(&home)], KEY));
        ready(&edge).await;
        let mut member = Client::connect(edge.addresses().plain[0]).await;
        member.subscribe("chat:1").await;
        publish(&edge, "chat:1", "said", r#""secret""#).await;
        let (status, said) = api(&edge, "POST", "/api/rooms/chat:1/delete", r#"{"offset":1}"#).await;
        let (_, history) = api(&home, "GET", "/api/rooms/chat:1/history", "").await;
        let (_, seen) = api(&edge, "GET", "/api/rooms/chat:1/history", "").await;
        assert_eq!(status, if orders { 200 } else { 503 }, "{said}");
        if orders {
            assert_eq!(event(&mut member, "$deleted").await["data"]["offsets"], json!([1]));
        }
        for history in [history, seen] {
            assert_eq!(history.to_string().contains("secret"), !orders, "{history}");
        }
        block_in_place(|| [edge, home].into_iter().for_each(Pod::stop));
    }
}
