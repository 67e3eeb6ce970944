//! A plain connection to a Redis server, for what must cost as little as possible: commands that are made once, and
//! replies of which only the length, or a number, matters.
//!
//! The bytes are made and read by the crate `redis-protocol` (RESP2). It is not a client with tasks and queues of its own,
//! like the one of the pod: the bench sets bare Redis beside the pods, and such a client would count as Redis.

use std::time::Duration;

use bytes::BytesMut;
use redis_protocol::resp2::{
    decode::decode_range,
    encode::extend_encode_borrowed,
    types::{BorrowedFrame, RangeFrame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{BenchError, Doing as _};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a command.
pub(crate) fn command(words: &[&str]) -> Result<Vec<u8>, BenchError> {
    let words: Vec<_> = words.iter().map(|word| BorrowedFrame::BulkString(word.as_bytes())).collect();
    let mut bytes = BytesMut::new();
    extend_encode_borrowed(&mut bytes, &BorrowedFrame::Array(&words), false)
        .map_err(|e| BenchError::Protocol(format!("a command that cannot be written: {e}")))?;
    Ok(bytes.into())
}

/// The reply that stands first and its length, if it is whole. An error of the server's is an error.
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<(RangeFrame, usize)>, BenchError> {
    let unreadable = |e| BenchError::Protocol(format!("redis-server's answer cannot be read: {e}"));
    match decode_range(bytes).map_err(unreadable)? {
        Some((RangeFrame::Error((start, end)), _)) => {
            let said = String::from_utf8_lossy(&bytes[start..end]).into_owned();
            Err(BenchError::Faults(format!("redis-server answered {said:?}")))
        }
        other => Ok(other),
    }
}

/// Connects to the server on this port of loopback.
pub(crate) async fn connect(port: u16) -> Result<TcpStream, BenchError> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.doing(|| doing(port))?;
    stream.set_nodelay(true).doing(|| doing(port))?;
    Ok(stream)
}

/// What an error of talking to that server says was being done.
pub(crate) fn doing(port: u16) -> String {
    format!("talking to redis-server on port {port}")
}

/// A backend that publishes with `PUBLISH`, one message at a time.
pub(crate) struct Backend {
    stream: TcpStream,
    port: u16,
    received: Vec<u8>,
}

impl Backend {
    /// Connects to the server on this port of loopback.
    pub(crate) async fn connect(port: u16) -> Result<Self, BenchError> {
        Ok(Self { stream: connect(port).await?, port, received: Vec::new() })
    }

    /// Publishes a message; how many subscribers it was given to.
    pub(crate) async fn publish(&mut self, channel: &str, message: &str) -> Result<u64, BenchError> {
        let silent = || BenchError::Protocol(format!("{}: no answer to PUBLISH", doing(self.port)));
        self.stream.write_all(&command(&["PUBLISH", channel, message])?).await.doing(|| doing(self.port))?;
        self.received.clear();
        loop {
            match reply(&self.received)? {
                Some((RangeFrame::Integer(count), _)) => return u64::try_from(count).map_err(|_| silent()),
                Some(_) => return Err(silent()),
                None => {}
            }
            match timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await {
                Ok(Ok(1..)) => {}
                _ => return Err(silent()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_are_resp() {
        let length = |bytes: &[u8]| reply(bytes).map(|reply| reply.map(|(_, length)| length));
        assert_eq!(command(&["PING", "ab"]).expect("a command"), b"*2\r\n$4\r\nPING\r\n$2\r\nab\r\n");
        assert!(matches!(length(b":12\r\n:1"), Ok(Some(5))));
        assert!(matches!(reply(b":12\r\n"), Ok(Some((RangeFrame::Integer(12), 5)))));
        assert!(matches!(length(b"$3\r\n1-0\r\n"), Ok(Some(9))));
        assert!(matches!(length(b"$3\r\n1-0"), Ok(None)));
        assert!(matches!(length(b":1"), Ok(None)));
        assert!(matches!(length(b""), Ok(None)));
        let refused = reply(b"-MOVED 1 127.0.0.1:1\r\n").expect_err("an error of the server's");
        assert!(refused.to_string().contains("MOVED 1"), "{refused}");
        assert!(reply(b"!nonsense\r\n").is_err());
    }
}
