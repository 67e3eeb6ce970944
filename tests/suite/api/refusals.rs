//! What each call refuses, and keys.

use super::*;

#[tokio::test]
async fn every_call_refuses_what_is_wrong_with_it() {
    let pod = newsroom(|settings| settings.limits.api_body = 2048);
    let (_client, id) = member(&pod, &["news:1"]).await;
    let mut caller = Caller::new(&pod).await;
    let connection = |rest: &str| format!("/api/connections/{id}{rest}");
    let gets = [
        "/api/rooms",
        "/api/rooms/news:1",
        "/api/rooms/news:1/history",
        "/api/rooms/news:1/presence",
        "/api/connections",
        &connection(""),
        "/api/users/ann",
        "/api/users/ann/unread",
        "/api/stats",
    ];
    let posts = [
        "/api/publish",
        "/api/broadcast",
        &connection("/disconnect"),
        &connection("/subscribe"),
        &connection("/unsubscribe"),
        &connection("/refresh"),
        "/api/users/ann/refresh",
        "/api/users/ann/disconnect",
        "/api/users/ann/subscribe",
        "/api/users/ann/unsubscribe",
    ];
    for (method, targets) in [("GET", &gets[..]), ("POST", &posts[..])] {
        for target in targets {
            for authorization in [
                "",
                "Authorization: Bearer wrong\r\n",
                "Authorization: Bearer \r\n",
                "Authorization: Basic test-key\r\n",
            ] {
                let answer = caller.request(method, target, authorization, b"{}").await;
                assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{target} {authorization}");
                assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
            }
            let answer = caller.call(method, &format!("{target}?nothing=1"), b"{}").await;
            assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{target}: {answer:?}");
            assert!(answer.message().contains("\"nothing\""), "{answer:?}");
            let deletes = ["/api/rooms/news:1", "/api/users/ann"].contains(target);
            let (other, allowed) = match method {
                "GET" if deletes => ("POST", "get, head, delete"),
                "GET" => ("POST", "get, head"),
                _ => ("GET", "post"),
            };
            let answer = caller.call(other, target, b"").await;
            assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"), "{target}");
            assert!(answer.head.contains(&format!("allow: {allowed}\r\n")), "{}", answer.head);
            let deleting = caller.call("DELETE", &format!("{target}?nothing=1"), b"").await;
            assert_eq!(deleting.status, if deletes { 400 } else { 405 }, "{target}");
        }
    }
    for target in &posts {
        for (body, status, code) in [
            (&b"{"[..], 400, "bad_request"),
            (b"[]", 400, "bad_request"),
            (b"room=a", 400, "bad_request"),
            (br#"{"nothing":1}"#, 400, "bad_request"),
            (b"{\"room\":\"\xff\"}", 400, "bad_request"),
            (&[b' '; 2049], 413, "limit_exceeded"),
        ] {
            let answer = caller.call("POST", target, body).await;
            assert_eq!((answer.status, answer.code()), (status, code), "{target} {}", String::from_utf8_lossy(body));
        }
    }
    for target in gets {
        let answer = caller.get(&target.replace("news:1", "news%2").replace("ann", "%")).await;
        let bad = target.contains("news:1") || target.contains("ann");
        assert_eq!(answer.status, if bad { 400 } else { 200 }, "{target}: {answer:?}");
    }
    for (target, status, code, says) in [
        ("/api/rooms?limit=0", 400, "bad_request", "from 1 to 1000"),
        ("/api/rooms?limit=1001", 400, "bad_request", "from 1 to 1000"),
        ("/api/rooms?limit=many", 400, "bad_request", "whole number"),
        ("/api/rooms?limit=1&limit=1", 400, "bad_request", "given twice"),
        ("/api/rooms?prefix=%f", 400, "bad_request", "`prefix`"),
        ("/api/rooms/a%20b", 400, "bad_room", "white space"),
        ("/api/rooms/a%FF", 400, "bad_request", "UTF-8"),
        ("/api/rooms/a%7Bb%7D/history", 400, "bad_room", "braces"),
        ("/api/rooms/a/history?offset=-1", 400, "bad_request", "`offset`"),
        ("/api/rooms/a/history?offset=9007199254740992", 400, "bad_request", "`offset`"),
        ("/api/rooms/a/history?limit=1001", 400, "bad_request", "from 0 to 1000"),
        ("/api/rooms/brief:1/history", 409, "not_available", "keeps no history"),
        ("/api/rooms/plain:1/presence", 409, "not_available", "switched off"),
        ("/api/rooms/news:1/presence?limit=x", 400, "bad_request", "`limit`"),
        ("/api/connections?after=x", 400, "bad_request", "`after`"),
        ("/api/connections?room=a+b", 400, "bad_room", "white space"),
        ("/api/connections?limit=0", 400, "bad_request", "from 1"),
        ("/api/connections/0000000000000000", 404, "not_found", "no connection"),
        ("/api/connections/nobody", 404, "not_found", "no connection"),
        ("/api/users/ann/unread?rooms=a%7Bb", 400, "bad_room", "`rooms`"),
        ("/api/users/ann/unread?rooms=plain:1", 409, "not_available", "`acks`"),
        ("/api/users/ann?after=1", 400, "bad_request", "`after`"),
        ("/api/nothing", 404, "not_found", "/api/nothing"),
        ("/api/rooms/", 404, "not_found", "/api/rooms/"),
        ("/api/rooms/a/b", 404, "not_found", "/api/rooms/a/b"),
        ("/nothing", 404, "not_found", "/nothing"),
    ] {
        let answer = caller.get(target).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{target}: {answer:?}");
        assert!(answer.message().contains(says), "{target}: {answer:?}");
    }
    let bad_room = json!({"room": "a b"});
    for (target, body, status, code) in [
        ("/api/publish", event("a b"), 400, "bad_room"),
        ("/api/publish", json!({"room": "a", "topic": "x".repeat(256), "data": 1}), 413, "limit_exceeded"),
        ("/api/publish", json!({"room": "a", "topic": "t", "key": "x".repeat(256), "data": 1}), 413, "limit_exceeded"),
        ("/api/publish", json!({"room": "a", "topic": "", "data": 1}), 400, "bad_request"),
        ("/api/publish", json!({"rooms": ["a"], "topic": "t", "data": 1}), 400, "bad_request"),
        (&connection("/refresh"), json!({"within_ms": 999}), 400, "bad_request"),
        (&connection("/refresh"), json!({"within_ms": 1500.5}), 400, "bad_request"),
        (&connection("/refresh"), json!({"within": 1500}), 400, "bad_request"),
        ("/api/connections/0000000000000000/refresh", json!({}), 404, "not_found"),
        ("/api/users/ann/refresh", json!({"within_ms": -1}), 400, "bad_request"),
        (&connection("/disconnect"), json!({"code": 1000}), 400, "bad_request"),
        (&connection("/disconnect"), json!({"code": "4003"}), 400, "bad_request"),
        (&connection("/subscribe"), bad_room.clone(), 400, "bad_room"),
        (&connection("/unsubscribe"), bad_room.clone(), 400, "bad_room"),
        ("/api/connections/0000000000000000/disconnect", json!({}), 404, "not_found"),
        ("/api/connections/0000000000000000/subscribe", json!({"room": "a"}), 404, "not_found"),
        ("/api/connections/nobody/unsubscribe", json!({"room": "a"}), 404, "not_found"),
        ("/api/users/ann/subscribe", bad_room.clone(), 400, "bad_room"),
        ("/api/users/ann/unsubscribe", bad_room, 400, "bad_room"),
        ("/api/users/ann/disconnect", json!({"code": 4029}), 400, "bad_request"),
    ] {
        let answer = caller.post(target, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{target} {body}: {answer:?}");
    }
    // Without a key nobody learns what there is; what is open needs none.
    for target in ["/api/nothing", "/api/", "/api/rooms/%"] {
        assert_eq!(caller.request("GET", target, "", b"").await.status, 401, "{target}");
    }
    for target in ["/health", "/accepting", "/ready", "/metrics", "/status.json", "/api/openapi.json"] {
        assert_eq!(caller.request("GET", target, "", b"").await.status, 200, "{target}");
        assert_eq!(caller.request("GET", &format!("{target}?x=1"), "", b"").await.status, 400, "{target}");
        assert_eq!(caller.request("POST", target, "", b"").await.status, 405, "{target}");
    }
    pod.stop();
}

#[tokio::test]
async fn an_empty_key_lets_nobody_in_and_new_keys_count_after_a_reload() {
    let keys = |keys: &[&str]| Some(keys.iter().map(|key| ApiKey::new((*key).to_owned())).collect::<Vec<_>>());
    let pod = pod(|settings| settings.general.api_keys = keys(&["", "first", "second"]));
    let mut caller = Caller::new(&pod).await;
    let mut status = async |key: &str| {
        caller.request("GET", "/api/stats", &format!("Authorization: Bearer {key}\r\n"), b"").await.status
    };
    for (key, expected) in [("first", 200), ("second", 200), ("", 401), ("third", 401), ("first ", 200)] {
        assert_eq!(status(key).await, expected, "{key:?}");
    }
    pod.reload(crate::harness::config(crate::harness::settings(|settings| {
        settings.general.api_keys = keys(&["third"])
    })));
    for (key, expected) in [("first", 401), ("third", 200)] {
        assert_eq!(status(key).await, expected, "{key:?}");
    }
    pod.reload(crate::harness::config(crate::harness::settings(|settings| settings.general.api_keys = keys(&[""]))));
    for key in ["", "third"] {
        assert_eq!(status(key).await, 401, "{key:?}");
    }
    pod.stop();
}
