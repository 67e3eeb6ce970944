//! The calls: what is no answer, what is asked again, what is kept, how many at once, whom to trust.

use super::*;

#[tokio::test]
async fn what_is_no_answer_is_refused_and_not_called_a_denial() {
    let backend = Backend::start(|asked, _| match asked.body["room"].as_str().unwrap() {
        "asked:hangs" => Does::Hangs,
        "asked:500" => Does::Answers(500, "{\"allow\":true}".to_owned()),
        "asked:302" => Does::Answers(302, "{\"allow\":true}".to_owned()),
        "asked:404" => Does::Answers(404, "{\"allow\":false}".to_owned()),
        "asked:rubbish" => Does::Answers(200, "<html>".to_owned()),
        "asked:typo" => Does::Says(json!({"allow": true, "expires": 1})),
        "asked:large" => Does::Says(json!({"allow": true, "events": [{"topic": "t", "data": "x".repeat(300_000)}]})),
        "asked:drops" => Does::Drops,
        _ => no(),
    })
    .await;
    let pod = pod(|settings| asking(settings, &backend));
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for room in ["hangs", "500", "302", "404", "rubbish", "typo", "large", "drops"] {
        let began = Instant::now();
        let answer = client.ask(json!({"type": "subscribe", "room": format!("asked:{room}"), "id": room})).await;
        assert_eq!((&answer["code"], &answer["id"]), (&json!("unavailable"), &json!(room)), "{answer}");
        assert_eq!(answer["message"], "the backend that decides this gives no answer: try again later");
        assert!(began.elapsed() < Duration::from_secs(2), "{room}");
        let published =
            client.ask(json!({"type": "publish", "room": format!("asked:{room}"), "topic": "t", "data": 1})).await;
        assert_eq!(published["code"], "unavailable", "{published}");
    }
    let answer = client.ask(json!({"type": "subscribe", "room": "asked:no"})).await;
    assert_eq!((&answer["code"], &answer["message"]), (&json!("forbidden"), &json!("not you")));
    for (result, expected) in
        [("timeout", 1.0), ("failed", 4.0), ("bad_answer", 3.0), ("denied", 1.0), ("allowed", 0.0), ("full", 0.0)]
    {
        assert_eq!(questions(&pod, "subscribe", result).await, expected, "{result}");
    }
    // Nobody is in a room, and nothing is in a log.
    assert_eq!(client.ask(json!({"type": "stats"})).await["rooms"], 0);
    let (_, rooms) = get_api(&pod, "/api/rooms/asked:500/history").await;
    assert_eq!(rooms["events"], json!([]), "{rooms}");
    pod.stop();
}

