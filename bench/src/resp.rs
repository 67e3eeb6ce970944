//! Redis' protocol (RESP2), as far as the bench speaks it itself: commands, the length of a reply, and a backend that
//! publishes plain messages.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{BenchError, Doing as _};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a command.
pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    bytes.into_bytes()
}

/// The length of the reply that stands first, if it is whole: a number, or a string.
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<usize>, BenchError> {
    let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[..end]);
    let unknown = || BenchError::Faults(format!("redis-server answered {line:?}"));
    let length = match line.as_bytes().first() {
        Some(b':' | b'+') => end + 2,
        Some(b'$') => end + 4 + line[1..].parse::<usize>().map_err(|_| unknown())?,
        _ => return Err(unknown()),
    };
    Ok((bytes.len() >= length).then_some(length))
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

    /// Publishes a message; how many heard it.
    pub(crate) async fn publish(&mut self, channel: &str, message: &str) -> Result<u64, BenchError> {
        let silent = || BenchError::Protocol(format!("{}: no answer to PUBLISH", doing(self.port)));
        self.stream.write_all(&command(&["PUBLISH", channel, message])).await.doing(|| doing(self.port))?;
        self.received.clear();
        while reply(&self.received)?.is_none() {
            match timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await {
                Ok(Ok(1..)) => {}
                _ => return Err(silent()),
            }
        }
        let text = String::from_utf8_lossy(&self.received);
        text.trim().strip_prefix(':').and_then(|count| count.parse().ok()).ok_or_else(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_are_resp() {
        assert_eq!(command(&["PING", "ab"]), b"*2\r\n$4\r\nPING\r\n$2\r\nab\r\n");
        assert!(matches!(reply(b":12\r\n:1"), Ok(Some(5))));
        assert!(matches!(reply(b"$3\r\n1-0\r\n"), Ok(Some(9))));
        assert!(matches!(reply(b"$3\r\n1-0"), Ok(None)));
        assert!(matches!(reply(b":1"), Ok(None)));
        assert!(reply(b"-MOVED 1 127.0.0.1:1\r\n").is_err());
    }
}
