//! A collector of traces, as far as OTLP over HTTP goes: it keeps what it was sent, and answers as a test says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use roomcast::testing::config::OtlpUrl;
use roomcast_proto::{
    Message,
    otlp::{ExportTraceServiceRequest, Resource, Span, Value},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::harness::SOON;

/// One request: its head in lower case, and its body.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
}

pub struct Collector {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

/// Answers with a status, a header line and a body; `None`: never.
pub type Answers = fn(usize) -> Option<(u16, &'static str, Vec<u8>)>;

pub fn takes_all(_: usize) -> Option<(u16, &'static str, Vec<u8>)> {
    Some((200, "x-a: b", Vec::new()))
}

impl Collector {
    /// `answer` is told how many requests were before.
    pub async fn start(answer: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let log = Arc::clone(&received);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answer, Arc::clone(&log)));
            }
        });
        Self { address, received, task }
    }

    pub fn url(&self) -> OtlpUrl {
        OtlpUrl::parse(&format!("http://{}", self.address)).unwrap()
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Every span that came, in the order in which it came.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.received().into_iter().map(|one| decoded(&one)).collect::<Vec<_>>();
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    pub fn resource(&self) -> Resource {
        decoded(&self.received()[0]).resource_spans[0].resource.clone().unwrap()
    }

    /// Waits for so many spans.
    pub async fn wait_for(&self, many: usize) -> Vec<Span> {
        let wait = async {
            while self.spans().len() < many {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(SOON, wait).await;
        let spans = self.spans();
        assert!(in_time.is_ok(), "{many} spans were awaited, and these came: {spans:#?}");
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn decoded(received: &Received) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(&*received.body).expect("an OTLP request")
}

async fn serve(mut stream: TcpStream, answer: Answers, log: Arc<Mutex<Vec<Received>>>) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        let before = {
            let mut log = log.lock().unwrap();
            log.push(Received { head, body });
            log.len() - 1
        };
        let Some((status, header, body)) = answer(before) else { return std::future::pending().await };
        let head = format!("HTTP/1.1 {status} X\r\n{header}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

/// An attribute as text; empty: it is not there.
pub fn attribute(span: &Span, key: &str) -> String {
    let attributes = span.attributes.iter().chain(span.events.iter().flat_map(|event| &event.attributes));
    let found = attributes.filter(|attribute| attribute.key == key).collect::<Vec<_>>();
    assert!(found.len() <= 1, "{key} is there twice: {span:?}");
    match found.first().and_then(|attribute| attribute.value.as_ref()?.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
    }
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
