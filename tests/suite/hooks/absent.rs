//! A backend that is told of events whose users have no connection, to any pod.

use super::*;
use roomcast::testing::{
    config::RedisUrl,
    metrics::ABSENT_DESCRIPTIONS,
    model::{Payload, Publication},
};
use serde_json::value::RawValue;
use testkit::redis::{Node, Standalone};
use tokio::task::block_in_place;

const AFTER: Duration = Duration::from_millis(300);

fn telling(settings: &mut Settings, backend: &Backend) {
    settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
    settings.hooks.absent = Some(backend.url("/absent"));
    settings.hooks.absent_after = AFTER;
    settings.hooks.secret = HookSecret::new("0123456789abcdef");
    settings.policies = vec![
        rule("user:quiet*", |policy| policy.join = Access::Owner),
        rule("user:*", |policy| (policy.join, policy.absent_hook) = (Access::Owner, true)),
    ];
}

async fn connect(pod: &Pod, user: &str) -> Client {
    let token = token(&json!({"sub": user, "exp": 4_102_444_800_u64}));
    let target = format!("/ws?token={token}");
    let mut client = Client::open(pod.addresses().plain[0], &target, &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    assert_eq!(client.json().await["room"], format!("user:{user}"));
    client
}

async fn note(pod: &Pod, user: &str, id: &str) -> roomcast::testing::model::Position {
    let payload = Payload::Json(RawValue::from_string(r#"{"text":"hi"}"#.to_owned()).unwrap());
    let (topic, key) = ("note".into(), Some("k".into()));
    let publication = Publication { topic, key, payload, user: None, id: Some(id.into()), idempotency_key: None };
    crate::harness::publish_as(pod, &format!("user:{user}"), publication).await
}

/// Waits until the backend was told so often.
async fn told(backend: &Backend, times: usize) -> Vec<Asked> {
    let began = Instant::now();
    loop {
        let asked = backend.asked();
        if asked.len() >= times {
            return asked;
        }
        assert!(began.elapsed() < SOON, "the backend was told {} times", asked.len());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn outcome(pod: &Pod, outcome: &str) -> f64 {
    count(pod, &format!("roomcast_absent_events_total{{outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn an_event_of_a_user_that_is_away_is_told_as_the_document_says() {
    let backend = Backend::start(|_, _| Does::Answers(204, String::new())).await;
    let pod = pod(|settings| telling(settings, &backend));
    let _here = connect(&pod, "bob").await;
    note(&pod, "bob", "n-1").await;
    note(&pod, "quiet", "n-2").await;
    crate::harness::publish(&pod, "news", "note", "1").await;
    let position = note(&pod, "ann", "n-3").await;
    let asked = told(&backend, 1).await;
    let mut body = asked[0].body.clone();
    let event = &mut body["events"][0];
    assert_eq!((&event["epoch"], &event["offset"]), (&json!(position.epoch.as_str()), &json!(position.offset)));
    let mut expected = example("absent");
    for changing in ["epoch", "offset", "time"] {
        assert_eq!(event[changing].is_string(), expected["events"][0][changing].is_string());
        event[changing] = expected["events"][0][changing].take();
    }
    expected = example("absent");
    assert_eq!(body, expected, "no data, which is a user's own");
    assert_eq!(
        (asked[0].path.as_str(), asked[0].header("authorization")),
        ("/absent", Some("Bearer 0123456789abcdef"))
    );
    sleep(2 * AFTER).await;
    assert_eq!(backend.asked().len(), 1, "the other users were there, or are not to be told of");
    assert_eq!((outcome(&pod, "present").await, outcome(&pod, "told").await), (1.0, 1.0));
    pod.stop();
}

#[tokio::test]
async fn announcements_of_presence_are_no_events_that_a_user_missed() {
    let backend = Backend::start(|_, _| yes()).await;
    let pod = pod(|settings| {
        telling(settings, &backend);
        settings.user_presence.room = Some(PersonalRoom::parse("user:{user}").unwrap());
        settings.user_presence.offline_after = Duration::from_millis(20);
    });
    drop(connect(&pod, "ann").await);
    let (began, gone) = (Instant::now(), "roomcast_user_presence_announced_total{status=\"offline\"}");
    while count(&pod, gone).await < 1.0 {
        assert!(began.elapsed() < SOON, "that it went was not told");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(3 * AFTER).await;
    assert!(note(&pod, "ann", "n-1").await.offset > 1, "that it came, and went, is in its room");
    let asked = told(&backend, 1).await;
    let events: Vec<Value> = asked.iter().flat_map(|asked| asked.body["events"].as_array().unwrap().clone()).collect();
    assert!(events.len() == 1 && events[0]["topic"] == "note", "{events:?}");
    pod.stop();
}

#[tokio::test]
async fn one_that_comes_back_in_time_is_not_away() {
    let backend = Backend::start(|_, _| yes()).await;
    let pod = pod(|settings| {
        telling(settings, &backend);
        settings.hooks.absent_after = Duration::from_secs(2);
    });
    drop(connect(&pod, "ann").await);
    note(&pod, "ann", "n-1").await;
    let _back = connect(&pod, "ann").await;
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(backend.asked().len(), 0);
    assert!((outcome(&pod, "present").await - 1.0).abs() < f64::EPSILON);
    pod.stop();
}

#[tokio::test]
async fn the_backend_is_told_again_with_the_data_where_that_is_wanted() {
    let backend = Backend::start(|_, before| match before {
        0 => Does::Drops,
        1 => Does::Answers(503, String::new()),
        _ => yes(),
    })
    .await;
    let pod = pod(|settings| {
        telling(settings, &backend);
        settings.hooks.absent_data = true;
    });
    note(&pod, "ann", "n-1").await;
    note(&pod, "ann", "n-2").await;
    let asked = told(&backend, 3).await;
    assert!(asked.iter().all(|one| one.body == asked[0].body), "the same events");
    assert!(asked.iter().all(|one| one.header("idempotency-key") == asked[0].header("idempotency-key")));
    let events = asked[0].body["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["data"] == json!({"text": "hi"})), "{events:?}");
    // What it does not want is not told again.
    pod.stop();
    let backend = Backend::start(|_, _| Does::Answers(410, String::new())).await;
    let pod = crate::harness::pod(|settings| telling(settings, &backend));
    note(&pod, "ann", "n-1").await;
    told(&backend, 1).await;
    sleep(Duration::from_millis(600)).await;
    assert_eq!((backend.asked().len(), outcome(&pod, "refused").await), (1, 1.0));
    pod.stop();
}

#[tokio::test]
async fn of_a_user_that_is_erased_the_backend_is_not_told_again() {
    let names_ann = |asked: &Asked| asked.body.to_string().contains("\"ann\"");
    let backend = Backend::start(move |asked, _| match names_ann(asked) {
        true => Does::Answers(503, String::new()),
        false => yes(),
    })
    .await;
    let pod = pod(|settings| telling(settings, &backend));
    note(&pod, "ann", "n-1").await;
    note(&pod, "bob", "n-2").await;
    told(&backend, 1).await;
    let erase = "DELETE /api/users/ann HTTP/1.1\r\nAuthorization: Bearer test-key";
    assert_eq!(crate::users::call(pod.addresses().internal[0], erase, "").await.0, 200);
    let before = backend.asked().len();
    let mut asked = told(&backend, before + 1).await;
    if names_ann(&asked[before]) {
        // It was being sent.
        asked = told(&backend, before + 2).await;
    }
    let last = asked.last().unwrap();
    assert!(!names_ann(last) && last.body["events"][0]["id"] == "n-2", "{}", last.body);
    assert_ne!(last.header("idempotency-key"), asked[0].header("idempotency-key"), "other events");
    while outcome(&pod, "told").await == 0.0 {
        sleep(Duration::from_millis(20)).await;
    }
    assert!((outcome(&pod, "told").await - 1.0).abs() < f64::EPSILON);
    pod.stop();
}

#[tokio::test]
async fn what_waits_is_bounded_and_told_when_the_pod_ends() {
    let backend = Backend::start(|_, _| yes()).await;
    let pod = pod(|settings| {
        telling(settings, &backend);
        settings.hooks.absent_after = Duration::from_secs(60);
        settings.hooks.absent_queue = 3;
    });
    for n in 0..5 {
        note(&pod, "ann", &format!("n-{n}")).await;
    }
    assert_eq!((outcome(&pod, "dropped").await, count(&pod, "roomcast_absent_events_waiting").await), (2.0, 3.0));
    tokio::task::spawn_blocking(move || pod.stop()).await.unwrap();
    let asked = told(&backend, 1).await;
    let ids: Vec<_> = asked[0].body["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, ["n-2", "n-3", "n-4"]);
}

fn member(server: &Node, backend: &Backend) -> Pod {
    pod(|settings| {
        telling(settings, backend);
        let (host, port) = server.address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_is_on_another_pod_is_there() {
    let server = block_in_place(Standalone::start);
    let backend = Backend::start(|_, _| yes()).await;
    let (a, b) = (member(&server, &backend), member(&server, &backend));
    for pod in [&a, &b] {
        let began = Instant::now();
        while get(pod, "/ready").await.0 != 200 {
            assert!(began.elapsed() < Duration::from_secs(15), "not ready");
            sleep(Duration::from_millis(20)).await;
        }
    }
    let bob = connect(&b, "bob").await;
    note(&a, "bob", "n-1").await;
    note(&a, "ann", "n-2").await;
    let asked = told(&backend, 1).await;
    assert_eq!((&asked[0].body["events"][0]["user"], asked[0].body.get("unsure")), (&json!("ann"), None));
    assert!((outcome(&a, "present").await - 1.0).abs() < f64::EPSILON);
    // Its last connection is gone: it is told once, by the pod that published.
    drop(bob);
    let began = Instant::now();
    while get_api(&b, "/api/users/bob").await.1["total"] != 0 {
        assert!(began.elapsed() < SOON, "it is still there");
        sleep(Duration::from_millis(20)).await;
    }
    note(&a, "bob", "n-3").await;
    let asked = told(&backend, 2).await;
    assert_eq!(asked[1].body["events"][0]["id"], "n-3");
    sleep(3 * AFTER).await;
    assert_eq!(backend.asked().len(), 2);
    for pod in [a, b] {
        pod.stop();
    }
}

#[tokio::test]
async fn every_metric_of_absent_users_is_described() {
    let backend = Backend::start(|_, _| yes()).await;
    let pod = pod(|settings| telling(settings, &backend));
    let (_, text) = get(&pod, "/metrics").await;
    let guide = include_str!("../../../docs/OPERATIONS.md");
    for (name, says) in ABSENT_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")) && guide.contains(&format!("`{name}")), "{name}");
    }
    pod.stop();
    let pod = crate::harness::pod(|_| {});
    assert!(!get(&pod, "/metrics").await.1.contains("roomcast_absent_"));
    pod.stop();
}
