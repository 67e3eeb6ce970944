//! Backends that call as fast as they are answered: kept connections, one request at a time on each, written by hand so
//! that they cost less than what they measure.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{BenchError, Doing as _};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request's bytes: `POST path` with a key and a JSON body.
pub(crate) fn request(path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: pod\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Makes `requests`, each on a connection of its own, again and again until `seconds` have passed; how many were
/// answered with 200, and in which time. Any other answer fails. Needs a `LocalSet`.
pub(crate) async fn call(address: SocketAddr, requests: &[Vec<u8>], seconds: f64) -> Result<(u64, f64), BenchError> {
    let mut streams = Vec::new();
    for _ in requests {
        let stream = TcpStream::connect(address).await.doing(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).doing(|| format!("connecting to {address}"))?;
        streams.push(stream);
    }
    let answered = Rc::new(AtomicU64::new(0));
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    let mut calls = tokio::task::JoinSet::new();
    for (stream, request) in streams.into_iter().zip(requests) {
        calls.spawn_local(one(stream, request.clone(), until, Rc::clone(&answered)));
    }
    while let Some(ended) = calls.join_next().await {
        ended.map_err(|e| BenchError::Protocol(format!("a caller: {e}")))??;
    }
    Ok((answered.load(Relaxed), start.elapsed().as_secs_f64()))
}

async fn one(
    mut stream: TcpStream,
    request: Vec<u8>,
    until: Instant,
    answered: Rc<AtomicU64>,
) -> Result<(), BenchError> {
    let mut received = Vec::with_capacity(16 * 1024);
    while Instant::now() < until {
        stream.write_all(&request).await.doing(|| "making a request".to_owned())?;
        received.clear();
        loop {
            let read = timeout(PATIENCE, stream.read_buf(&mut received)).await.map_err(|_| BenchError::Timeout {
                what: "an answer".to_owned(),
                seconds: PATIENCE.as_secs(),
                hint: "did the server end?".to_owned(),
            })?;
            if read.doing(|| "reading an answer".to_owned())? == 0 {
                return Err(BenchError::Protocol("a connection ended without an answer".to_owned()));
            }
            if is_whole(&received) {
                break;
            }
        }
        if !received.starts_with(b"HTTP/1.1 200 ") {
            let text = String::from_utf8_lossy(&received).into_owned();
            return Err(BenchError::Faults(format!("an answer that is no success: {text}")));
        }
        answered.fetch_add(1, Relaxed);
    }
    Ok(())
}

fn is_whole(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&received[..end]);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| received.len() >= end + 4 + length)
}
