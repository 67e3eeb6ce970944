//! Backends that call as fast as they are answered: kept connections, one request at a time on each, written by hand so
//! that they cost less than what they measure.

use std::{
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::error::{BenchError, Doing as _};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands in a request's body where each sending of it has a number of its own: an idempotency key that is new each time.
pub(crate) const NUMBER: &str = "number-000000000000";

const DIGITS: usize = 12;

/// A request that is made once, and sent again and again.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the digits of [`NUMBER`] stand, if it is there.
    number_at: Option<usize>,
}

impl Request {
    /// `method path` with this value of Authorization and a JSON body.
    pub(crate) fn new(method: &str, path: &str, authorization: &str, body: &str) -> Self {
        Self::of_kind("application/json", method, path, authorization, body)
    }

    /// `POST path` with the fields of a form.
    pub(crate) fn form(path: &str, authorization: &str, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::of_kind("application/x-www-form-urlencoded", "POST", path, authorization, &body)
    }

    fn of_kind(kind: &str, method: &str, path: &str, authorization: &str, body: &str) -> Self {
        let bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
        let number = bytes.windows(NUMBER.len()).position(|window| window == NUMBER.as_bytes());
        Self { number_at: number.map(|at| at + NUMBER.len() - DIGITS), bytes }
    }

    /// The bytes of its next sending.
    fn next(&mut self) -> &[u8] {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if let Some(digits) = self.number_at.and_then(|at| self.bytes.get_mut(at..at + DIGITS)) {
            let mut number = NEXT.fetch_add(1, Relaxed);
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &self.bytes
    }
}

/// `POST path` with a key and a JSON body, as the pod's API takes it.
pub(crate) fn request(path: &str, key: &str, body: &str) -> Request {
    Request::new("POST", path, &format!("Bearer {key}"), body)
}

/// Where an API is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Api {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Whether it is called over TLS.
    pub(crate) tls: bool,
}

impl From<SocketAddr> for Api {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: false }
    }
}

/// Makes `requests`, each on a connection of its own, again and again until `seconds` have passed; how many were
/// answered with success and no error, and in which time. Any other answer fails. Needs a `LocalSet`.
pub(crate) async fn call(api: impl Into<Api>, requests: &[Request], seconds: f64) -> Result<(u64, f64), BenchError> {
    let api = api.into();
    let mut callers = Vec::new();
    for _ in requests {
        callers.push(Caller::connect(api).await?);
    }
    let answered = Rc::new(AtomicU64::new(0));
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    let mut calls = tokio::task::JoinSet::new();
    for (caller, request) in callers.into_iter().zip(requests) {
        calls.spawn_local(repeat(caller, request.clone(), until, Rc::clone(&answered)));
    }
    while let Some(ended) = calls.join_next().await {
        ended.map_err(|e| BenchError::Protocol(format!("a caller: {e}")))??;
    }
    Ok((answered.load(Relaxed), start.elapsed().as_secs_f64()))
}

