//! Clients whose packets come to another pod than the one that has their session, and clients that come back to another pod.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use quinn::ConnectionError;
use roomcast::testing::{
    config::{RedisUrl, Settings},
    pod::Pod,
    protocol::SUBPROTOCOL,
};
use rustix::process::Signal;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::json;
use testkit::{
    process::Process,
    redis::{Node, Standalone},
};
use tokio::{task::block_in_place, time::timeout};
use web_transport_quinn::{Session, proto::ConnectRequest};

use super::{
    client::{Page, endpoint},
    way::{UdpWay, answers},
};
use crate::harness::{SOON, get, get_from, pod};

/// How long anything may take that waits for leases.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lease of the pods: none is late by so much on a busy machine.
const LEASE: Duration = Duration::from_secs(5);

/// A file with the key that the pods share.
fn shared_key(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("shared.key");
    std::fs::write(&path, [200; 80]).unwrap();
    path
}

/// A pod that can be killed.
fn process(server: &Node, dir: &Path) -> Process {
    let ((host, port), key) = (server.address(), shared_key(dir));
    let file = dir.join("rc.toml");
    let text = format!(
        "[redis]\nurls = ['redis://{host}:{port}']\nlease = '{}s'\n[tls]\nticket_keys = ['{}']\n[drain]\ndelay = '60s'\n\
         [webtransport]\nidle = '10m'\n",
        LEASE.as_secs(),
        key.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["serve", "--dev", "--config"]).arg(file).env_clear();
    for listener in ["LISTEN", "PLAIN_LISTEN", "INTERNAL_LISTEN"] {
        command.env(format!("ROOMCAST_{listener}"), "127.0.0.1:0");
    }
    Process::start(command)
}