#[tokio::test]
async fn a_question_is_asked_again_where_that_can_help() {
    let backend = Backend::start(|asked, before| match (asked.body["room"].as_str().unwrap(), before) {
        ("asked:drops", 0) => Does::Drops,
        ("asked:drops", 1) => Does::Answers(503, String::new()),
        (room, _) if room.starts_with("asked:5") => Does::Answers(room[6..].parse().unwrap(), String::new()),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.hooks.timeout = Duration::from_secs(2);
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("asked:drops").await;
    let asked = backend.asked();
    let names: BTreeSet<_> = asked.iter().map(|asked| asked.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!((asked.len(), names.len()), (3, 1), "three times, by one name");
    assert_eq!(asked[0].body, asked[2].body);
    for (status, times) in [(502, 3), (504, 3), (500, 1), (501, 1)] {
        let before = backend.asked().len();
        let answer = client.ask(json!({"type": "subscribe", "room": format!("asked:{status}")})).await;
        assert_eq!((&answer["code"], backend.asked().len() - before), (&json!("unavailable"), times), "{status}");
    }
    assert_eq!(count(&pod, "roomcast_hook_retries_total{hook=\"subscribe\"}").await, 6.0);
    pod.stop();

    // The pauses stay within the time.
    let away = HookUrl::parse("http://127.0.0.1:9/").unwrap();
    let pod = crate::harness::pod(|settings| {
        asking(settings, &backend);
        settings.hooks.subscribe = Some(away);
        settings.hooks.timeout = Duration::from_millis(300);
        settings.hooks.retries = 10;
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let began = Instant::now();
    let answer = client.ask(json!({"type": "subscribe", "room": "asked:1"})).await;
    assert_eq!(answer["code"], "unavailable");
    assert!((250..900).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    pod.stop();
}

#[tokio::test]
async fn answers_are_kept_for_as_long_as_they_say() {
    let backend = Backend::start(|asked, _| match asked.body["room"].as_str().unwrap() {
        "asked:kept" => Does::Says(json!({"allow": true, "cache_for": 400})),
        "asked:no" => Does::Says(json!({"allow": false, "cache_for": 60_000})),
        "asked:slow" => Does::Ponders(Duration::from_millis(150), json!({"allow": true, "cache_for": 60_000})),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| asking(settings, &backend));
    let address = pod.addresses().plain[0];
    let times = |room: &str| backend.asked().iter().filter(|asked| asked.body["room"] == room).count();
    for _ in 0..3 {
        let mut client = Client::connect(address).await;
        client.subscribe("asked:kept").await;
        client.subscribe("asked:each").await;
        assert_eq!(client.ask(json!({"type": "subscribe", "room": "asked:no"})).await["code"], "forbidden");
    }
    assert_eq!((times("asked:kept"), times("asked:no"), times("asked:each")), (1, 1, 3));
    assert_eq!(questions(&pod, "subscribe", "cached").await, 4.0);
    assert!(count(&pod, "roomcast_hook_cache_bytes{hook=\"subscribe\"}").await > 500.0);
    sleep(Duration::from_millis(450)).await;
    Client::connect(address).await.subscribe("asked:kept").await;
    assert_eq!(times("asked:kept"), 2, "its time is over");
    // Many who ask the same at once are one question.
    let clients: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move {
                Client::connect(address).await.subscribe("asked:slow").await;
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(times("asked:slow"), 1);
    pod.stop();
}

#[tokio::test]
async fn what_is_too_much_at_once_is_refused_and_named() {
    let backend = Backend::start(|asked, _| match asked.body["room"].as_str().unwrap() {
        "asked:slow" => Does::Ponders(Duration::from_millis(400), json!({"allow": true})),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| {
        asking(settings, &backend);
        settings.hooks.in_flight = 1;
        settings.hooks.timeout = Duration::from_secs(5);
    });
    let address = pod.addresses().plain[0];
    let (mut slow, mut other) = (Client::connect(address).await, Client::connect(address).await);
    slow.send(&json!({"type": "subscribe", "room": "asked:slow"}).to_string()).await;
    let began = Instant::now();
    while backend.asked().is_empty() {
        assert!(began.elapsed() < SOON);
        sleep(Duration::from_millis(5)).await;
    }
    let answer = other.ask(json!({"type": "subscribe", "room": "asked:1"})).await;
    assert_eq!(answer["code"], "unavailable");
    assert_eq!(answer["message"], "too many clients wait for the backend that decides this: try again later");
    assert_eq!(questions(&pod, "subscribe", "full").await, 1.0);
    assert_eq!(count(&pod, "roomcast_hook_in_flight").await, 1.0);
    assert_eq!(slow.json().await["type"], "subscribed");
    other.subscribe("asked:1").await;
    assert_eq!(count(&pod, "roomcast_hook_in_flight").await, 0.0);
    pod.stop();
}

#[tokio::test]
async fn the_backend_is_trusted_by_its_certificate() {
    // Nothing that speaks TLS is there: what matters is that the file is read when the pod starts.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut broken = settings(|settings| {
        settings.hooks.connect = Some(HookUrl::parse("https://127.0.0.1:9/").unwrap());
        settings.hooks.ca = Some(file.path().to_owned());
    });
    let error = Pod::start(config(broken.clone())).err().expect("it does not start").to_string();
    assert!(error.contains("the hooks cannot be set up") && error.contains("has no certificate"), "{error}");
    broken.hooks.ca = None;
    let pod = Pod::start(config(broken)).unwrap();
    assert_eq!(refused(pod.addresses().plain[0], "/ws").await.0, 503);
    pod.stop();
}

#[tokio::test]
async fn only_a_backend_that_is_trusted_decides() {
    let (ca, stranger) = (Ca::new("ours"), Ca::new("another"));
    let backend = Backend::start_over(Some(ca.acceptor()), |asked, _| match &*asked.path {
        "/connect" if asked.body["query"]["as"] == "bob" => no(),
        _ => yes(),
    })
    .await;
    let with = |ca: Option<&Ca>| {
        pod(|settings| {
            judging(settings, &backend);
            asking(settings, &backend);
            settings.hooks.secret = HookSecret::new("0123456789abcdef");
            settings.hooks.ca = ca.map(Ca::file);
        })
    };
    // By the authority that the operator names.
    let trusting = with(Some(&ca));
    let address = trusting.addresses().plain[0];
    let mut client = Client::connect(address).await;
    client.subscribe("asked:1").await;
    let answer = client.ask(json!({"type": "publish", "room": "asked:1", "topic": "t", "data": 1})).await;
    assert!(answer["type"] == "published" || answer["type"] == "events", "{answer}");
    assert_eq!(refused(address, "/ws?as=bob").await.0, 403);
    let asked = backend.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some("Bearer 0123456789abcdef")));
    for (hook, result, expected) in [
        ("connect", "allowed", 1.0),
        ("connect", "denied", 1.0),
        ("subscribe", "allowed", 1.0),
        ("publish", "allowed", 1.0),
    ] {
        assert_eq!(questions(&trusting, hook, result).await, expected, "{hook} {result}");
    }
    trusting.stop();
    // By nobody, or by another authority: it is asked nothing, told no secret, and nobody is let in.
    for ca in [None, Some(&stranger)] {
        let pod = with(ca);
        let address = pod.addresses().plain[0];
        for target in ["/ws", "/ws?as=bob"] {
            let (status, head, body) = refused(address, target).await;
            assert_eq!((status, head.contains("retry-after: ")), (503, true), "{head}");
            assert!(body.contains("the backend that decides this gives no answer: try again later"), "{body}");
            assert!(!body.contains("certificate") && !body.contains("UnknownIssuer"), "nothing of the backend: {body}");
        }
        assert_eq!(questions(&pod, "connect", "failed").await, 2.0);
        assert_eq!(questions(&pod, "connect", "allowed").await + questions(&pod, "connect", "denied").await, 0.0);
        pod.stop();
    }
    // Neither is one that speaks no TLS where https is asked, nor the other way round.
    let plain = Backend::start(|_, _| yes()).await;
    for url in [format!("https://{}/", plain.address), format!("http://{}/", backend.address)] {
        let pod = pod(|settings| {
            settings.hooks.connect = Some(HookUrl::parse(&url).unwrap());
            settings.hooks.timeout = Duration::from_millis(500);
            settings.hooks.ca = Some(ca.file());
        });
        assert_eq!(refused(pod.addresses().plain[0], "/ws").await.0, 503, "{url}");
        pod.stop();
    }
    assert_eq!((backend.asked().len(), plain.asked().len()), (4, 0));
}
