//! A client of the native protocol over plain TCP, message by message.

use std::{collections::VecDeque, net::SocketAddr, ops::ControlFlow, time::Duration};

use roomcast_websocket::{
    AnswerError, ClientHandshake, Frame, Incoming, Inflater, MessageLimits, Offer, Opcode, Reader, Role,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long anything may take that should happen.
pub const SOON: Duration = Duration::from_secs(10);

/// A client over plain TCP, message by message.
pub struct Client {
    stream: TcpStream,
    reader: Reader,
    inflater: Inflater,
    messages: VecDeque<Seen>,
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
            // As browsers do, it keeps its window unless it asked the server to compress each message for itself.
            inflater: match agreed.deflate {
                Some(deflate) if !deflate.server_no_context_takeover => Inflater::with_takeover(),
                _ => Inflater::new(),
            },
            messages: VecDeque::new(),
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
                    Incoming::Text(text) => messages.push_back(Seen::Text(text.to_owned())),
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
        match self.next_unread().await {
            Seen::Text(text) => serde_json::from_str(&text).map_or_else(|_| Seen::Text(text), Seen::Json),
            seen => seen,
        }
    }

    /// The next thing that happens, JSON as its text: a debug build takes long to read much of it.
    pub async fn next_unread(&mut self) -> Seen {
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
        let mut out = Vec::new();
        Frame::new(Opcode::Text, text.as_bytes()).write_client([1, 2, 3, 4], &mut out);
        self.send_bytes(&out).await;
    }

    /// Several messages in one write, so that the pod has read the last before anything could answer the first.
    pub async fn send_at_once(&mut self, messages: &[Value]) {
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
