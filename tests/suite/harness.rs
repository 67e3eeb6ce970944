//! Pods in one process, and a client for them: what integration tests share.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::{net::SocketAddr, ops::ControlFlow, sync::Arc, time::Duration};

use roomcast::{
    config::{ApiKey, Config, ListenAddress, Machine, RoomPattern, Rule, Settings, resolve},
    model::{Payload, Policy, Position, Publication, Room},
    pod::{Pod, StartError},
};
use roomcast_websocket::{AnswerError, ClientHandshake, Incoming, Inflater, MessageLimits, Offer, Reader, Role};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long anything may take that should happen.
pub const SOON: Duration = Duration::from_secs(10);

/// Settings of a pod for a test: loopback, free ports, two workers.
pub fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.dev = Some(true);
    settings.general.listen = Some(vec![free]);
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    settings.general.workers = Some(2);
    // The client below answers no ping.
    settings.timeouts.ping = Duration::from_secs(3_600);
    change(&mut settings);
    settings
}

/// A policy for the rooms of a pattern: what is changed, and otherwise what a policy is by itself.
pub fn rule(pattern: &str, change: impl FnOnce(&mut Policy)) -> Rule {
    let mut policy = Policy::default();
    change(&mut policy);
    Rule { patterns: vec![RoomPattern::parse(pattern).unwrap()], policy }
}

pub fn config(settings: Settings) -> Config {
    let machine =
        Machine { cores: 2, open_files: 10_000, state_dir: None, api_key: ApiKey::new("test-key".into()).unwrap() };
    resolve(settings, &machine).expect("the settings make a configuration")
}

/// Starts a pod.
pub fn pod(change: impl FnOnce(&mut Settings)) -> Pod {
    let settings = settings(change);
    for _ in 0..10 {
        match Pod::start(config(settings.clone())) {
            // The kernel gave out a TCP port whose UDP port another test's client has.
            Err(StartError::ListenUdp { .. }) => {}
            pod => return pod.expect("the pod starts"),
        }
    }
    panic!("no port is free for TCP and UDP");
}

