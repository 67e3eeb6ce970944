//! The tree of homes and edges as an operator sees it: `/status.json`, `roomcast stats` and `roomcast doctor --status`.

use std::time::{Duration, Instant};

use roomcast::testing::pod::Pod;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::block_in_place,
};

use crate::{
    cli::{roomcast, stderr, stdout},
    edges::{KEY, edge, follows, home, url},
    harness::{Client, get, pod, publish},
    status::shows,
    users::ready,
};

/// A way to a home that can be held up, both ways, without being cut.
struct SlowWay {
    url: String,
    held: watch::Sender<bool>,
}

impl SlowWay {
    async fn to(home: &Pod) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (held, home) = (watch::Sender::new(false), home.addresses().relay[0]);
        let holds = held.subscribe();
        tokio::spawn(async move {
            while let Ok((edge, _)) = listener.accept().await {
                let Ok(home) = TcpStream::connect(home).await else { continue };
                let ((from_edge, to_edge), (from_home, to_home)) = (edge.into_split(), home.into_split());
                tokio::spawn(pass(from_edge, to_home, holds.clone()));
                tokio::spawn(pass(from_home, to_edge, holds.clone()));
            }
        });
        Self { url, held }
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut held: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let _ = held.wait_for(|held| !held).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

fn internal(pod: &Pod) -> String {
    format!("http://{}", pod.addresses().internal[0])
}

fn ran(args: &[&str]) -> (Option<i32>, String) {
    let output = block_in_place(|| roomcast(args, &[]));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

/// What the doctor finds of a pod's links, and whether any of it failed.
fn doctor(pod: &Pod) -> (Option<i32>, Vec<(String, String, String)>) {
    let client = format!("http://{}", pod.addresses().plain[0]);
    let (code, text) = ran(&["doctor", &client, "--status", &internal(pod), "--json", "--idle", "1s"]);
    let said: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let word = |found: &Value, key: &str| found[key].as_str().unwrap().to_owned();
    let about = |found: &&Value| ["role", "link", "edges"].contains(&found["check"].as_str().unwrap());
    let findings = said["findings"].as_array().unwrap().iter().filter(about);
    (code, findings.map(|found| (word(found, "check"), word(found, "level"), word(found, "says"))).collect())
}

fn bytes(link: &Value) -> [u64; 2] {
    ["bytes_in", "bytes_out"].map(|key| link[key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_a_relay_and_an_edge_show_their_places_and_their_links() {
    let home = home();
    let relay = edge(&[url(&home)]).await;
    let far = edge(&[url(&relay)]).await;
    let mut client = Client::connect(far.addresses().plain[0]).await;
    for room in ["secret:1", "secret:2"] {
        client.subscribe(room).await;
    }
    for n in 0..20 {
        publish(&home, "secret:1", "t", &n.to_string()).await;
    }
    let at_home = shows(&home, "the relay's rooms", |status| status["tree"]["edges"][0]["rooms"] == 2).await;
    let name = |pod: &Pod| pod.services().control.pod().to_owned();
    let tree = &at_home["tree"];
    assert_eq!((&tree["role"], &tree["above"], &tree["links"]), (&"home".into(), &json!([]), &json!([])));
    assert_eq!((&tree["edge_links"], &tree["edges"][0]["pod"]), (&1.into(), &name(&relay).into()));
    let between =
        shows(&relay, "the events of the link", |status| !status["tree"]["links"][0]["lag_ms"].is_null()).await;
    let (tree, link) = (&between["tree"], &between["tree"]["links"][0]);
    assert_eq!((&tree["role"], &tree["above"]), (&"relay".into(), &json!([name(&home)])));
    assert_eq!((&link["home"], &link["pod"]), (&url(&home).into(), &name(&home).into()));
    assert_eq!((&link["rooms"], &link["leads"], &link["error"]), (&2.into(), &true.into(), &Value::Null));
    assert!(bytes(link).iter().all(|bytes| *bytes > 100), "{link:#}");
    // A link may stand a moment before its pod counts as begun.
    assert!(link["since_ms"].as_u64().unwrap() <= between["uptime_ms"].as_u64().unwrap() + 5_000, "{between:#}");
    assert_eq!((&tree["edges"][0]["pod"], &tree["edges"][0]["dropped"]), (&name(&far).into(), &0.into()));
    let at_end = shows(&far, "both pods above", |status| status["tree"]["above"].as_array().unwrap().len() == 2).await;
    let far_tree = &at_end["tree"];
    assert_eq!((&far_tree["role"], &far_tree["edge_links"]), (&"relay".into(), &0.into()), "it could have edges");
    // No name of a room, and none of a key, is in it.
    for status in [&at_home, &between, &at_end] {
        assert!(!status.to_string().contains("secret") && !status.to_string().contains("key-of-edges"), "{status:#}");
    }
    let (code, text) = ran(&["stats", &internal(&relay)]);
    let line = format!("             {}: up for 0:", url(&home));
    assert!(code == Some(0) && text.contains("role         relay; above it: ") && text.contains(&line), "{text}");
    let (code, found) = doctor(&relay);
    let levels: Vec<_> = found.iter().map(|(check, level, _)| (check.as_str(), level.as_str())).collect();
    assert_eq!((code, levels), (Some(0), vec![("role", "ok"), ("link", "ok"), ("edges", "ok")]), "{found:#?}");
    assert!(found[1].2.contains(&url(&home)) && found[1].2.contains("2 rooms"), "{found:#?}");
    // A pod that has neither.
    let alone = pod(|_| ());
    assert_eq!(shows(&alone, "itself", |status| status["readiness"] == "ready").await["tree"], Value::Null);
    assert_eq!(doctor(&alone).1[0].2, "the pod has no home and takes no edges in");
    for pod in [alone, far, relay, home] {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_down_is_said_with_its_address_and_since_when() {
    // No test listens there.
    let gone = "ws://127.0.0.1:1".to_owned();
    let home = home();
    let edge = pod(|settings| {
        follows(settings, &[url(&home), gone.clone()], KEY);
        settings.general.public_health = true;
    });
    ready(&edge).await;
    let (address, is_refused) =
        (url(&home), |link: &Value| link["error"].as_str().is_some_and(|why| why.contains("refused")));
    let seen = shows(&edge, "the address without a home", |status| is_refused(&status["tree"]["links"][1])).await;
    assert_eq!(seen["tree"]["role"], "edge");
    let (code, found) = doctor(&edge);
    let said = |found: &[(String, String, String)], home: &str| {
        found
            .iter()
            .find(|(_, _, says)| says.contains(home))
            .map(|(_, level, says)| (level.clone(), says.clone()))
            .unwrap()
    };
    assert_eq!((code, &*said(&found, &address).0), (Some(0), "ok"), "{found:#?}");
    let (level, says) = said(&found, &gone);
    assert!(level == "warning" && says.contains("has been down for") && says.contains("another one"), "{found:#?}");
    block_in_place(|| home.stop());
    let cut = shows(&edge, "the cut", |status| status["tree"]["links"][0]["pod"].is_null()).await;
    assert!(cut["tree"]["links"][0]["since_ms"].as_u64().unwrap() < cut["uptime_ms"].as_u64().unwrap(), "{cut:#}");
    let (code, found) = doctor(&edge);
    let (level, says) = said(&found, &address);
    assert!(code == Some(1) && level == "failed" && says.contains("clients get nothing new"), "{found:#?}");
    // From outside alone it is said, too, as far as it can be seen there.
    assert_eq!(get(&edge, "/accepting").await.1, r#"{"status":"degraded","reason":"upstream"}"#);
    let (_, text) = ran(&["doctor", &format!("http://{}", edge.addresses().plain[0]), "--idle", "1s"]);
    assert!(text.contains("its links to its home are down") && text.contains("--status http://POD:9000"), "{text}");
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_lags_is_said() {
    let home = home();
    let way = SlowWay::to(&home).await;
    let edge = edge(std::slice::from_ref(&way.url)).await;
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.subscribe("a").await;
    let began = Instant::now();
    loop {
        // Below the time after which a silent home counts as gone, and above what counts as late.
        way.held.send_replace(true);
        publish(&home, "a", "t", "1").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        way.held.send_replace(false);
        let seen = shows(&edge, "an event", |status| !status["tree"]["links"][0]["lag_ms"].is_null()).await;
        if seen["tree"]["links"][0]["lag_ms"].as_u64() >= Some(2_000) {
            break;
        }
        // An answer to a sign of life that was on its way makes the clocks look different for a moment.
        assert!(began.elapsed() < Duration::from_secs(60), "{seen:#}");
    }
    let (code, found) = doctor(&edge);
    let (check, level, says) = &found[1];
    assert_eq!((code, &**check, &**level), (Some(0), "link", "warning"), "{found:#?}");
    assert!(says.contains("lags") && says.contains(&way.url) && says.contains("1 room"), "{found:#?}");
    edge.stop();
    home.stop();
}
