//! A deleted event for clients that do not speak the native protocol over a connection.

use std::path::Path;

use super::*;
use roomcast::testing::config::{Flags, Variables, merge};

const NOTES: &str = r#"
[[dialect]]
name = "notes"
paths = ["/notes"]
command = [
  { when = { "/do" = "enter" }, does = "subscribe", room = "chat:{/in}" },
  { when = { "/do" = "take back" }, does = "delete", room = "chat:{/in}", offset = "{/at}", epoch = "{/of}" },
  { when = { "/do" = "got" }, does = "delivered", room = "chat:{/in}", offset = "{/at}" },
]
message = [
  { on = "subscribed", write = '{"entered": "{room}"}' },
  { on = "done", write = '{"done": true}' },
  { on = "error", write = '{"error": "{code}"}' },
]
event = [{ write = '{"event": "{topic}", "data": "{data}"}' }]
"#;

/// What a poll is answered, and where its client stands then.
async fn poll(pod: &Pod, more: &str) -> (String, String) {
    let head = format!("GET /poll?token={}&{more} HTTP/1.1", token("cem"));
    let (status, body) = call(pod.addresses().plain[0], &head, "").await;
    assert_eq!(status, 200, "{body}");
    let said: Value = serde_json::from_str(&body).unwrap();
    let cursor = form_urlencoded::byte_serialize(said["cursor"].as_str().unwrap().as_bytes()).collect();
    (said["messages"].to_string(), cursor)
}

/// The next message that is no event that was said.
async fn next(client: &mut Client) -> Value {
    loop {
        let message = client.json().await;
        if message["event"] != "said" {
            return message;
        }
    }
}

async fn asked(client: &mut Client, command: &Value) -> Value {
    client.send(&command.to_string()).await;
    next(client).await
}

#[tokio::test]
async fn a_deleted_event_is_deleted_for_polls_and_dialects() {
    let pod = pod(|settings| {
        chats(settings);
        let notes = merge(&Flags::new(), &Variables::new(), Some((Path::new("notes"), NOTES))).unwrap();
        settings.dialects = notes.settings.dialects;
    });
    let mut ann = connect(&pod, "ann").await;
    let said = say(&mut ann, "m-1").await;
    let behind = format!("room=chat:1&since={}:0", said["epoch"].as_str().unwrap());
    let (before, cursor) = poll(&pod, &behind).await;
    assert!(before.contains("secret"), "{before}");
    let target = |user: &str| format!("/notes?token={}", token(user));
    let address = pod.addresses().plain[0];
    let mut phone = Client::open(address, &target("ann"), &[], &[], None).await.unwrap();
    let mut stranger = Client::open(address, &target("bob"), &[], &[], None).await.unwrap();
    for client in [&mut phone, &mut stranger] {
        assert_eq!(asked(client, &json!({"do": "enter", "in": 1})).await, json!({"entered": "chat:1"}));
    }
    // A room whose authors are told nothing.
    assert_eq!(asked(&mut stranger, &json!({"do": "got", "in": 1, "at": 1})).await, json!({"done": true}));
    for (command, code) in [
        (json!({"do": "take back", "in": 1, "at": 1}), "forbidden"),
        (json!({"do": "take back", "in": 1, "at": "x"}), "bad_request"),
        (json!({"do": "take back", "in": 1}), "bad_request"),
        (json!({"do": "take back", "in": 1, "at": 9}), "bad_position"),
        (json!({"do": "take back", "in": 1, "at": 1, "of": "another"}), "bad_position"),
    ] {
        assert_eq!(asked(&mut stranger, &command).await, json!({"error": code}), "{command}");
    }
    phone.send(&json!({"do": "take back", "in": 1, "at": 1}).to_string()).await;
    let told = json!({"event": "$deleted", "data": {"offsets": [1], "ids": ["m-1"]}});
    let mut heard = [next(&mut phone).await, next(&mut phone).await];
    heard.sort_by_key(|message| message["done"].is_null());
    assert_eq!(heard, [json!({"done": true}), told.clone()]);
    assert_eq!(next(&mut stranger).await, told);
    let (after, _) = poll(&pod, &format!("room=chat:1&cursor={cursor}")).await;
    assert!(after.contains(r#""topic":"$deleted""#) && after.contains(r#""ids":["m-1"]"#), "{after}");
    let (anew, _) = poll(&pod, &behind).await;
    assert!(!anew.contains("secret") && anew.contains(r#"{"offsets":[1]}"#), "{anew}");
    pod.stop();
}
