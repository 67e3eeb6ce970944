//! What Redis does by itself: one command again and again, so many under way on one plain connection a master.

use std::time::Instant;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    error::{BenchError, Doing as _},
    resp::{self, PATIENCE, reply},
};

/// Sends all `commands` to the server on this port, then each again once it is answered, until `until`. How many were
/// answered; an error from the server fails.
pub(super) async fn repeat(port: u16, commands: &[Vec<u8>], until: Instant) -> Result<u64, BenchError> {
    let doing = || resp::doing(port);
    let mut stream = resp::connect(port).await?;
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
        while let Some((_, length)) = reply(&received[taken..])? {
            taken += length;
            due += 1;
        }
        received.drain(..taken);
        under_way -= due;
        answered += due as u64;
    }
}
