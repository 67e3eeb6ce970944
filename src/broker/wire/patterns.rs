//! One connection that hears what others publish on patterns of channels (`PSUBSCRIBE`), made again whenever it is lost.
//!
//! Any node of a cluster hears every plain `PUBLISH`. What is published while there is no connection is lost, as `PUBLISH`
//! has it. Always holds: messages are told in the order in which the server had them, and an echo comes after every
//! message that the server had before its question.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    Address, Endpoints, Fault,
    connect::{Access, Stream},
    feed::refused,
    frame::{Reader, Value, command},
};

/// The shortest and the longest time between attempts to connect.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Between questions whether the server is there.
const PING: Duration = Duration::from_secs(1);
/// After so long without a byte, or a write, the connection is given up.
const SILENCE: Duration = Duration::from_millis(2_500);
/// What is read at once.
const CHUNK: usize = 64 << 10;

/// Who hears patterns. Nothing here may block.
pub trait Listener: Send + Sync {
    /// Where to connect; a connection to somewhere else is given up.
    fn node(&self) -> Option<Address>;
    /// A message, and the pattern by which it came.
    fn message(&self, pattern: &str, channel: &str, payload: &[u8]);
    /// All patterns stand, or not any more.
    fn stands(&self, stands: bool);
    /// What the next question carries; it is asked at once when `ask` is told.
    fn question(&self) -> u64;
    /// The server answered a question.
    fn echoed(&self, question: u64);
}

/// Hears `patterns`, for ever.
pub async fn listen(endpoints: &Endpoints, patterns: &[&str], listener: &dyn Listener, ask: &Notify) {
    let access = Access::servers(endpoints);
    let mut rest = REST.0;
    let mut told = None;
    loop {
        if let Some(node) = listener.node() {
            let mut line = Line { patterns, listener, ask, reader: Reader::default(), confirmed: 0 };
            let fault = match access.connect(&node).await {
                Ok(stream) => line.exchange(&access, &node, stream).await,
                Err(fault) => fault,
            };
            listener.stands(false);
            if line.confirmed == patterns.len() {
                (rest, told) = (REST.0, None);
            }
            // Once for each reason: it may last for hours.
            if told.as_ref() != Some(&fault) {
                tracing::warn!(%node, %fault, "messages of legacy publishers are not heard");
                told = Some(fault);
            }
        }
        sleep(rest).await;
        rest = (rest * 2).min(REST.1);
    }
}

struct Line<'a> {
    patterns: &'a [&'a str],
    listener: &'a dyn Listener,
    ask: &'a Notify,
    reader: Reader,
    confirmed: usize,
}

impl Line<'_> {
    async fn exchange(&mut self, access: &Access, node: &Address, mut stream: Box<dyn Stream>) -> Fault {
        let mut out = BytesMut::new();
        command(&mut out, access.greeting().iter().map(String::as_bytes));
        let words: Vec<&[u8]> =
            std::iter::once("PSUBSCRIBE").chain(self.patterns.iter().copied()).map(str::as_bytes).collect();
        command(&mut out, words.into_iter());
        let (mut heard, mut asked) = (Instant::now(), Instant::now());
        loop {
            if !out.is_empty() {
                let written = timeout(SILENCE, async {
                    stream.write_all_buf(&mut out).await?;
                    stream.flush().await
                });
                if !matches!(written.await, Ok(Ok(()))) {
                    return Fault::Ended;
                }
            }
            self.reader.buffer().reserve(CHUNK);
            tokio::select! {
                read = stream.read_buf(self.reader.buffer()) => match read {
                    Ok(0) | Err(_) => return Fault::Ended,
                    Ok(_) => {
                        heard = Instant::now();
                        if let Err(fault) = self.take() {
                            return fault;
                        }
                        continue;
                    }
                },
                () = self.ask.notified() => {}
                () = tokio::time::sleep_until(asked + PING) => {}
            }
            if heard.elapsed() > SILENCE {
                return Fault::Silent;
            }
            if self.listener.node().is_some_and(|now| now != *node) {
                return Fault::Unreachable("another node is the master now".to_owned());
            }
            asked = Instant::now();
            let question = self.listener.question().to_string();
            command(&mut out, [&b"PING"[..], question.as_bytes()].into_iter());
        }
    }

    /// Takes in what was read.
    fn take(&mut self) -> Result<(), Fault> {
        let Self { patterns, listener, reader, confirmed, .. } = self;
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
                        [Value::Text(b"psubscribe"), ..] => {
                            *confirmed += 1;
                            if *confirmed == patterns.len() {
                                listener.stands(true);
                            }
                        }
                        _ => {}
                    }
                    Ok(())
                }
                // Of the greeting, the subscription and the questions, in this order.
                Value::Error(error) if !greeted && *confirmed == 0 && !error.starts_with(b"NOPERM") => {
                    Err(refused(error))
                }
                Value::Error(error) => Err(Fault::Subscribe(String::from_utf8_lossy(error).into_owned())),
                value => {
                    greeted = true;
                    if let Some(question) = value.text().and_then(|text| text.parse().ok()) {
                        listener.echoed(question);
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
