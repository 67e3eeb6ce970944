//! What Redis does by itself: one command again and again, so many under way on one plain connection a master.

use std::{collections::BTreeMap, time::Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::timeout,
};

use super::servers::{self, Servers};

use crate::{
    error::{BenchError, Doing as _},
    resp::{self, PATIENCE, reply},
};

/// A command that is one of the things that a publish does.
#[derive(Debug, Clone, Copy)]
pub(super) enum BareCommand {
    Spublish,
    Publish,
    Xadd,
}

impl BareCommand {
    /// Its bytes for an event in this room.
    fn bytes(self, room: &str, data: &str) -> Result<Vec<u8>, BenchError> {
        let key = format!("bare:{{{}}}:{room}", servers::partition(room)?.tag());
        match self {
            Self::Spublish => resp::command(&["SPUBLISH", &key, data]),
            Self::Publish => resp::command(&["PUBLISH", &key, data]),
            // As much as a pod keeps by default.
            Self::Xadd => resp::command(&["XADD", &key, "MAXLEN", "~", "1000", "*", "e", data]),
        }
    }

    /// Gives each event to its room's master, again and again until `until`; how many were answered. Needs a `LocalSet`.
    pub(super) async fn repeat(
        self,
        servers: &Servers,
        events: impl Iterator<Item = (&str, &str)>,
        until: Instant,
    ) -> Result<u64, BenchError> {
        let mut masters: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
        for (room, data) in events {
            masters.entry(servers.master_of(room)?).or_default().push(self.bytes(room, data)?);
        }
        let mut work = JoinSet::new();
        for (port, commands) in masters {
            work.spawn_local(async move { repeat(port, &commands, until).await });
        }
        let mut answered = 0;
        while let Some(ended) = work.join_next().await {
            answered += ended.map_err(|e| BenchError::Protocol(format!("bare Redis: {e}")))??;
        }
        Ok(answered)
    }
}

/// Sends all `commands` to the server on this port, then each again once it is answered, until `until`. How many were
/// answered; an error from the server fails.
async fn repeat(port: u16, commands: &[Vec<u8>], until: Instant) -> Result<u64, BenchError> {
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