/// A client over plain TCP, message by message.
pub struct Client {
    stream: TcpStream,
    reader: Reader,
    inflater: Inflater,
    messages: std::collections::VecDeque<Seen>,
    pub deflate: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Json(Value),
    /// What is no JSON: a packet of Engine.IO.
    Text(String),
    Close(Option<u16>),
    Pong,
    Ended,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, None).await
    }

    pub async fn connect_with(address: SocketAddr, offer: Option<Offer>) -> Self {
        let mut client = Self::raw(address, offer).await;
        let welcome = client.json().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        client
    }

    /// A client that has not read its welcome.
    pub async fn raw(address: SocketAddr, offer: Option<Offer>) -> Self {
        Self::open(address, "/ws", &["roomcast.v1"], &[], offer).await.expect("it becomes a WebSocket")
    }

    /// A client that has not read its welcome; the status that it was refused with.
    pub async fn open(
        address: SocketAddr,
        target: &str,
        protocols: &[&str],
        headers: &[(&str, &str)],
        offer: Option<Offer>,
    ) -> Result<Self, u16> {
        // Small and fixed, so that a client that does not read is slow soon, on every machine.
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.set_recv_buffer_size(128 * 1024).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let handshake = ClientHandshake::new(&address.to_string(), target, protocols, offer, headers);
        stream.write_all(handshake.request()).await.unwrap();
        let mut received = Vec::new();
        let agreed = loop {
            let mut chunk = [0; 4096];
            let n = timeout(SOON, stream.read(&mut chunk)).await.expect("an answer in time").unwrap();
            assert!(n > 0, "closed in the handshake: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&chunk[..n]);
            match handshake.answer(&received) {
                Ok(Some(agreed)) => break agreed,
                Ok(None) => {}
                Err(AnswerError::Status(status)) => return Err(status),
                Err(error) => panic!("{error}"),
            }
        };
        let deflate = agreed.deflate.is_some();
        let mut client = Self {
            stream,
            reader: Reader::new(Role::Client, deflate),
            inflater: Inflater::default(),
            messages: std::collections::VecDeque::new(),
            deflate,
        };
        client.take(&mut received[agreed.head_bytes..].to_vec());
        Ok(client)
    }

    fn take(&mut self, bytes: &mut [u8]) {
        let messages = &mut self.messages;
        let limits = MessageLimits { max_message: 16 << 20, max_fragments: 1 << 16 };
        self.reader
            .read(bytes, &mut self.inflater, &limits, &mut |incoming| {
                match incoming {
                    Incoming::Text(text) => messages.push_back(match serde_json::from_str(text) {
                        Ok(value) => Seen::Json(value),
                        Err(_) => Seen::Text(text.to_owned()),
                    }),
                    Incoming::Close(close) => messages.push_back(Seen::Close(close.map(|(code, _)| code))),
                    Incoming::Pong(_) => messages.push_back(Seen::Pong),
                    Incoming::Ping(_) => {}
                    Incoming::Binary(_) => panic!("a binary message"),
                }
                ControlFlow::Continue(())
            })
            .unwrap();
    }

    /// The next thing that happens.
    pub async fn next(&mut self) -> Seen {
        timeout(SOON, async {
            loop {
                if let Some(seen) = self.messages.pop_front() {
                    return seen;
                }
                let mut chunk = vec![0; 65_536];
                let n = self.stream.read(&mut chunk).await.unwrap_or(0);
                if n == 0 {
                    return Seen::Ended;
                }
                self.take(&mut chunk[..n]);
            }
        })
        .await
        .expect("something happens in time")
    }

    /// The next message.
    pub async fn json(&mut self) -> Value {
        match self.next().await {
            Seen::Json(value) => value,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// The close code that comes next.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Seen::Close(code) => return code,
                Seen::Ended => return None,
                Seen::Json(_) | Seen::Text(_) | Seen::Pong => {}
            }
        }
    }

    /// Whether nothing comes for a moment.
    pub async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.next()).await.is_err()
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn send(&mut self, text: &str) {
        use roomcast_websocket::{Frame, Opcode};
        let mut out = Vec::new();
        Frame::new(Opcode::Text, text.as_bytes()).write_client([1, 2, 3, 4], &mut out);
        self.send_bytes(&out).await;
    }

    /// Several messages in one write, so that the pod has read the last before anything could answer the first.
    pub async fn send_at_once(&mut self, messages: &[Value]) {
        use roomcast_websocket::{Frame, Opcode};
        let mut out = Vec::new();
        for message in messages {
            Frame::new(Opcode::Text, message.to_string().as_bytes()).write_client([1, 2, 3, 4], &mut out);
        }
        self.send_bytes(&out).await;
    }

    pub async fn ask(&mut self, message: Value) -> Value {
        self.send(&message.to_string()).await;
        self.json().await
    }

    pub async fn subscribe(&mut self, room: &str) -> Value {
        let answer = self.ask(serde_json::json!({"type": "subscribe", "room": room})).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        answer
    }
}

/// An event of JSON data.
pub fn publication(topic: &str, data: &str) -> Publication {
    let data = serde_json::value::RawValue::from_string(data.to_owned()).unwrap();
    Publication {
        topic: topic.into(),
        key: None,
        payload: Payload::Json(data),
        user: None,
        id: None,
        idempotency_key: None,
    }
}

/// Publishes straight into a pod's broker.
pub async fn publish(pod: &Pod, room: &str, topic: &str, data: &str) -> Position {
    publish_as(pod, room, publication(topic, data)).await
}

/// Publishes straight into a pod's broker.
pub async fn publish_as(pod: &Pod, room: &str, publication: Publication) -> Position {
    let broker = Arc::clone(&pod.services().broker);
    broker.publish(&Room::parse(room).unwrap(), publication).await.unwrap()
}

/// What the internal listener answers to a GET: the status and the body.
pub async fn get(pod: &Pod, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
