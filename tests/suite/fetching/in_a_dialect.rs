//! Polls and commands over HTTP in the words of a described dialect, at paths of its own.

use std::path::Path;

use super::{sending::post, *};
use roomcast::testing::config::{Flags, SettingsError, Variables, merge};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// The example of `docs/DIALECTS.md`.
pub(super) fn example() -> &'static str {
    let page = include_str!("../../../docs/DIALECTS.md");
    let section = page.split("\n## Without a WebSocket\n").nth(1).and_then(|rest| rest.split("```toml\n").nth(1));
    section.and_then(|rest| rest.split("```").next()).expect("the example")
}

pub(super) fn start(toml: &str) -> Pod {
    let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("dialect.toml"), toml))).unwrap().settings;
    pod(|settings| {
        (settings.policies, settings.dialects, settings.tokens) = (file.policies, file.dialects, file.tokens);
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.timeouts.poll = Duration::from_secs(2);
    })
}

fn token(user: &str) -> String {
    let claims = json!({"sub": user, "exp": 4_102_444_800_u64});
    SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap()
}

#[tokio::test]
async fn the_example_of_polling_works() {
    let pod = start(example());
    let address = pod.addresses().plain[0];
    let (ann, bob) = (token("ann"), token("bob"));
    let poll_as = |token: &str, last: &Value, more: &str| {
        let target = format!("/api/poll?token={token}&last={}{more}", encoded(last));
        let pod = &pod;
        async move { poll(pod, &target).await }
    };
    let first = poll_as(&ann, &json!(""), "&channel=chat:1&other=1").await;
    // The user's own room is there unasked.
    let entered = |room: &str| json!({"entered": room, "caughtUp": false});
    let mut news = first["news"].as_array().unwrap().clone();
    news.sort_by_key(Value::to_string);
    assert_eq!(news, [entered("1"), entered("ann")], "{first}");
    let say = |text: &str| json!({"do": "say", "room": 1, "text": text, "ref": text}).to_string();
    let (status, _, answer) = post(&pod, &format!("/api/send?token={bob}"), &[], say("hi")).await;
    assert_eq!((status, answer), (200, json!({"answers": [{"stored": "hi"}]})));
    publish(&pod, "user:ann", "note", "7").await;
    // The same as over a WebSocket, in the order of each room, strictly behind where it stood.
    let (mut said, mut last) = (Vec::new(), first["last"].clone());
    while said.len() < 2 {
        let answer = poll_as(&ann, &last, "&channel=chat:1").await;
        let news = answer["news"].as_array().unwrap();
        said.extend(news.iter().filter(|message| message.get("said").is_some()).cloned());
        last = answer["last"].clone();
    }
    said.sort_by_key(Value::to_string);
    assert_eq!(said, [json!({"said": "hi", "by": "bob"}), json!({"said": 7})]);
    // Without news it is answered all the same, with nothing that is new.
    let quiet = poll_as(&ann, &last, "&channel=chat:1").await;
    assert!(quiet["news"].as_array().unwrap().iter().all(|message| message["caughtUp"] == true), "{quiet}");
    let sorted = |cursor: &Value| {
        let mut rooms: Vec<_> = cursor.as_str().unwrap().split('&').map(str::to_owned).collect();
        rooms.sort();
        rooms
    };
    assert_eq!(sorted(&quiet["last"]), sorted(&last));
    // What was said is asked for by an address.
    let (status, past) = ask(&pod, "/api/rooms/1/past?most=5", &[]).await;
    let said = json!([{"said": "hi", "by": "bob"}]);
    assert_eq!((status, &past["past"]), (200, &said), "{past}");
    let behind: String = form_urlencoded::byte_serialize(past["upTo"].as_str().unwrap().as_bytes()).collect();
    let (_, past) = ask(&pod, &format!("/api/rooms/1/past?after={behind}"), &[]).await;
    assert_eq!(past["past"], json!([]));
    let (status, past) = ask(&pod, "/api/rooms/%31/past", &[]).await;
    assert_eq!((status, &past["past"]), (200, &said), "a path is decoded: {past}");
    for wrong in ["/api/rooms/%ff/past", "/api/rooms/%zz/past", "/api/rooms/a%20b/past"] {
        assert_eq!(ask(&pod, wrong, &[]).await.0, 400, "{wrong}");
    }
    // The native paths are there too.
    assert_eq!(poll(&pod, "/poll?room=chat:1").await["messages"][0]["type"], "subscribed");
    assert_eq!(Client::open(address, "/api/poll", &[], &[], None).await.err(), Some(404));
    pod.stop();
}

#[tokio::test]
async fn refusals_are_in_the_words_of_the_dialect() {
    let pod = start(example());
    for (target, status, code) in [
        ("/api/poll?channel=a%20b", 400, "bad_request"),
        ("/api/poll?other=1", 400, "bad_request"),
        ("/api/poll?channel=chat:1&last=x", 400, "bad_request"),
        ("/api/poll?channel=chat:1&token=x", 401, "unauthorized"),
        ("/api/poll?channel=closed:1", 403, "forbidden"),
        ("/api/rooms/1/past?most=x", 400, "bad_request"),
        ("/api/rooms/1/past?token=x", 401, "unauthorized"),
    ] {
        let (got, answer) = ask(&pod, target, &[]).await;
        assert_eq!((got, &answer["error"], &answer["ref"]), (status, &json!(code), &Value::Null), "{target}: {answer}");
    }
    let target = format!("/api/send?token={}", token("ann"));
    for (body, status, answer) in [
        (r#"{"do":"dance","ref":1}"#, 400, json!({"answers": [{"error": "unknown_command", "ref": 1}]})),
        (r#"{"do":"say","room":"a b","text":1}"#, 400, json!({"answers": [{"error": "bad_room"}]})),
        (
            r#"[{"do":"dance"},{"do":"say","room":1,"text":1,"ref":2}]"#,
            200,
            json!({"answers": [{"error": "unknown_command"}, {"stored": 2}]}),
        ),
        ("7", 400, json!({"error": "bad_request"})),
    ] {
        let (got, _, said) = post(&pod, &target, &[], body.to_owned()).await;
        assert_eq!((got, said), (status, answer), "{body}");
    }
    // `PUT` is as good as `POST`; nothing else is.
    let response = send(pod.addresses().plain[0], Method::DELETE, &target, &[]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"POST, PUT, OPTIONS".parse().unwrap())
    );
    pod.stop();
}

#[test]
fn two_things_on_one_path_are_refused_at_the_start() {
    for taken in ["/api/poll", "/api/rooms/*/past", "/send", "/events"] {
        let toml = example().replace("/api/send", taken);
        let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("d.toml"), &toml))).unwrap().settings;
        let refused = crate::harness::refused(|settings| settings.dialects = file.dialects);
        assert_eq!(refused, [SettingsError::Dialect(taken.to_owned())]);
    }
}