async fn repeat(
    mut caller: Caller,
    mut request: Request,
    until: Instant,
    answered: Rc<AtomicU64>,
) -> Result<(), BenchError> {
    while Instant::now() < until {
        caller.ask(&mut request).await?;
        answered.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// A kept connection to an API, with one request under way.
pub(crate) struct Caller {
    api: Api,
    stream: Pin<Box<dyn Stream>>,
    received: Vec<u8>,
    /// Whether it was answered on this connection.
    is_kept: bool,
}

/// How an exchange ended without an answer.
enum Unanswered {
    /// The connection had ended before a byte of an answer.
    Closed,
    Failed(BenchError),
}

/// What requests are written to: TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite {}

impl<S: AsyncRead + AsyncWrite> Stream for S {}

impl Caller {
    /// Connects.
    pub(crate) async fn connect(api: impl Into<Api>) -> Result<Self, BenchError> {
        let api = api.into();
        Ok(Self { api, stream: open(api).await?, received: Vec::with_capacity(16 * 1024), is_kept: false })
    }

    /// Makes a request and waits for its answer, which is returned with its head. Any but success (200 to 209) without an error
    /// fails. A server may end a connection that was kept (RFC 9112 section 9.3.1): then the request is made once more, on a new one.
    pub(crate) async fn ask(&mut self, request: &mut Request) -> Result<&[u8], BenchError> {
        let bytes = request.next();
        let mut answered = self.exchange(bytes).await;
        if self.is_kept && matches!(answered, Err(Unanswered::Closed)) {
            (self.stream, self.is_kept) = (open(self.api).await?, false);
            answered = self.exchange(bytes).await;
        }
        answered.map_err(|unanswered| match unanswered {
            Unanswered::Closed => BenchError::Protocol("a connection ended without an answer".to_owned()),
            Unanswered::Failed(error) => error,
        })?;
        self.is_kept = true;
        // A batch is answered with 200 even if some of its events failed. No event's data come back in an answer.
        let failed = self.received.windows(8).any(|window| window == br#""error":"#);
        if failed || !self.received.starts_with(b"HTTP/1.1 20") {
            let text = String::from_utf8_lossy(&self.received).into_owned();
            return Err(BenchError::Faults(format!("an answer that is no success: {text}")));
        }
        Ok(&self.received)
    }

    /// Sends a request and reads its answer.
    async fn exchange(&mut self, request: &[u8]) -> Result<(), Unanswered> {
        self.received.clear();
        self.stream.write_all(request).await.map_err(|error| self.broken("making a request", error))?;
        self.stream.flush().await.map_err(|error| self.broken("making a request", error))?;
        while !is_whole(&self.received) {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            let read = read.map_err(|_| {
                Unanswered::Failed(BenchError::Timeout {
                    what: "an answer".to_owned(),
                    seconds: PATIENCE.as_secs(),
                    hint: "did the server end?".to_owned(),
                })
            })?;
            match read {
                Ok(0) if self.received.is_empty() => return Err(Unanswered::Closed),
                Ok(0) => {
                    let cut = "a connection ended within an answer".to_owned();
                    return Err(Unanswered::Failed(BenchError::Protocol(cut)));
                }
                Ok(_) => {}
                Err(error) => return Err(self.broken("reading an answer", error)),
            }
        }
        Ok(())
    }

    /// What a failed read or write says of the connection.
    fn broken(&self, doing: &str, error: std::io::Error) -> Unanswered {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let has_ended = matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof);
        if has_ended && self.received.is_empty() {
            return Unanswered::Closed;
        }
        match Err::<(), _>(error).doing(|| doing.to_owned()) {
            Err(error) => Unanswered::Failed(error),
            Ok(()) => Unanswered::Closed,
        }
    }
}

/// A new connection.
async fn open(Api { address, tls }: Api) -> Result<Pin<Box<dyn Stream>>, BenchError> {
    let doing = move || format!("connecting to {address}");
    let stream = TcpStream::connect(address).await.doing(doing)?;
    stream.set_nodelay(true).doing(doing)?;
    Ok(if tls { Box::pin(over_tls(stream, doing).await?) } else { Box::pin(stream) })
}

/// TLS with any certificate: what is measured is not the certificate.
async fn over_tls(stream: TcpStream, doing: impl Fn() -> String) -> Result<impl Stream, BenchError> {
    let failed = |e: &dyn std::fmt::Display| BenchError::Protocol(format!("{}: {e}", doing()));
    let config = roomcast_certs::insecure::client_config_accept_any().map_err(|e| failed(&e))?;
    let name = ServerName::try_from("localhost").map_err(|e| failed(&e))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.doing(&doing)
}

/// Whether an answer is there to its end: as long as its head says, or in chunks with the last one, which is empty.
fn is_whole(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&received[..end]);
    let fields = || head.lines().filter_map(|line| line.split_once(": "));
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    if fields().any(|(name, value)| is(name, "transfer-encoding") && is(value, "chunked")) {
        return received[end..].ends_with(b"\r\n0\r\n\r\n");
    }
    let length = fields().find(|(name, _)| is(name, "content-length"));
    length.and_then(|(_, value)| value.parse::<usize>().ok()).is_some_and(|length| received.len() >= end + 4 + length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for whole in [&plain[..], &chunks[..]] {
            assert!(is_whole(whole));
            assert!((0..whole.len()).all(|end| !is_whole(&whole[..end])));
        }
    }

    /// A server that ends each connection behind so many answers.
    async fn impatient(answers: usize) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                for _ in 0..answers {
                    let mut request = Vec::new();
                    while !request.ends_with(b"{}") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").await.unwrap();
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_kept_connection_that_the_server_has_ended_is_made_anew() {
        let mut caller = Caller::connect(impatient(2).await).await.unwrap();
        for _ in 0..5 {
            caller.ask(&mut request("/", "k", "{}")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_nothing_is_said() {
        let mut caller = Caller::connect(impatient(0).await).await.unwrap();
        let error = caller.ask(&mut request("/", "k", "{}")).await.unwrap_err();
        assert!(error.to_string().contains("a connection ended without an answer"), "{error}");
    }

    #[test]
    fn each_sending_has_a_number_of_its_own() {
        let mut request = request("/api/publish", "k", &format!(r#"{{"key":"{NUMBER}"}}"#));
        let (first, second) = (request.next().to_vec(), request.next().to_vec());
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
        let mut plain = super::request("/api/publish", "k", "{}");
        assert_eq!(plain.next().to_vec(), plain.next());
    }
}
