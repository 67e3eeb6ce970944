//! `roomcast doctor` against a pod, and against what may lie between: one that takes `Upgrade` away, one that ends silent connections, one
//! with another host's certificate.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use roomcast::testing::{
    config::{HmacSecret, OriginPattern},
    pod::Pod,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::block_in_place,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{roomcast, stderr, stdout};
use crate::{ca::Ca, harness::pod};

/// What a middleman does to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    /// It knows nothing of upgrades.
    StripsUpgrade,
    /// It ends a connection that has said nothing for a second. It begins with that once the doctor's pings have passed.
    EndsSilence,
}

/// Stands in front of a pod's plain listener. `tls`: TLS ends here.
async fn middleman(pod: SocketAddr, does: Does, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(pod).await else { return };
                match tls {
                    None => pass(client, server, does).await,
                    Some(tls) => {
                        if let Ok(client) = tls.accept(client).await {
                            pass(client, server, does).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn pass(client: impl AsyncRead + AsyncWrite, server: TcpStream, does: Does) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let (heard, mut hears) = watch::channel(0_u64);
    let up = async {
        let mut first = true;
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            heard.send_modify(|times| *times += 1);
            let mut passed = bytes[..count].to_vec();
            // The doctor writes a head at once.
            if std::mem::take(&mut first) && does == Does::StripsUpgrade {
                let head = String::from_utf8(passed).unwrap();
                let stays = |line: &&str| !line.starts_with("Upgrade:") && *line != "Connection: Upgrade";
                passed = head.split("\r\n").filter(stays).collect::<Vec<_>>().join("\r\n").into_bytes();
            }
            if to_server.write_all(&passed).await.is_err() {
                return;
            }
        }
        let _ = to_server.shutdown().await;
        std::future::pending::<()>().await;
    };
    let pongs = watch::Sender::new(0);
    let mut answered = pongs.subscribe();
    let down = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            heard.send_modify(|times| *times += 1);
            let seen = bytes[..count].windows(6).filter(|window| *window == b"\"pong\"").count();
            pongs.send_modify(|pongs| *pongs += seen);
            if to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    let silence = async {
        if does != Does::EndsSilence {
            std::future::pending::<()>().await;
        }
        let _ = answered.wait_for(|pongs| *pongs >= 10).await;
        while timeout(Duration::from_secs(1), hears.changed()).await.is_ok() {}
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = silence => {}
    }
}

/// The findings by their checks, and how the doctor ended.
fn doctor(url: &str, more: &[&str]) -> (Option<i32>, BTreeMap<String, Value>) {
    let output = block_in_place(|| roomcast(&[&["doctor", url, "--json", "--idle", "3s"], more].concat(), &[]));
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let findings = said["findings"].as_array().unwrap().iter();
    let findings: BTreeMap<_, _> =
        findings.map(|found| (found["check"].as_str().unwrap().to_owned(), found.clone())).collect();
    assert_eq!(said["ok"], output.status.code() == Some(0), "{said:#}");
    (output.status.code(), findings)
}

fn levels(findings: &BTreeMap<String, Value>) -> Vec<(&str, &str)> {
    findings.iter().map(|(check, found)| (check.as_str(), found["level"].as_str().unwrap())).collect()
}

fn served_with_tls(ca: &Ca, anonymous: bool) -> Pod {
    let (cert, key) = ca.server();
    pod(|settings| {
        settings.general.dev = Some(false);
        settings.general.cert = Some(cert);
        settings.general.key = Some(key);
        settings.general.anonymous = Some(anonymous);
        settings.general.public_health = anonymous;
        settings.tokens.hmac_secrets = vec![HmacSecret::new("a secret of at least thirty-two bytes").unwrap()];
        settings.general.origins = vec![OriginPattern::parse("https://app.example").unwrap()];
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_deployment_has_only_good_findings() {
    let ca = Ca::new("doctor");
    let own = served_with_tls(&ca, true);
    let url = format!("https://127.0.0.1:{}", own.addresses().tls[0].port());
    let file = ca.file();
    let trust = ["--ca", file.to_str().unwrap()];
    let (code, findings) = doctor(&url, &[&trust[..], &["--origin", "https://app.example"]].concat());
    let checks = [
        "accepting",
        "clock",
        "deflate",
        "dns",
        "event-stream",
        "expiry",
        "idle",
        "latency",
        "long-poll",
        "origin",
        "own-origin",
        "resumption",
        "tcp",
        "tls",
        "upgrade",
        "webtransport",
    ];
    assert_eq!((code, levels(&findings)), (Some(0), checks.map(|check| (check, "ok")).to_vec()), "{findings:#?}");
    let says = |check: &str| findings[check]["says"].as_str().unwrap().to_owned();
    assert!(says("tls").contains("1.3") && says("deflate").contains("permessage-deflate"), "{findings:#?}");
    assert!(
        says("webtransport").contains("QUIC answers") && says("idle").contains("longer was not tested"),
        "{findings:#?}"
    );
    // A page that the pod does not know.
    let (code, findings) = doctor(&url, &[&trust[..], &["--origin", "https://other.example"]].concat());
    assert_eq!((code, &findings["own-origin"]["level"]), (Some(1), &"failed".into()), "{findings:#?}");
    assert!(findings["own-origin"]["change"].as_str().unwrap().contains("`origins`"), "{findings:#?}");
    // An authority that this machine does not know is one finding, not the end.
    let (code, findings) = doctor(&url, &["--origin", "https://app.example"]);
    assert_eq!((code, &findings["certificate"]["level"]), (Some(1), &"failed".into()), "{findings:#?}");
    assert!(findings["certificate"]["change"].as_str().unwrap().contains("--ca FILE"), "{findings:#?}");
    assert_eq!(findings["upgrade"]["level"], "ok", "{findings:#?}");
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_what_cannot_be_known_is_said() {
    let ca = Ca::new("doctor");
    let own = served_with_tls(&ca, false);
    let url = format!("wss://127.0.0.1:{}/ws", own.addresses().tls[0].port());
    let file = ca.file();
    let (code, findings) = doctor(&url, &["--ca", file.to_str().unwrap()]);
    assert_eq!((&findings["upgrade"]["level"], &findings["accepting"]["level"]), (&"ok".into(), &"ok".into()));
    for check in ["long-poll", "event-stream"] {
        assert_eq!((code, &findings[check]["level"]), (Some(0), &"warning".into()), "{check}: {findings:#?}");
        assert!(findings[check]["change"].as_str().unwrap().contains("--token"), "{check}: {findings:#?}");
    }
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_takes_upgrade_away_is_found() {
    let own = pod(|_| ());
    let address = middleman(own.addresses().plain[0], Does::StripsUpgrade, None).await;
    let (code, findings) = doctor(&format!("http://{address}"), &[]);
    assert_eq!((code, &findings["upgrade"]["level"]), (Some(1), &"failed".into()), "{findings:#?}");
    assert!(findings["upgrade"]["says"].as_str().unwrap().contains("without its `Upgrade`"), "{findings:#?}");
    assert!(findings["upgrade"]["change"].as_str().unwrap().contains("proxy_http_version 1.1"), "{findings:#?}");
    assert_eq!((&findings["long-poll"]["level"], &findings["tls"]["level"]), (&"ok".into(), &"warning".into()));
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_that_ends_silent_connections_is_found() {
    let own = pod(|_| ());
    let address = middleman(own.addresses().plain[0], Does::EndsSilence, None).await;
    let (code, findings) = doctor(&format!("http://{address}"), &[]);
    assert_eq!((code, &findings["idle"]["level"]), (Some(1), &"failed".into()), "{findings:#?}");
    assert!(findings["idle"]["says"].as_str().unwrap().contains("is ended after"), "{findings:#?}");
    assert!(findings["idle"]["change"].as_str().unwrap().contains("`timeouts.ping`"), "{findings:#?}");
    assert_eq!(findings["latency"]["level"], "ok", "{findings:#?}");
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_host_is_found_and_the_rest_is_still_looked_at() {
    let own = pod(|_| ());
    let ca = Ca::for_names("doctor", &["other.example"]);
    let address = middleman(own.addresses().plain[0], Does::Nothing, Some(ca.acceptor())).await;
    let file = ca.file();
    let (code, findings) = doctor(&format!("https://{address}"), &["--ca", file.to_str().unwrap()]);
    assert_eq!((code, &findings["certificate"]["level"]), (Some(1), &"failed".into()), "{findings:#?}");
    assert!(findings["certificate"]["change"].as_str().unwrap().contains("names this host"), "{findings:#?}");
    assert!(
        findings["certificate"]["says"].as_str().unwrap().starts_with("the certificate is not for "),
        "{findings:#?}"
    );
    assert_eq!(
        (&findings["upgrade"]["level"], &findings["tls"]["level"]),
        (&"ok".into(), &"ok".into()),
        "{findings:#?}"
    );
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_pod_at_all_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = client.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
                sleep(Duration::from_secs(30)).await;
            });
        }
    });
    let (code, findings) = doctor(&format!("http://{address}"), &[]);
    assert_eq!((code, &findings["http"]["level"]), (Some(1), &"failed".into()), "{findings:#?}");
    let (code, findings) = doctor("http://doctor.invalid", &[]);
    assert_eq!((code, levels(&findings)), (Some(1), vec![("dns", "failed")]));
    let usage = roomcast(&["doctor", "push.example.com"], &[]);
    assert_eq!(usage.status.code(), Some(1));
    assert!(stderr(&usage).contains("a URL is https://host"), "{}", stderr(&usage));
}
