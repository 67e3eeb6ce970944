//! One HTTP request to another server, and its whole answer: for key sets, hooks and chatbots.
//!
//! Never follows a redirect (the operator's address is the one that is asked), never waits or reads beyond its [`Limits`].
//! `trust` says which certificates it accepts.

use std::{error::Error, path::Path, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    tls_words::{tls_error, tls_words},
    trust::{TrustError, client_config},
};

/// The largest head of a response.
const MAX_HEAD: usize = 64 * 1024;

/// How much a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start of connecting to the last byte of the answer.
    pub timeout: Duration,
    /// The most bytes of the answer's body.
    pub max_bytes: usize,
}

/// Why there is no answer. Says nothing of the request's headers or body, which may hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No server can be trusted.
    #[error(
        "this system has no CA certificates to trust an https server by: install them, or name a file in SSL_CERT_FILE"
    )]
    NoRoots,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is too large.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// No connection, or it ended early, or what came was no HTTP: the chain of causes.
    #[error("{0}")]
    Failed(String),
}

/// Asks servers. Connections are kept for the next request; cloning shares them.
#[derive(Debug, Clone)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    has_roots: bool,
}

impl Client {
    /// A client that trusts the system's CA certificates and those in the PEM file `ca`.
    ///
    /// # Errors
    /// [`FetchError::Trust`] when the file is unusable. A system without certificates is found out only by an https
    /// request.
    pub fn new(ca: Option<&Path>) -> Result<Self, FetchError> {
        let (tls, has_roots) = client_config(ca)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .http1_max_buf_size(MAX_HEAD)
            .build(connector);
        Ok(Self { inner, has_roots })
    }

    /// Sends `request`, whose URI is absolute, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, request: Request<Bytes>, limits: &Limits) -> Result<Response<Bytes>, FetchError> {
        if !self.has_roots && request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
            return Err(FetchError::NoRoots);
        }
        let mut request = request.map(Full::new);
        request
            .headers_mut()
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("roomcast/", env!("CARGO_PKG_VERSION"))));
        let exchange = async {
            let (head, body) = self.inner.request(request).await.map_err(|error| failed(&error))?.into_parts();
            if body.size_hint().lower() > limits.max_bytes as u64 {
                return Err(FetchError::TooLarge(limits.max_bytes));
            }
            match Limited::new(body, limits.max_bytes).collect().await {
                Ok(body) => Ok(Response::from_parts(head, without_mark(body.to_bytes()))),
                Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge(limits.max_bytes)),
                Err(error) => Err(failed(error.as_ref())),
            }
        };
        tokio::time::timeout(limits.timeout, exchange).await.map_err(|_| FetchError::Timeout(limits.timeout))?
    }
}

/// A body without the mark that some editors write before UTF-8 text, and some servers send with it (RFC 8259 section 8.1).
fn without_mark(body: Bytes) -> Bytes {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if body.starts_with(MARK) { body.slice(MARK.len()..) } else { body }
}

/// The chain of causes in one line: hyper's own first line says only that something failed.
fn failed(error: &(dyn Error + 'static)) -> FetchError {
    let is_unconnected = error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect);
    let mut chain = if is_unconnected { "no connection".to_owned() } else { error.to_string() };
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(error) = tls_error(cause) {
            return FetchError::Failed(format!("{chain}: {}", tls_words(error)));
        }
        let cause_text = cause.to_string();
        if !chain.contains(&cause_text) && cause_text != "tcp connect error" {
            chain = format!("{chain}: {cause_text}");
        }
        next = cause.source();
    }
    FetchError::Failed(chain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{io::Write, net::SocketAddr};

    use http::{Method, StatusCode};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const LIMITS: Limits = Limits { timeout: Duration::from_millis(500), max_bytes: 1000 };

    /// A server that answers every connection's first bytes with `answer`, and hands back what it was sent.
    async fn server(answer: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut sent = vec![0; 4096];
            let mut length = socket.read(&mut sent).await.unwrap();
            if !sent.starts_with(b"GET") && !sent[..length].ends_with(b"hello") {
                length += socket.read(&mut sent[length..]).await.unwrap();
            }
            sent.truncate(length);
            let _ = socket.write_all(&answer).await;
            if answer.is_empty() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            sent
        });
        (address, task)
    }

    fn get(address: SocketAddr) -> Request<Bytes> {
        Request::get(format!("http://{address}/keys")).body(Bytes::new()).unwrap()
    }

    #[tokio::test]
    async fn a_request_goes_out_whole_and_its_answer_comes_back_whatever_its_status() {
        let (address, sent) =
            server(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 2\r\n\r\nno".to_vec()).await;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{address}/hook?a=b"))
            .header("x-one", "1")
            .body(Bytes::from_static(b"hello"))
            .unwrap();
        let answer = Client::new(None).unwrap().fetch(request, &LIMITS).await.unwrap();
        assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::FOUND, b"no".as_slice()));
        let sent = String::from_utf8(sent.await.unwrap()).unwrap();
        assert!(sent.starts_with("POST /hook?a=b HTTP/1.1\r\n") && sent.ends_with("\r\n\r\nhello"), "{sent}");
        assert!(sent.contains("x-one: 1\r\n") && sent.contains("user-agent: roomcast/"), "{sent}");
    }

    #[tokio::test]
    async fn a_mark_before_the_text_is_no_part_of_the_answer() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n\xef\xbb\xbf{}";
        let (address, _) = server(answer.to_vec()).await;
        let answer = Client::new(None).unwrap().fetch(get(address), &LIMITS).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"{}");
    }

    #[tokio::test]
    async fn limits_hold() {
        let client = Client::new(None).unwrap();
        let (address, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n".to_vec()).await;
        assert!(matches!(client.fetch(get(address), &LIMITS).await, Err(FetchError::TooLarge(1000))));
        let endless =
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), b"5\r\nhello\r\n".repeat(999)];
        let (address, _) = server(endless.concat()).await;
        assert!(matches!(client.fetch(get(address), &LIMITS).await, Err(FetchError::TooLarge(1000))));
        let (address, _) = server(Vec::new()).await;
        assert!(matches!(client.fetch(get(address), &LIMITS).await, Err(FetchError::Timeout(_))));
    }

    #[tokio::test]
    async fn what_went_wrong_is_said() {
        let client = Client::new(None).unwrap();
        let (address, _) = server(b"SSH-2.0-nope\r\n\r\n".to_vec()).await;
        let garbage = client.fetch(get(address), &LIMITS).await.unwrap_err().to_string();
        assert!(garbage.contains("invalid HTTP"), "{garbage}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = client.fetch(get(closed), &LIMITS).await.unwrap_err().to_string();
        assert!(refused.starts_with("no connection: Connection refused"), "{refused}");
    }

    #[test]
    fn a_ca_file_must_hold_certificates() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            file.as_file_mut().set_len(0).unwrap();
            file.as_file_mut().write_all(text.as_bytes()).unwrap();
            let error = Client::new(Some(file.path())).unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
        }
        assert!(matches!(Client::new(Some(Path::new("/nowhere"))), Err(FetchError::Trust(TrustError::Ca { .. }))));
    }
}