/// Its neighbour, in this process.
fn neighbour(server: &Node, dir: &Path) -> Pod {
    let key = shared_key(dir);
    pod(|settings: &mut Settings| {
        let (host, port) = server.address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.lease = LEASE;
        settings.tls.ticket_keys = vec![key];
    })
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many packets for connections that a pod does not have had this outcome.
async fn strays(pod: &Pod, outcome: &str) -> u64 {
    let (_, metrics) = get(pod, "/metrics").await;
    let name = format!("roomcast_quic_strays_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_else(|| panic!("{name}"))
}

/// Both pods, and clients of the first, each with a way of its own.
struct Fleet {
    a: Process,
    b: Pod,
    pages: Vec<(Page, UdpWay)>,
    dir: tempfile::TempDir,
    _server: Standalone,
}

impl Fleet {
    async fn start(clients: usize) -> Self {
        let server = block_in_place(Standalone::start);
        let dir = tempfile::tempdir().unwrap();
        let a = block_in_place(|| process(&server, dir.path()));
        let b = neighbour(&server, dir.path());
        until("the first pod", async || get_from(a.address("internal"), "/ready").await.0 == 200).await;
        until("the second pod", async || get(&b, "/ready").await.0 == 200).await;
        let mut pages = Vec::new();
        for _ in 0..clients {
            let way = UdpWay::to(a.address("tls")).await;
            let no_end = |transport: &mut quinn::TransportConfig| {
                transport.max_idle_timeout(None);
            };
            let mut page = Page::connect_with(way.address, "/wt", no_end).await;
            assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong");
            pages.push((page, way));
        }
        Self { a, b, pages, dir, _server: server }
    }

    /// Waits until the second pod believes what it is told of leases, as it does after a whole one of its own. No pod has this number: it has
    /// left, then.
    async fn trusts_leases(&self) {
        until("trust", async || self.b.services().control.has_left(0xffff_0000_ffff)).await;
    }

    fn second(&self) -> SocketAddr {
        self.b.addresses().quic[0]
    }

    /// Sends the first client's packet to the second pod until that answers; the answer.
    async fn first_answer(&self) -> Vec<u8> {
        let mut answer = Vec::new();
        until("an answer", async || {
            let mut answered = answers(self.second(), &[self.pages[0].1.packet()]).await;
            answer = answered.pop().unwrap_or_default();
            !answer.is_empty()
        })
        .await;
        answer
    }
}

/// Waits for the end of a client's connection. No time ends it so soon: it was reset. `web-transport-quinn` closes what it has lost, and quinn
/// may then say that instead.
async fn is_reset(page: &Page) {
    let connection: &quinn::Connection = &page.session;
    let end = timeout(SOON, connection.closed()).await.expect("an end in time");
    assert!(matches!(end, ConnectionError::Reset | ConnectionError::LocallyClosed), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_pods_clients_learn_it_from_another_pod_and_a_living_ones_hear_nothing() {
    let mut fleet = Fleet::start(2).await;
    fleet.trusts_leases().await;
    let (to, packet) = (fleet.second(), fleet.pages[0].1.packet());
    // Long enough for some newer lists of the pods.
    for _ in 0..10 {
        assert!(answers(to, std::slice::from_ref(&packet)).await.is_empty(), "the pod lives");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((strays(&fleet.b, "living").await, strays(&fleet.b, "reset").await), (10, 0));
    for (page, _) in &mut fleet.pages {
        assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong", "the session goes on");
    }
    block_in_place(|| fleet.a.kill());
    let answer = fleet.first_answer().await;
    assert!(answer.len() < packet.len());
    assert!(fleet.pages[0].0.session.close_reason().is_none(), "silence alone ends no connection");
    fleet.pages[0].1.tell(&answer).await;
    is_reset(&fleet.pages[0].0).await;
    // Now it is known: one packet, one answer, and the next client's packets find their way here by themselves.
    let (page, way) = &mut fleet.pages[1];
    assert_eq!(answers(to, &[way.packet()]).await.len(), 1);
    way.lead_to(to);
    page.send(&json!({"type": "ping"})).await;
    is_reset(page).await;
    // Without Redis a pod knows of no lease; without the key it knows no ID.
    let key = shared_key(fleet.dir.path());
    let alone = pod(|settings| settings.tls.ticket_keys = vec![key]);
    let stranger = pod(|_| {});
    for (pod, outcome) in [(alone, "living"), (stranger, "unknown")] {
        assert!(answers(pod.addresses().quic[0], std::slice::from_ref(&packet)).await.is_empty());
        assert_eq!(strays(&pod, outcome).await, 1);
        block_in_place(|| pod.stop());
    }
    block_in_place(|| fleet.b.stop());
}

/// From SIGTERM on, while the pod still serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_pods_clients_learn_it_from_another_pod() {
    let mut fleet = Fleet::start(1).await;
    assert!(answers(fleet.second(), &[fleet.pages[0].1.packet()]).await.is_empty());
    fleet.a.signal(Signal::TERM);
    let answer = fleet.first_answer().await;
    let (page, way) = &mut fleet.pages[0];
    assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong", "its pod has not sent it away yet");
    way.tell(&answer).await;
    is_reset(page).await;
    block_in_place(|| {
        fleet.a.kill();
        fleet.b.stop();
    });
}

/// Accepts any certificate, and counts how many it was shown: a pod where the client resumes shows none.
#[derive(Debug)]
struct Shown(AtomicUsize);

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.fetch_add(1, Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_resumes_on_another_pod_that_shares_the_ticket_keys() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared_key(dir.path());
    let other = dir.path().join("other.key");
    std::fs::write(&other, [201; 80]).unwrap();
    let pods = [vec![shared.clone()], vec![other, shared], Vec::new()].map(|keys| pod(|it| it.tls.ticket_keys = keys));
    let shown = Arc::new(Shown(AtomicUsize::new(0)));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let verifier = Arc::clone(&shown) as Arc<dyn ServerCertVerifier>;
    let mut tls = tls.unwrap().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.enable_early_data = true;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let (endpoint, _) = endpoint(|_| {});
    let mut full = Vec::new();
    // From the first pod to the second, which only accepts that key; back to the first, which does not know the second's; to the third, which
    // has no shared key.
    for pod in [&pods[0], &pods[1], &pods[0], &pods[2]] {
        let address = pod.addresses().quic[0];
        let connecting = endpoint.connect_with(config.clone(), address, "localhost").unwrap();
        let connecting = connecting.into_0rtt().err().expect("no ticket allows early data");
        let connection = timeout(SOON, connecting).await.expect("in time").unwrap();
        let url = url::Url::parse(&format!("https://127.0.0.1:{}/wt", address.port())).unwrap();
        let request = ConnectRequest::new(url).with_protocol(SUBPROTOCOL);
        let session = timeout(SOON, Session::connect(connection, request)).await.expect("in time").unwrap();
        let mut page = Page::begin(endpoint.clone(), session).await;
        // The ticket came before that.
        assert_eq!(page.reply().await["type"], "welcome");
        assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong");
        full.push(shown.0.swap(0, Relaxed));
    }
    assert_eq!(full, [1, 0, 1, 1]);
    block_in_place(|| pods.map(Pod::stop));
}
