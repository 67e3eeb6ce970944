//! One connection that hears what others publish on patterns of channels (`PSUBSCRIBE`), made again whenever it ends.
//!
//! Each node of a cluster delivers every plain `PUBLISH`. What is published while there is no connection is lost, as pub/sub
//! has it. Always holds: messages come in the server's order, and a pong comes after every message that the server had
//! before its ping.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    connect::{Access, Stream},
    endpoints::Endpoints,
    error::NodeError,
    frame::{Reader, Value, command},
    greeting::refusal,
    layout::Address,
};

/// The shortest and the longest time between attempts to connect.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The time between pings.
const PING: Duration = Duration::from_secs(1);
/// After so long without a byte, or in one write, the connection is closed.
const SILENCE: Duration = Duration::from_millis(2_500);
/// The bytes of one read.
const CHUNK: usize = 64 << 10;

/// Receives what comes on patterns. No method may block.
pub trait PatternListener: Send + Sync {
    /// Where to connect; `None`: not known yet. A connection to another node is closed within a second.
    fn node(&self) -> Option<Address>;
    /// A message, and the pattern by which it came. A channel that matches two patterns brings each message twice.
    fn message(&self, pattern: &str, channel: &str, payload: &[u8]);
    /// A message on one of the channels that are heard by name.
    fn direct(&self, payload: &[u8]);
    /// All patterns and channels stand at `node`.
    fn confirmed(&self, node: &Address);
    /// The connection to `node` ended, or could not be made: no pattern stands.
    fn lost(&self, node: &Address, error: &NodeError);
    /// Whether the node tells nothing of what is published elsewhere, although it answers: the connection to it is closed.
    fn is_deaf(&self) -> bool;
    /// What the next ping carries.
    fn ping(&self) -> u64;
    /// The server answered the ping that carried this.
    fn pong(&self, ping: u64);
}

/// Hears `patterns`, and `channels` by name, over one connection and so in one order; never returns. Notify `ping_now` to have the next
/// ping sent at once.
pub async fn listen_to_patterns(
    endpoints: &Endpoints,
    patterns: &[&str],
    channels: &[&str],
    listener: &dyn PatternListener,
    ping_now: &Notify,
) {
    let access = Access::servers(endpoints);
    let mut rest = REST.0;
    loop {
        if let Some(node) = listener.node() {
            let mut connection =
                PatternConnection { patterns, channels, listener, ping_now, reader: Reader::default(), confirmed: 0 };
            let error = match access.connect(&node).await {
                Ok(stream) => connection.exchange(&access, &node, stream).await,
                Err(error) => error,
            };
            listener.lost(&node, &error);
            if connection.confirmed == patterns.len() + channels.len() {
                rest = REST.0;
            }
        }
        sleep(rest).await;
        rest = (rest * 2).min(REST.1);
    }
}

struct PatternConnection<'a> {
    patterns: &'a [&'a str],
    channels: &'a [&'a str],
    listener: &'a dyn PatternListener,
    ping_now: &'a Notify,
    reader: Reader,
    confirmed: usize,
}

impl PatternConnection<'_> {
    async fn exchange(&mut self, access: &Access, node: &Address, mut stream: Box<dyn Stream>) -> NodeError {
        let mut out = BytesMut::new();
        command(&mut out, access.greeting().iter().map(String::as_bytes));
        let words: Vec<&[u8]> =
            std::iter::once("PSUBSCRIBE").chain(self.patterns.iter().copied()).map(str::as_bytes).collect();
        command(&mut out, words.into_iter());
        if !self.channels.is_empty() {
            let words: Vec<&[u8]> =
                std::iter::once("SUBSCRIBE").chain(self.channels.iter().copied()).map(str::as_bytes).collect();
            command(&mut out, words.into_iter());
        }
        let (mut heard, mut pinged) = (Instant::now(), Instant::now());
        loop {
            if !out.is_empty() {
                let written = timeout(SILENCE, async {
                    stream.write_all_buf(&mut out).await?;
                    stream.flush().await
                });
                if !matches!(written.await, Ok(Ok(()))) {
                    return NodeError::Ended;
                }
            }
            self.reader.buffer().reserve(CHUNK);
            tokio::select! {
                read = stream.read_buf(self.reader.buffer()) => match read {
                    Ok(0) | Err(_) => return NodeError::Ended,
                    Ok(_) => {
                        heard = Instant::now();
                        if let Err(error) = self.take(node) {
                            return error;
                        }
                        continue;
                    }
                },
                () = self.ping_now.notified() => {}
                () = sleep_until(pinged + PING) => {}
            }
            if heard.elapsed() > SILENCE || self.listener.is_deaf() {
                return NodeError::Silent;
            }
            if self.listener.node().is_some_and(|now| now != *node) {
                return NodeError::Unreachable("messages are listened to at another node now".to_owned());
            }
            pinged = Instant::now();
            let ping = self.listener.ping().to_string();
            command(&mut out, [&b"PING"[..], ping.as_bytes()].into_iter());
        }
    }

    /// Takes in what was read.
    fn take(&mut self, node: &Address) -> Result<(), NodeError> {
        let Self { patterns, channels, listener, reader, confirmed, .. } = self;
        let all = patterns.len() + channels.len();
        let mut greeted = *confirmed > 0;
        loop {
            let taken = reader.next(|value| match value {
                Value::Push(parts) => {
                    match parts.as_slice() {
                        [Value::Text(b"pmessage"), pattern, channel, Value::Text(payload)] => {
                            if let (Some(pattern), Some(channel)) = (pattern.text(), channel.text()) {
                                listener.message(pattern, channel, payload);
                            }
                        }
                        [Value::Text(b"message"), _, Value::Text(payload)] => listener.direct(payload),
                        [Value::Text(b"psubscribe" | b"subscribe"), ..] => {
                            *confirmed += 1;
                            if *confirmed == all {
                                listener.confirmed(node);
                            }
                        }
                        _ => {}
                    }
                    Ok(())
                }
                // The greeting is answered first, then the subscription, then the pings.
                Value::Error(error) if !greeted && *confirmed == 0 && !error.starts_with(b"NOPERM") => {
                    Err(refusal(error))
                }
                Value::Error(error) => Err(NodeError::Subscribe(String::from_utf8_lossy(error).into_owned())),
                value => {
                    greeted = true;
                    if let Some(ping) = value.text().and_then(|text| text.parse().ok()) {
                        listener.pong(ping);
                    }
                    Ok(())
                }
            })?;
            match taken {
                Some(result) => result?,
                None => return Ok(()),
            }
        }
    }
}
