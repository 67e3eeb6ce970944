//! Sessions that are still to be: how long each step may take, and which certificate is seen.

use std::{
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use roomcast::testing::pod::Pod;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    client::{Page, ask, code, endpoint},
    first_packet,
};
use crate::harness::{SOON, get, pod, publish};

/// How many handshakes had this result by now.
async fn handshakes(pod: &Pod, result: &str) -> u64 {
    let (_, metrics) = get(pod, "/metrics").await;
    let name = format!("stage=\"quic\",result=\"{result}\"");
    let line = metrics.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{name} in {metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let pod = pod(|settings| settings.timeouts.tls = Duration::from_millis(300));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let began = Instant::now();
    socket.send_to(&first_packet().await, pod.addresses().quic[0]).await.unwrap();
    while handshakes(&pod, "failed").await == 0 {
        assert!(began.elapsed() < SOON, "nobody gave it up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(handshakes(&pod, "ok").await, 0);
    pod.stop();
}

#[tokio::test]
async fn a_client_that_asks_for_no_session_is_given_up() {
    let pod = pod(|settings| settings.timeouts.head = Duration::from_millis(300));
    let address = pod.addresses().quic[0];
    let (endpoint, config) = endpoint(|_| {});
    let connection = endpoint.connect_with(config, address, "localhost").unwrap().await.unwrap();
    timeout(SOON, connection.closed()).await.expect("the pod gives it up");
    assert_eq!(pod.services().gate.connections(), 0);
    pod.stop();
}

#[tokio::test]
async fn a_session_without_a_stream_of_commands_is_given_up() {
    let pod = pod(|settings| settings.timeouts.connect = Duration::from_millis(300));
    let (_endpoint, session) = ask(pod.addresses().quic[0], "/wt", &[], |_| {}).await.unwrap();
    assert_eq!(pod.services().gate.connections(), 1, "it has a place");
    timeout(SOON, session.closed()).await.expect("the pod gives it up");
    let began = Instant::now();
    while pod.services().gate.connections() > 0 {
        assert!(began.elapsed() < SOON, "its place is not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pod.stop();
}

#[tokio::test]
async fn a_full_pod_says_so_to_the_page() {
    let pod = pod(|settings| settings.general.max_connections = Some(1));
    let address = pod.addresses().quic[0];
    let page = Page::connect(address).await;
    let (_endpoint, session) = ask(address, "/wt", &[], |_| {}).await.expect("it is accepted to be told");
    assert_eq!(code(&timeout(SOON, session.closed()).await.unwrap()), Some(1013));
    drop(page);
    let began = Instant::now();
    while pod.services().gate.connections() > 0 {
        assert!(began.elapsed() < SOON, "its place is not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Page::connect(address).await;
    pod.stop();
}

#[tokio::test]
async fn a_client_may_open_so_many_streams_and_no_more() {
    let pod = pod(|settings| settings.webtransport.streams = 4);
    let page = Page::connect(pod.addresses().quic[0]).await;
    // One asked for the session, one is for commands.
    let mut open = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), page.session.open_bi()).await {
        open.push(stream.unwrap());
        assert!(open.len() <= 2, "more than 4 streams");
    }
    assert_eq!(open.len(), 2);
    pod.stop();
}

#[tokio::test]
async fn nothing_is_taken_before_the_handshake_is_over() {
    let pod = pod(|_| {});
    let address = pod.addresses().quic[0];
    let mut tls = roomcast_certs::insecure::client_config_accept_any_with(&[&rustls::version::TLS13]).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.enable_early_data = true;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
    let (endpoint, _) = endpoint(|_| {});
    for _ in 0..2 {
        let connecting = endpoint.connect_with(config.clone(), address, "localhost").unwrap();
        // A ticket of the first connection would let the second begin with data (RFC 9001 section 4.6).
        let connecting = connecting.into_0rtt().err().expect("early data would be taken");
        let connection = timeout(SOON, connecting).await.expect("in time").unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        connection.close(quinn::VarInt::from_u32(0), b"");
    }
    pod.stop();
}

/// The hashes that the pod tells pages to pin.
async fn hashes(pod: &Pod) -> Vec<String> {
    let told: Value = serde_json::from_str(&get(pod, "/certificate-hashes").await.1).unwrap();
    let hashes = told["hashes"].as_array().unwrap().iter();
    hashes.map(|hash| hash["value"].as_str().unwrap().to_owned()).collect()
}

/// The hash of the certificate that a client sees.
fn served(page: &Page) -> String {
    let identity = page.session.peer_identity().unwrap();
    let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
    BASE64_STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &chain[0]))
}

#[tokio::test]
async fn a_certificate_and_the_next_one_overlap() {
    // A certificate that is due in a few seconds, as an earlier start has left it.
    let folder = std::env::temp_dir().join(format!("roomcast-rotation-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let due = Duration::from_secs(4);
    let old = roomcast_certs::DEVELOPMENT_VALIDITY - roomcast_certs::RENEW_BEFORE - Duration::from_secs(60 * 60) - due;
    let (_, pem) = roomcast_certs::make(SystemTime::now() - old).unwrap();
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(folder.join("development.pem")).unwrap();
    std::io::Write::write_all(&mut file, format!("{}{}", pem.certificate, pem.key).as_bytes()).unwrap();

    let pod = pod(|settings| settings.general.state_dir = Some(folder.clone()));
    let address = pod.addresses().quic[0];
    let mut before = Page::connect(address).await;
    let mut room = before.subscribe("plain:a").await;
    let first = hashes(&pod).await;
    assert_eq!(first, [served(&before)], "one, while it is not replaced");
    let began = Instant::now();
    let both = loop {
        pod.reload_certificate();
        let now = hashes(&pod).await;
        if now != first {
            break now;
        }
        assert!(began.elapsed() < due + SOON, "it is not replaced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let after = Page::connect(address).await;
    assert_eq!(both, [served(&after), first[0].clone()], "the new one, and the one that pages have pinned");
    assert_ne!(both[0], both[1]);
    publish(&pod, "plain:a", "t", "1").await;
    assert_eq!(room.json().await["events"][0]["data"], json!(1), "a session that stands is not touched");
    pod.stop();
    std::fs::remove_dir_all(&folder).unwrap();
}
