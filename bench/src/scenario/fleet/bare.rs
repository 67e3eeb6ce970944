//! What Redis does by itself: one command again and again, so many under way on one plain connection a master.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{BenchError, Doing as _};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a command (RESP2).
pub(super) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    bytes.into_bytes()
}

/// Sends all `commands` to the server on this port, then each again once it is answered, until `until`. How many were
/// answered; an error from the server fails.
pub(super) async fn repeat(port: u16, commands: &[Vec<u8>], until: Instant) -> Result<u64, BenchError> {
    let doing = || format!("talking to redis-server on port {port}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.doing(doing)?;
    stream.set_nodelay(true).doing(doing)?;
    let mut next = commands.iter().cycle();
    let (mut due, mut under_way, mut answered) = (commands.len(), 0, 0);
    let (mut out, mut received) = (Vec::new(), Vec::with_capacity(64 * 1024));
    loop {
        out.clear();
        if Instant::now() < until {
            next.by_ref().take(due).for_each(|command| out.extend_from_slice(command));
            under_way += due;
            stream.write_all(&out).await.doing(doing)?;
        }
        if under_way == 0 {
            return Ok(answered);
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut received)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return Err(BenchError::Protocol(format!("{}: no answer", doing())));
        }
        due = 0;
        let mut taken = 0;
        while let Some(length) = reply(&received[taken..])? {
            taken += length;
            due += 1;
        }
        received.drain(..taken);
        under_way -= due;
        answered += due as u64;
    }
}

/// The length of the reply that stands first, if it is whole: a number, or a string.
fn reply(bytes: &[u8]) -> Result<Option<usize>, BenchError> {
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
