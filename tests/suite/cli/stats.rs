//! `roomcast stats` asks a pod.

use serde_json::Value;
use tokio::task::block_in_place;

use super::{roomcast, stderr, stdout};
use crate::harness::{Client, pod};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_told_in_lines_in_json_and_with_its_fleet() {
    let own = pod(|_| ());
    let _client = Client::connect(own.addresses().plain[0]).await;
    // It has a place before its worker counts it.
    crate::status::shows(&own, "the client", |status| status["carried"][0]["dialect"] == "native").await;
    let url = format!("http://{}/", own.addresses().internal[0]);
    let told = |more: &[&str]| block_in_place(|| roomcast(&[&["stats", &url], more].concat(), &[]));
    let lines = told(&[]);
    assert_eq!(lines.status.code(), Some(0), "{}", stderr(&lines));
    let text = stdout(&lines);
    for line in
        ["state        ready\n", "connections  1 of ", "             websocket native: 1\n", "latency      p50 –"]
    {
        assert!(text.contains(line), "{text}");
    }
    let json: Value = serde_json::from_str(&stdout(&told(&["--json"]))).unwrap();
    assert_eq!((&json["readiness"], &json["carried"][0]["dialect"]), (&"ready".into(), &"native".into()));
    let fleet = stdout(&told(&["--fleet"]));
    assert!(fleet.starts_with("pod ") && fleet.contains("\n1 pod, 1 of "), "{fleet}");
    let fleet: Value = serde_json::from_str(&stdout(&told(&["--fleet", "--json"]))).unwrap();
    assert_eq!(fleet["pods"][0]["pod"], json["pod"]);
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_is_said_and_fails() {
    let own = pod(|settings| settings.general.internal_metrics = false);
    let (internal, plain) = (own.addresses().internal[0], own.addresses().plain[0]);
    for (url, says) in [
        (format!("http://{internal}"), "the metrics are switched off"),
        (format!("http://{plain}"), "404 Not Found: this is not the internal listener of a pod"),
        ("nonsense".to_owned(), "a URL is http://HOST:PORT"),
        ("http://127.0.0.1:1".to_owned(), "refused"),
    ] {
        let output = block_in_place(|| roomcast(&["stats", &url], &[]));
        let (code, said) = (output.status.code(), stderr(&output));
        assert!(code == Some(1) && said.contains(says) && stdout(&output).is_empty(), "{url}: {code:?} {said}");
    }
    assert_eq!(roomcast(&["stats", "--what"], &[]).status.code(), Some(2));
    own.stop();
}
