//! A real HTTP server that decides, as a test says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// What it does with a request.
pub enum Does {
    /// Answers 200 with this.
    Says(Value),
    /// Answers with a status and a body as they are.
    Answers(u16, String),
    /// Answers 200 with this, after a while.
    Ponders(Duration, Value),
    /// Never answers.
    Hangs,
    /// Ends the connection without a word.
    Drops,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub struct Backend {
    pub address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Backend {
    pub async fn start(decide: impl Fn(&Asked, usize) -> Does + Send + Sync + 'static) -> Self {
        Self::start_over(None, decide).await
    }

    /// The same over TLS.
    pub async fn start_over(
        tls: Option<TlsAcceptor>,
        decide: impl Fn(&Asked, usize) -> Does + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (asked, decide) = (Arc::default(), Arc::new(decide));
        let log: Arc<Mutex<Vec<Asked>>> = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, decide, log) = (tls.clone(), Arc::clone(&decide), Arc::clone(&log));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, decide, log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, decide, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, asked, task }
    }

    pub fn url(&self, path: &str) -> roomcast::testing::config::HookUrl {
        roomcast::testing::config::HookUrl::parse(&format!("{}://{}{path}", self.scheme, self.address)).unwrap()
    }

    /// What came so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F: Fn(&Asked, usize) -> Does>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    decide: Arc<F>,
    log: Arc<Mutex<Vec<Asked>>>,
) {
    let mut received = Vec::new();
    loop {
        let Some(asked) = read(&mut stream, &mut received).await else { return };
        let before = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        let (status, body) = match decide(&asked, before) {
            Does::Says(body) => (200, body.to_string()),
            Does::Answers(status, body) => (status, body),
            Does::Ponders(time, body) => {
                tokio::time::sleep(time).await;
                (200, body.to_string())
            }
            Does::Hangs => std::future::pending().await,
            Does::Drops => return,
        };
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One request; `None`: the pod has closed the connection.
async fn read(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = received.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(received[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n");
            let line = lines.next().unwrap();
            let path = line.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).expect("a POST");
            let headers: Vec<(String, String)> = lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length =
                headers.iter().find(|(name, _)| name == "content-length").expect("a length").1.parse::<usize>();
            let all = end + 4 + length.unwrap();
            if received.len() >= all {
                let body = serde_json::from_slice(&received[end + 4..all]).unwrap();
                received.drain(..all);
                return Some(Asked { path: path.to_owned(), headers, body });
            }
        }
        let mut chunk = [0; 16 * 1024];
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 {
            return None;
        }
        received.extend_from_slice(&chunk[..read]);
    }
}
