//! A link whose one end is a test's: an edge that says what no edge says, and a home that says what no home says.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use roomcast::testing::pod::Pod;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderValue,
    },
};

use crate::harness::{SOON, get};

const PROTOCOL: &str = "roomcast.relay.v1";

/// One record with a message.
pub fn record(message: &Value) -> Vec<u8> {
    let json = message.to_string();
    let length = u32::try_from(json.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[0], json.as_bytes()].concat()
}

/// A delivery of an event under a room's number, as it stands in a record.
pub fn delivery(number: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).unwrap();
    [&length.to_be_bytes()[..], &[1], &number.to_be_bytes(), body].concat()
}

/// The messages of a WebSocket message; of a delivery `{"delivery": NUMBER}`, of compressed ones `{"packed": BYTES}`.
fn messages(bytes: &[u8]) -> Vec<Value> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (one, next) = rest[4..].split_at(length);
        found.push(match one[0] {
            0 => serde_json::from_slice(&one[1..]).unwrap(),
            2 => json!({"packed": one.len() - 1}),
            _ => json!({"delivery": u32::from_be_bytes(one[1..5].try_into().unwrap())}),
        });
        rest = next;
    }
    found
}

/// The end of a link that is the test's.
pub struct RawLink {
    pub socket: WebSocketStream<TcpStream>,
    heard: std::collections::VecDeque<Value>,
}

impl RawLink {
    fn of(socket: WebSocketStream<TcpStream>) -> Self {
        Self { socket, heard: Default::default() }
    }

    /// Says this.
    pub async fn say(&mut self, message: &Value) {
        self.say_bytes(record(message)).await;
    }

    /// Says records, or what is none.
    pub async fn say_bytes(&mut self, bytes: Vec<u8>) {
        let _ = self.socket.send(Message::Binary(bytes.into())).await;
    }

    /// The next message. The error is how the link ended.
    pub async fn hear(&mut self) -> Result<Value, String> {
        loop {
            if let Some(next) = self.heard.pop_front() {
                return Ok(next);
            }
            match timeout(SOON, self.socket.next()).await.expect("something is said in time") {
                Some(Ok(Message::Binary(bytes))) => self.heard.extend(messages(&bytes)),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or_else(String::new, |frame| frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("without a word".to_owned()),
            }
        }
    }

    /// The next message that has this word. Others are left out.
    pub async fn hear_of(&mut self, word: &str) -> Value {
        loop {
            let said = self.hear().await.unwrap_or_else(|why| panic!("the link ended instead of {word}: {why}"));
            if let Some(found) = said.get(word) {
                return found.clone();
            }
        }
    }

    /// Asks a home, and returns its answer: `Ok` or `Err`.
    pub async fn ask(&mut self, id: u64, call: Value) -> Value {
        self.say(&json!({"call": {"id": id, "call": call}})).await;
        loop {
            let answered = self.hear_of("answered").await;
            if answered["id"] == id {
                return answered["said"].clone();
            }
        }
    }

    /// Reads until the link ends. How it did.
    pub async fn ended(&mut self) -> String {
        loop {
            if let Err(why) = self.hear().await {
                return why;
            }
        }
    }
}

/// Connects to a home, and says no word. The error is its refusal.
pub async fn open(address: SocketAddr, key: &str) -> Result<RawLink, String> {
    let mut request = format!("ws://{address}/relay").into_client_request().unwrap();
    request.headers_mut().insert("authorization", HeaderValue::try_from(format!("Bearer {key}")).unwrap());
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    match timeout(SOON, client_async(request, stream)).await.expect("an answer in time") {
        Ok((socket, _)) => Ok(RawLink::of(socket)),
        Err(Error::Http(answer)) => {
            let said = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            Err(format!("{}: {said}", answer.status().as_u16()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What an edge of this name says first.
pub fn hello(pod: &str) -> Value {
    json!({"hello": {"version": 2, "pod": pod, "release": "test"}})
}

/// An edge that a home takes in.
pub async fn raw_edge(home: &Pod, key: &str, pod: &str) -> RawLink {
    greeted(home, key, &hello(pod)).await.unwrap()
}

/// An edge that says this first. The error is why the home does not take it in.
pub async fn greeted(home: &Pod, key: &str, hello: &Value) -> Result<RawLink, String> {
    let mut link = open(home.addresses().relay[0], key).await?;
    link.say(hello).await;
    let said = link.hear().await?;
    assert!(said.get("welcome").is_some(), "{said}");
    Ok(link)
}

/// A home's listener.
pub struct RawHome(TcpListener);

impl RawHome {
    pub async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.0.local_addr().unwrap())
    }

    /// Takes the next link in, and reads its hello.
    #[allow(clippy::result_large_err)]
    pub async fn accept(&self) -> RawLink {
        loop {
            let (stream, _) = timeout(SOON, self.0.accept()).await.expect("the edge comes").unwrap();
            let protocol = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
                Ok(response)
            };
            let Ok(socket) = accept_hdr_async(stream, protocol).await else { continue };
            let mut link = RawLink::of(socket);
            if link.hear().await.is_ok_and(|said| said.get("hello").is_some()) {
                return link;
            }
        }
    }

    /// Takes the next link in, and welcomes the edge.
    pub async fn welcome(&self) -> RawLink {
        let mut link = self.accept().await;
        link.say(&welcome(json!({"pods": ["00000000000000aa"], "hops": 1}))).await;
        link
    }
}

/// A home's first word.
pub fn welcome(ancestry: Value) -> Value {
    json!({"welcome": {"version": 2, "pod": "00000000000000aa", "ancestry": ancestry}})
}

/// Waits until a counter or gauge of a pod is as wanted.
pub async fn metric(pod: &Pod, name: &str, wanted: impl Fn(f64) -> bool) {
    let began = Instant::now();
    loop {
        let text = get(pod, "/metrics").await.1;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        if line.is_some_and(&wanted) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{name}: {line:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
