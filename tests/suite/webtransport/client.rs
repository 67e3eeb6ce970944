//! A WebTransport client of another make (`web-transport-quinn`), stream by stream.

use std::{net::SocketAddr, sync::Arc};

use flate2::{Decompress, FlushDecompress};
use quinn::{Endpoint, TransportConfig, VarInt};
use roomcast::testing::protocol::SUBPROTOCOL;
use serde_json::Value;
use tokio::time::timeout;
use web_transport_quinn::{ClientError, RecvStream, SendStream, Session, SessionError, proto::ConnectRequest};

use crate::harness::SOON;

pub struct Page {
    pub endpoint: Endpoint,
    pub session: Session,
    send: SendStream,
    replies: Messages,
}

/// Messages behind their lengths.
pub struct Messages {
    recv: RecvStream,
    inflate: Option<Decompress>,
    plain: Vec<u8>,
    /// Whether nothing can follow: the compressed stream has ended.
    ended: bool,
    /// Bytes off the stream.
    pub wire: usize,
}

impl Messages {
    /// A room's stream, from its first byte on.
    pub async fn room(mut recv: RecvStream) -> Self {
        let mut kind = [9];
        timeout(SOON, recv.read_exact(&mut kind)).await.expect("a first byte in time").unwrap();
        assert!(kind[0] < 2, "the kind of stream: {kind:?}");
        let inflate = (kind[0] == 1).then(|| Decompress::new(false));
        Self { recv, ended: inflate.is_none(), inflate, plain: Vec::new(), wire: 0 }
    }

    /// The next message; `None`: the stream has ended, whole.
    pub async fn next(&mut self) -> Option<Value> {
        timeout(SOON, self.read()).await.expect("something comes in time")
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(length) = self.plain.first_chunk::<4>() {
                let end = 4 + u32::from_be_bytes(*length) as usize;
                if self.plain.len() >= end {
                    let message = serde_json::from_slice(&self.plain[4..end]).unwrap();
                    self.plain.drain(..end);
                    return Some(message);
                }
            }
            let mut chunk = [0; 16 * 1024];
            let Some(read) = self.recv.read(&mut chunk).await.unwrap() else {
                assert!(self.ended && self.plain.is_empty(), "the stream ends in the middle");
                return None;
            };
            self.wire += read;
            let Some(inflate) = &mut self.inflate else {
                self.plain.extend_from_slice(&chunk[..read]);
                continue;
            };
            let mut rest = &chunk[..read];
            while !rest.is_empty() && !self.ended {
                let before = inflate.total_in();
                self.plain.reserve(64 * 1024);
                let status = inflate.decompress_vec(rest, &mut self.plain, FlushDecompress::Sync).unwrap();
                rest = &rest[(inflate.total_in() - before) as usize..];
                self.ended = status == flate2::Status::StreamEnd;
            }
        }
    }

    pub async fn json(&mut self) -> Value {
        self.next().await.expect("a message, and not the end")
    }
}

/// An endpoint whose connections are like a browser's, changed by the caller.
pub fn endpoint(change: impl FnOnce(&mut TransportConfig)) -> (Endpoint, quinn::ClientConfig) {
    let mut tls = roomcast_certs::insecure::client_config_accept_any_with(&[&rustls::version::TLS13]).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(VarInt::from_u32(100));
    change(&mut transport);
    config.transport_config(Arc::new(transport));
    (Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap(), config)
}

/// Asks for a session.
pub async fn ask(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    change: impl FnOnce(&mut TransportConfig),
) -> Result<(Endpoint, Session), ClientError> {
    let (endpoint, config) = endpoint(change);
    let url = url::Url::parse(&format!("https://127.0.0.1:{}{target}", address.port())).unwrap();
    let mut request = ConnectRequest::new(url).with_protocol(SUBPROTOCOL);
    for (name, value) in headers {
        request = request.with_header(name.parse().unwrap(), value.parse().unwrap());
    }
    let connection =
        timeout(SOON, endpoint.connect_with(config, address, "localhost").unwrap()).await.expect("in time")?;
    let session = timeout(SOON, Session::connect(connection, request)).await.expect("an answer in time")?;
    Ok((endpoint, session))
}

impl Page {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_to(address, "/wt").await
    }

    pub async fn connect_to(address: SocketAddr, target: &str) -> Self {
        Self::connect_with(address, target, |_| {}).await
    }

    pub async fn connect_with(address: SocketAddr, target: &str, change: impl FnOnce(&mut TransportConfig)) -> Self {
        let (endpoint, session) = ask(address, target, &[], change).await.expect("it becomes a session");
        let mut page = Self::begin(endpoint, session).await;
        let welcome = page.reply().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        page
    }

    /// Opens the stream of commands.
    pub async fn begin(endpoint: Endpoint, session: Session) -> Self {
        let (send, recv) = timeout(SOON, session.open_bi()).await.expect("a stream in time").unwrap();
        Self {
            endpoint,
            session,
            send,
            replies: Messages { recv, inflate: None, ended: true, plain: Vec::new(), wire: 0 },
        }
    }

    pub async fn send(&mut self, command: &Value) {
        let text = command.to_string();
        let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    pub async fn reply(&mut self) -> Value {
        self.replies.json().await
    }

    pub async fn ask(&mut self, command: &Value) -> Value {
        self.send(command).await;
        self.reply().await
    }

    /// The next stream of a room.
    pub async fn stream(&mut self) -> Messages {
        let recv = timeout(SOON, self.session.accept_uni()).await.expect("a stream in time").unwrap();
        Messages::room(recv).await
    }

    /// Joins a room: its stream, behind `subscribed`.
    pub async fn subscribe(&mut self, room: &str) -> Messages {
        self.send(&serde_json::json!({"type": "subscribe", "room": room})).await;
        let mut stream = self.stream().await;
        let subscribed = stream.json().await;
        assert_eq!((&subscribed["type"], &subscribed["room"]), (&"subscribed".into(), &room.into()), "{subscribed}");
        stream
    }

    /// The code that the session is closed with.
    pub async fn closed(&self) -> Option<u32> {
        code(&timeout(SOON, self.session.closed()).await.expect("an end in time"))
    }
}

/// The code of a session's end, if it has one.
pub fn code(end: &SessionError) -> Option<u32> {
    match end {
        SessionError::WebTransportError(web_transport_quinn::WebTransportError::Closed(code, _)) => Some(*code),
        _ => None,
    }
}
