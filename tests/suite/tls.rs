//! Clients over TLS, with either layer that seals the records of TLS 1.3 (`tls.records`).

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use roomcast::testing::{config::RecordLayer, pod::Pod, protocol::SUBPROTOCOL};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion, pki_types::ServerName, version};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::harness::{SOON, pod, publish};

const LAYERS: [RecordLayer; 2] = [RecordLayer::Roomcast, RecordLayer::Rustls];

/// A client over TLS that has read its welcome.
struct Sealed(WebSocketStream<TlsStream<TcpStream>>);

impl Sealed {
    async fn connect(pod: &Pod, config: &Arc<ClientConfig>) -> Self {
        let address = pod.addresses().tls[0];
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = timeout(SOON, TlsConnector::from(Arc::clone(config)).connect(name, tcp)).await.unwrap().unwrap();
        let mut request = format!("wss://{address}/ws").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
        let (socket, _) = timeout(SOON, client_async(request, tls)).await.unwrap().unwrap();
        let mut client = Self(socket);
        assert_eq!(client.json().await.unwrap()["type"], "welcome");
        client
    }

    /// The next message; the error that ends the connection instead.
    async fn json(&mut self) -> Result<Value, Error> {
        match timeout(SOON, self.0.next()).await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(error)) => Err(error),
            None => Err(Error::ConnectionClosed),
        }
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.0.send(Message::text(message.to_string())).await.unwrap();
        self.json().await.unwrap()
    }

    fn handshake(&self) -> Option<HandshakeKind> {
        self.0.get_ref().get_ref().1.handshake_kind()
    }

    /// Changes this side's key so many times in a row, each time asking the pod to change its own.
    async fn change_keys(&mut self, times: usize) {
        let tls = self.0.get_mut();
        for _ in 0..times {
            tls.get_mut().1.refresh_traffic_keys().unwrap();
        }
        // The pod may have had enough already.
        let _ = tls.flush().await;
    }
}

fn client_config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(roomcast_certs::insecure::client_config_accept_any_with(&[version]).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_connects_gets_events_and_comes_back() {
    for records in LAYERS {
        for version in [&version::TLS12, &version::TLS13] {
            let pod = pod(|settings| settings.tls.records = records);
            let config = client_config(version);
            let mut client = Sealed::connect(&pod, &config).await;
            assert_eq!(client.handshake(), Some(HandshakeKind::Full));
            let joined = client.ask(json!({"type": "subscribe", "room": "demo:a"})).await;
            assert_eq!(joined["type"], "subscribed", "{joined}");
            publish(&pod, "demo:a", "t", "1").await;
            // More than a record.
            publish(&pod, "demo:a", "t", &format!("\"{}\"", "x".repeat(40_000))).await;
            let mut events = Vec::new();
            while events.len() < 2 {
                let batch = client.json().await.unwrap();
                events.extend(batch["events"].as_array().unwrap().clone());
            }
            assert_eq!((&events[0]["data"], events[1]["data"].as_str().unwrap().len()), (&json!(1), 40_000));
            drop(client);
            publish(&pod, "demo:a", "t", "3").await;

            let mut client = Sealed::connect(&pod, &config).await;
            assert_eq!(client.handshake(), Some(HandshakeKind::Resumed), "the ticket of the first connection");
            let since = json!({"epoch": joined["epoch"], "offset": 2});
            let joined = client.ask(json!({"type": "subscribe", "room": "demo:a", "since": since})).await;
            assert_eq!(joined["recovered"], true, "{records:?}: {joined}");
            let batch = client.json().await.unwrap();
            assert_eq!((&batch["after"], &batch["events"][0]["data"]), (&json!(2), &json!(3)));
            tokio::task::block_in_place(|| pod.stop());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_resumes_on_another_pod_that_shares_the_ticket_keys() {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str, byte: u8| {
        let path = dir.path().join(name);
        std::fs::write(&path, [byte; 80]).unwrap();
        path
    };
    let (shared, other) = (key("shared", 200), key("other", 201));
    let pods = [vec![shared.clone()], vec![other, shared], Vec::new()].map(|keys| pod(|it| it.tls.ticket_keys = keys));
    let config = client_config(&version::TLS13);
    let mut kinds = Vec::new();
    // From the first pod to the second, which only accepts that key; to the third, which has its own; and back.
    for pod in [&pods[0], &pods[1], &pods[0], &pods[2]] {
        let mut client = Sealed::connect(pod, &config).await;
        assert_eq!(client.ask(json!({"type": "ping"})).await["type"], "pong");
        kinds.push(client.handshake().unwrap());
    }
    let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
    assert_eq!(kinds, [full, resumed, full, full], "the first pod does not know the key of the second");
    tokio::task::block_in_place(|| pods.map(Pod::stop));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_under_a_connection() {
    for records in LAYERS {
        let pod = pod(|settings| settings.tls.records = records);
        let mut client = Sealed::connect(&pod, &client_config(&version::TLS13)).await;
        for _ in 0..3 {
            client.change_keys(1).await;
            assert_eq!(client.ask(json!({"type": "ping"})).await["type"], "pong", "{records:?}");
        }
        tokio::task::block_in_place(|| pod.stop());
    }
}

/// Twenty at once are more than `roomcast_tls_records` takes, and fewer than rustls does: which layer a connection has shows here.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_changes_its_keys_too_often_is_closed() {
    for (records, times, closes) in
        [(RecordLayer::Roomcast, 20, true), (RecordLayer::Rustls, 20, false), (RecordLayer::Rustls, 40, true)]
    {
        let pod = pod(|settings| settings.tls.records = records);
        let mut bystander = Sealed::connect(&pod, &client_config(&version::TLS13)).await;
        let mut client = Sealed::connect(&pod, &client_config(&version::TLS13)).await;
        client.change_keys(times).await;
        let _ = client.0.send(Message::text(json!({"type": "ping"}).to_string())).await;
        let answer = client.json().await;
        assert_eq!(answer.is_err(), closes, "{records:?}, {times} times: {answer:?}");
        assert_eq!(bystander.ask(json!({"type": "ping"})).await["type"], "pong");
        tokio::task::block_in_place(|| pod.stop());
    }
}
