//! Connections as a backend sees, moves and closes them.

use super::*;

/// What a pod alone says to an order.
fn affected(connections: usize) -> serde_json::Value {
    json!({"scope": "fleet", "connections": connections, "pods": 1, "silent": []})
}

#[tokio::test]
async fn connections_are_seen_moved_and_closed() {
    let pod = newsroom(|_| {});
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(member(&pod, &["news:1"]).await);
    }
    clients.sort_by(|(_, a), (_, b)| a.cmp(b));
    let ids: Vec<_> = clients.iter().map(|(_, id)| id.clone()).collect();
    let mut caller = Caller::new(&pod).await;
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/api/connections?room=news:1&limit=2{after}")).await.body;
        assert_eq!(page["total"], 5);
        listed.extend(page["connections"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(listed, ids);
    assert_eq!(caller.get("/api/connections?room=other").await.body, json!({"connections": [], "total": 0}));
    assert_eq!(caller.get("/api/connections?user=ann").await.body["total"], 0);
    assert_eq!(caller.get("/api/users/ann%2Fb").await.body, json!({"connections": [], "total": 0}));
    for act in ["subscribe", "unsubscribe"] {
        let answer = caller.post(&format!("/api/users/ann/{act}"), json!({"room": "news:1"})).await;
        assert_eq!((answer.status, answer.body), (200, affected(0)));
    }
    let answer = caller.call("POST", "/api/users/ann/disconnect", b"").await;
    assert_eq!((answer.status, answer.body), (200, affected(0)));

    let (client, id) = &mut clients[2];
    let own = format!("/api/connections/{id}");
    let detail = caller.get(&own).await.body;
    assert_eq!((&detail["id"], &detail["transport"], &detail["tls"]), (&json!(id), &json!("websocket"), &json!(false)));
    assert_eq!((&detail["rooms"][0]["room"], &detail["messages_in"]), (&json!("news:1"), &json!(1)), "{detail}");
    assert!(detail["bytes_out"].as_u64() > Some(0) && detail.get("user").is_none(), "{detail}");

    // Into a room that it may not join by itself, and out again.
    let closed = json!({"room": "closed:1"});
    for (act, changed, told) in [
        ("subscribe", 1, "subscribed"),
        ("subscribe", 0, ""),
        ("unsubscribe", 1, "unsubscribed"),
        ("unsubscribe", 0, ""),
    ] {
        let answer = caller.post(&format!("{own}/{act}"), closed.clone()).await;
        assert_eq!((answer.status, &answer.body), (200, &affected(changed)), "{act}");
        if told.is_empty() {
            assert!(client.is_quiet().await, "{act} again tells nothing");
        } else {
            let message = client.json().await;
            assert_eq!((&message["type"], &message["room"]), (&json!(told), &json!("closed:1")), "{message}");
        }
        if told == "subscribed" {
            caller.post("/api/publish", event("closed:1")).await;
            assert_eq!(client.json().await["room"], "closed:1");
        }
    }

    for ((client, id), (body, code)) in
        clients.iter_mut().zip([("", 4003), ("{}", 4003), ("{\"code\":4001}", 4001), ("{\"code\":1012}", 1012)])
    {
        let answer = caller.call("POST", &format!("/api/connections/{id}/disconnect"), body.as_bytes()).await;
        assert_eq!((answer.status, &answer.body), (200, &affected(1)), "{body}");
        assert_eq!(client.closed().await, Some(code), "{body}");
    }
    let left = caller.get("/api/connections").await.body;
    assert_eq!((&left["total"], &left["connections"][0]["id"]), (&json!(1), &json!(ids[4])));
    pod.stop();
}

#[tokio::test]
async fn all_connections_of_a_user_are_one_for_the_backend() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let pod = newsroom(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.tokens.leeway = Duration::ZERO;
    });
    let connect = async |user: &str| {
        let claims = json!({"sub": user, "exp": 4_000_000_000_u64});
        let token = SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap();
        let (address, bearer) = (pod.addresses().plain[0], format!("Bearer {token}"));
        let mut client =
            Client::open(address, "/ws", &["roomcast.v1"], &[("Authorization", &bearer)], None).await.unwrap();
        let id = client.json().await["connection"].as_str().unwrap().to_owned();
        (client, id)
    };
    let (mut first, mut second, mut other) = (connect("ann/é").await, connect("ann/é").await, connect("ann").await);
    first.0.subscribe("news:1").await;
    let mut caller = Caller::new(&pod).await;
    let ann = "/api/users/ann%2F%C3%A9";
    let mut ids = [first.1.clone(), second.1.clone()];
    ids.sort();
    let listed = caller.get(ann).await.body;
    assert_eq!((&listed["total"], &listed["connections"][0]["id"]), (&json!(2), &json!(ids[0])), "{listed}");
    assert_eq!(listed["connections"][1]["user"], "ann/é", "{listed}");
    assert_eq!(listed["connections"][1]["expires_at"], json!(4_000_000_000_000_u64), "{listed}");
    let page = caller.get(&format!("{ann}?limit=1")).await.body;
    assert_eq!((&page["total"], &page["next"]), (&json!(2), &json!(ids[0])), "{page}");
    let page = caller.get(&format!("{ann}?limit=1&after={}", ids[0])).await.body;
    assert_eq!((&page["connections"][0]["id"], page.get("next")), (&json!(ids[1]), None), "{page}");
    let filtered = caller.get("/api/connections?user=ann%2F%C3%A9&room=news:1").await.body;
    assert_eq!((&filtered["total"], &filtered["connections"][0]["id"]), (&json!(1), &json!(first.1)), "{filtered}");

    let room = json!({"room": "news:1"});
    for (act, changed) in [("subscribe", 1), ("subscribe", 0), ("unsubscribe", 2), ("unsubscribe", 0)] {
        let answer = caller.post(&format!("{ann}/{act}"), room.clone()).await;
        assert_eq!((answer.status, answer.body), (200, affected(changed)), "{act}");
    }
    assert_eq!(second.0.json().await["type"], "subscribed");
    for client in [&mut first.0, &mut second.0] {
        assert_eq!(client.json().await["type"], "unsubscribed");
    }
    let answer = caller.post(&format!("{ann}/disconnect"), json!({"code": 4001})).await;
    assert_eq!((answer.status, answer.body), (200, affected(2)));
    for client in [&mut first.0, &mut second.0] {
        assert_eq!(client.closed().await, Some(4001));
    }
    assert!(other.0.is_quiet().await, "another user is not meant");
    assert_eq!(caller.get(ann).await.body["total"], 0);
    pod.stop();
}
