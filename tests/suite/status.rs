//! What a pod shows an operator: `/status` and the snapshot that it reads.

use std::time::Duration;

use crate::harness::{Client, SOON, get, get_from, pod, publish};
use roomcast::testing::{config::HookUrl, pod::Pod};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn status(pod: &Pod) -> Value {
    let (code, text) = get(pod, "/status.json").await;
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The first snapshot that is as it should be: the pod looks at itself every 2 s.
pub async fn shows(pod: &Pod, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = timeout(SOON, async {
        loop {
            last = status(pod).await;
            if is_there(&last) {
                return last.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    found.unwrap_or_else(|_| panic!("{what} is not shown: {last:#}"))
}

async fn head(pod: &Pod, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap().to_lowercase()
}

fn limit<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == name).unwrap()
}

#[tokio::test]
async fn the_snapshot_shows_what_the_pod_does_and_no_names() {
    let pod = pod(|_| ());
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("secret:room").await;
    let latency = |status: &Value| status["latency"]["p50_ms"].as_f64();
    shows(&pod, "the connection", |status| status["carried"][0]["connections"] == 1).await;
    publish(&pod, "secret:room", "secret:topic", "1").await;
    client.json().await;
    let seen = shows(&pod, "the delivery", |status| status["totals"]["deliveries"] == 1).await;
    let carried = serde_json::json!([{"transport": "websocket", "dialect": "native", "connections": 1}]);
    assert_eq!((&seen["carried"], &seen["rooms"], &seen["connections"]), (&carried, &1.into(), &1.into()));
    assert_eq!((&seen["readiness"], &seen["redis"]), (&"ready".into(), &Value::Null));
    assert!(latency(&seen).is_some_and(|ms| ms > 0.0 && ms < 10_000.0), "{seen:#}");
    assert_eq!(limit(&seen, "connections")["used"], 1);
    assert_eq!(limit(&seen, "addresses")["limit"], Value::Null);
    let moments = seen["moments"].as_array().unwrap();
    assert!(moments.iter().any(|moment| moment["deliveries"].as_f64() > Some(0.0)), "{seen:#}");
    assert!(!seen.to_string().contains("secret"), "{seen:#}");
    let at = moments.last().unwrap()["at"].as_u64().unwrap();
    let later: Value = serde_json::from_str(&get(&pod, &format!("/status.json?after={at}")).await.1).unwrap();
    assert!(later["moments"].as_array().unwrap().iter().all(|moment| moment["at"].as_u64() > Some(at)), "{later:#}");
    assert_eq!(get(&pod, "/status.json?scope=all").await.0, 400);
    drop(client);
    let left = shows(&pod, "that it left", |status| status["connections"] == 0).await;
    assert_eq!(left["carried"], serde_json::json!([]));
    pod.stop();
}

#[tokio::test]
async fn a_certificate_that_has_run_out_is_not_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name| folder.path().join(name);
    let month = Duration::from_secs(30 * 86_400);
    let (_, pem) = roomcast_certs::make(std::time::SystemTime::now() - month).unwrap();
    std::fs::write(file("tls.crt"), pem.certificate).unwrap();
    std::fs::write(file("tls.key"), pem.key).unwrap();
    let expired = pod(|settings| {
        (settings.general.cert, settings.general.key) = (Some(file("tls.crt")), Some(file("tls.key")));
    });
    let left = &status(&expired).await["certificate_expires_s"];
    assert!(left.as_f64().is_some_and(|left| left < -86_400.0), "{left}");
    assert!(get(&expired, "/metrics").await.1.contains("roomcast_certificate_expires_seconds -"));
    expired.stop();
    let plain = pod(|settings| {
        (settings.general.dev, settings.general.listen) = (Some(false), Some(Vec::new()));
        settings.general.anonymous = Some(true);
    });
    assert_eq!(status(&plain).await["certificate_expires_s"], Value::Null);
    plain.stop();
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_shown() {
    // Nothing listens there.
    let [port] = testkit::ports::free();
    let nowhere = format!("http://127.0.0.1:{port}/");
    let pod = pod(|settings| settings.hooks.connect = Some(HookUrl::parse(&nowhere).unwrap()));
    assert_eq!(status(&pod).await["failing_hooks"], serde_json::json!([]));
    assert_eq!(get_from(pod.addresses().plain[0], "/poll?room=a").await.0, 503);
    shows(&pod, "the hook", |status| status["failing_hooks"] == serde_json::json!(["connect"])).await;
    pod.stop();
}

#[tokio::test]
async fn a_limit_that_refuses_is_shown_with_its_reason() {
    let pod = pod(|settings| settings.general.max_connections = Some(1));
    let _only = Client::connect(pod.addresses().plain[0]).await;
    let (code, _) = get_from(pod.addresses().plain[0], "/poll?room=a").await;
    assert_eq!(code, 503);
    // The counters are read before the limits say whether they bite: a refusal between the two shows whole at the next look.
    let is_whole = |limit: &Value| limit["refused"].as_u64() >= Some(1) && limit["bites"] == true && limit["used"] == 1;
    let seen = shows(&pod, "the refusal", |status| is_whole(limit(status, "connections"))).await;
    assert_eq!((&seen["readiness"], &seen["degraded"]), (&"overloaded".into(), &serde_json::json!(["connections"])));
    let limit = limit(&seen, "connections");
    assert_eq!((&limit["limit"], &limit["used"]), (&1.into(), &1.into()));
    pod.stop();
}

#[tokio::test]
async fn the_page_is_protected_only_to_be_read_and_goes_with_the_metrics() {
    let own = pod(|_| ());
    let page = get(&own, "/status").await;
    assert_eq!(page.0, 200);
    // What it loads is there, and nothing of it is from elsewhere.
    let files: Vec<&str> = page.1.split(['"']).filter(|text| text.ends_with(".js") || text.ends_with(".css")).collect();
    assert!(files.len() >= 3 && files.iter().all(|file| !file.contains(':')), "{files:?}");
    for file in files.into_iter().map(|file| format!("/{file}")).chain(["/status".to_owned()]) {
        let head = head(&own, "GET", &file).await;
        assert!(head.starts_with("http/1.1 200"), "{file}: {head}");
        for rule in ["default-src 'none'; script-src 'self'", "connect-src 'self';", "frame-ancestors 'none'"] {
            assert!(head.contains(rule), "{file}: {head}");
        }
        assert!(head.contains("x-content-type-options: nosniff") && !head.contains("unsafe"), "{file}: {head}");
    }
    assert!(head(&own, "POST", "/status").await.starts_with("http/1.1 405"));
    // The page of the public listeners is not here, and the other way round.
    assert_eq!(get(&own, "/page/client.js").await.0, 404);
    for path in ["/status", "/status.json", "/status/status.js"] {
        assert_eq!(get_from(own.addresses().plain[0], path).await.0, 404, "{path}");
    }
    own.stop();
    let silent = pod(|settings| settings.general.internal_metrics = false);
    for path in ["/status", "/status.json", "/page/page.css"] {
        assert_eq!(get(&silent, path).await.0, 404, "{path}");
    }
    silent.stop();
}
