//! Who is let in.

use super::*;

#[tokio::test]
async fn who_connects_is_the_backends_to_decide() {
    let backend = Backend::start(|asked, _| match asked.body["query"]["as"].as_str() {
        Some("ann") => Does::Says(json!({"allow": true, "user": "ann"})),
        Some("guest") => yes(),
        Some("unknown") => Does::Says(json!({"allow": false, "code": "unauthorized", "message": "who are you?"})),
        Some("soon") => Does::Says(json!({"allow": false, "code": "rate_limited", "message": "later"})),
        Some("broken") => Does::Answers(403, "{\"allow\":true}".to_owned()),
        _ => no(),
    })
    .await;
    let pod = pod(|settings| {
        judging(settings, &backend);
        // Nobody judges tokens: the backend alone lets clients in.
        settings.general.anonymous = Some(false);
        settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
        settings.policies = vec![
            rule("user:*", |policy| policy.join = Access::Owner),
            rule("for:users", |policy| policy.join = Access::User),
        ];
    });
    let address = pod.addresses().plain[0];
    let open = async |target: &str| Client::open(address, target, &["roomcast.v1"], &[], None).await;
    let mut ann = open("/ws?as=ann").await.unwrap();
    assert_eq!(ann.json().await["type"], "welcome");
    assert_eq!(ann.json().await["room"], "user:ann");
    ann.subscribe("for:users").await;
    let mut guest = open("/ws?as=guest").await.unwrap();
    assert_eq!(guest.json().await["type"], "welcome");
    let answer = guest.ask(json!({"type": "subscribe", "room": "for:users"})).await;
    assert_eq!(answer["code"], "forbidden", "let in, as nobody");
    for (target, status, says) in [
        ("/ws?as=bob", 403, "not you\n"),
        ("/ws?as=unknown", 401, "who are you?\n"),
        ("/ws?as=soon", 429, "later\n"),
        ("/ws?as=broken", 503, "the backend that decides this gives no answer: try again later\n"),
    ] {
        let (got, head, body) = refused(address, target).await;
        assert_eq!((got, &*body), (status, says), "{target}");
        assert_eq!(head.contains("retry-after"), status >= 429, "{head}");
    }
    assert_eq!(count(&pod, "roomcast_handshakes_total{stage=\"upgrade\",result=\"hook\"}").await, 4.0);
    assert_eq!(questions(&pod, "connect", "denied").await, 3.0);
    assert_eq!(questions(&pod, "connect", "allowed").await, 2.0);
    assert_eq!(questions(&pod, "connect", "failed").await, 1.0);
    // A poll and an event stream ask as well, and are answered in JSON.
    for path in ["/poll", "/events"] {
        let (status, _, body) = http(address, "GET", &format!("{path}?room=a&as=bob"), "").await;
        assert_eq!(status, 400, "polls take no parameters but their own: {body}");
    }
    let (status, _, body) = http(address, "GET", "/poll?room=a", "").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["message"]),
        (403, &json!("forbidden"), &json!("not you"))
    );
    assert_eq!(backend.asked().last().unwrap().body["transport"], "poll");
    // A page over WebTransport is told by a close.
    let quic = pod.addresses().quic[0];
    let mut page = Page::connect_to(quic, "/wt?as=guest").await;
    assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong");
    for (target, expected) in [("/wt?as=bob", 4003), ("/wt?as=unknown", 4001), ("/wt?as=broken", 1013)] {
        let (_endpoint, session) = ask(quic, target, &[], |_| {}).await.expect("it is accepted to be told");
        assert_eq!(code(&session.closed().await), Some(expected), "{target}");
    }
    assert_eq!(backend.asked().last().unwrap().body["transport"], "webtransport");
    pod.stop();
}

