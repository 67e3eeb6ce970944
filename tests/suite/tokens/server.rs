//! A server with a key set, on this machine.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use roomcast::testing::{
    auth::Authority,
    config::{JwksUrl, TokenSettings},
};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::support::settings;

/// How a server answers.
#[derive(Clone)]
pub enum Answer {
    With(u16, Bytes),
    Never,
}

impl Answer {
    pub fn keys(keys: &[Value]) -> Self {
        Self::With(200, json!({ "keys": keys }).to_string().into())
    }
}

/// A server on this machine that counts what it is asked.
pub struct Server {
    scheme: &'static str,
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(answer: Answer) -> Self {
        Self::start_with(answer, None).await
    }

    /// A server with TLS.
    pub async fn start_tls(answer: Answer, config: ServerConfig) -> Self {
        Self::start_with(answer, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { scheme, address, answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                let respond = move |request: Request<Incoming>| {
                    assert_eq!(request.uri().path(), "/keys", "a redirect was followed");
                    asked.fetch_add(1, Ordering::Relaxed);
                    let answer = answer.lock().unwrap().clone();
                    async move {
                        let Answer::With(status, body) = answer else { return std::future::pending().await };
                        let response = Response::builder().status(status).header("location", "/elsewhere");
                        Ok::<_, Infallible>(response.body(Full::new(body)).unwrap())
                    }
                };
                let Some(tls) = &tls else {
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(respond)));
                    continue;
                };
                if let Ok(socket) = tls.accept(socket).await {
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(respond)));
                }
            }
        });
        server
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Settings whose refresh is so far away that only the first fetch happens by itself.
    pub fn settings(&self) -> TokenSettings {
        let url = JwksUrl::parse(&format!("{}://localhost:{}/keys", self.scheme, self.address.port())).unwrap();
        TokenSettings { jwks_url: Some(url), jwks_refresh: Duration::from_secs(86_400), ..settings() }
    }
}

pub fn run(settings: &TokenSettings) -> Arc<Authority> {
    let authority = Arc::new(Authority::new(settings).unwrap());
    tokio::spawn(Arc::clone(&authority).run());
    authority
}

/// Waits for what should be the case soon.
pub async fn soon(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is().await {
        assert!(Instant::now() < end, "{what}: not within five seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