#[tokio::test]
async fn tokens_that_only_the_backend_knows_are_handed_on() {
    let backend = Backend::start(|asked, _| match asked.body["token"].as_str() {
        Some("t-ann") => Does::Says(json!({"allow": true, "user": "ann", "claims": {"n": 1}})),
        Some("t-ann-2") => Does::Says(json!({"allow": true, "user": "ann", "claims": {"n": 2}})),
        Some("t-bob") => Does::Says(json!({"allow": true, "user": "bob"})),
        Some("t-short") => {
            let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 700;
            Does::Says(json!({"allow": true, "user": "ann", "expires_at": u64::try_from(soon).unwrap()}))
        }
        Some("t-odd") => Does::Answers(500, String::new()),
        _ => Does::Says(json!({"allow": false, "code": "unauthorized", "message": "no such token"})),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        judging(settings, &backend);
        settings.hooks.token = true;
        settings.general.anonymous = Some(false);
    });
    let address = pod.addresses().plain[0];
    let open = async |target: &str| Client::open(address, target, &["roomcast.v1"], &[], None).await;
    assert_eq!(open("/ws?token=t-no").await.err(), Some(401));
    let mut client = open("/ws?token=t-ann").await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    // Another token of the same user is asked about as a refresh; somebody else's is not taken.
    let done = client.ask(json!({"type": "refresh", "token": "t-ann-2"})).await;
    assert_eq!(done["type"], "done", "{done}");
    let last = backend.asked().last().unwrap().clone();
    assert_eq!((&last.body["refresh"], &last.body["token"]), (&json!(true), &json!("t-ann-2")));
    assert!(last.body["connection"].is_string() && last.body["path"] == "/ws");
    let other = client.ask(json!({"type": "refresh", "token": "t-bob"})).await;
    assert_eq!(other["code"], "unauthorized");
    for (token, code) in [("t-no", "unauthorized"), ("t-odd", "unavailable")] {
        let refused = client.ask(json!({"type": "refresh", "token": token})).await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    assert_eq!(client.ask(json!({"type": "ping"})).await["type"], "pong", "it stays as it was");
    client.send(&json!({"type": "subscribe", "room": "asked:1"}).to_string()).await;
    client.json().await;
    let last = backend.asked().last().unwrap().body.clone();
    assert_eq!((&last["user"], &last["claims"]), (&json!("ann"), &json!({"n": 2})));

    // A token that comes later, behind it a command that waits for it.
    let mut later = open("/ws").await.unwrap();
    assert_eq!(later.json().await["type"], "welcome");
    assert_eq!(later.ask(json!({"type": "subscribe", "room": "a"})).await["code"], "unauthorized");
    assert_eq!(later.ask(json!({"type": "connect", "token": "t-odd"})).await["code"], "unavailable");
    later.send(&json!({"type": "connect", "token": "t-ann"}).to_string()).await;
    later.send(&json!({"type": "subscribe", "room": "a"}).to_string()).await;
    assert_eq!(later.json().await["type"], "done");
    assert_eq!(later.json().await["type"], "subscribed");
    let mut stranger = open("/ws").await.unwrap();
    stranger.json().await;
    assert_eq!(stranger.ask(json!({"type": "connect", "token": "t-no"})).await["code"], "unauthorized");
    assert_eq!(stranger.closed().await, Some(4001));
    // The end that the backend states.
    let mut short = open("/ws?token=t-short").await.unwrap();
    short.json().await;
    assert_eq!(short.closed().await, Some(4002));
    pod.stop();
}

#[tokio::test]
async fn a_verified_token_stands_beside_the_backend() {
    let backend = Backend::start(|asked, _| match asked.body["query"]["as"].as_str() {
        Some(user) => Does::Says(json!({"allow": true, "user": user})),
        None => yes(),
    })
    .await;
    let pod = pod(|settings| {
        judging(settings, &backend);
        settings.general.anonymous = Some(false);
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    });
    let address = pod.addresses().plain[0];
    let signed = token(&json!({"sub": "ann", "exp": 4_102_444_800_u64}));
    for (target, status) in [
        ("/ws?token=forged".to_owned(), Some(401)),
        (format!("/ws?token={signed}&as=bob"), Some(503)),
        (format!("/ws?token={signed}&as=ann"), None),
        (format!("/ws?token={signed}"), None),
    ] {
        let opened = Client::open(address, &target, &["roomcast.v1"], &[], None).await;
        assert_eq!(opened.err(), status, "{target}");
    }
    assert_eq!(backend.asked().len(), 3, "a forged token asks nobody");
    assert_eq!(backend.asked()[0].body["user"], "ann");
    // Without a token a client waits for its own, as without a backend.
    let mut later = Client::open(address, "/ws", &["roomcast.v1"], &[], None).await.unwrap();
    later.json().await;
    assert_eq!(later.ask(json!({"type": "connect", "token": signed})).await["type"], "done");
    let (status, _, _) = http(address, "GET", "/poll?room=a", "").await;
    assert_eq!(status, 401);
    pod.stop();
}
