//! The bytes of a delivery with one window a room, beside frames that are compressed each for itself and beside a window for each
//! connection, on the same messages.
//!
//! The members are few and in this process, each with an inflater that keeps its window, as a browser has. Always holds: each member
//! gets each event that was published while it was in, and reads it as it was published.

use std::{net::SocketAddr, ops::ControlFlow, time::Duration};

use clap::Args;
use roomcast_websocket::{
    ClientHandshake, Deflater, Frame, Incoming, Inflater, MessageLimits, Offer, Opcode, Reader, Role, message_frame,
    next_message_frame,
};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::progress::bar;
use crate::{
    arguments::{OutputArgs, PodArgs},
    corpus::Corpus,
    error::{BenchError, Doing as _},
    guests::Guests,
    plot::Plot,
    pod::Pod,
    report::{self, Row},
};

/// How long one event may take to one member.
const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest message that a pod compresses by itself.
const COMPRESS_FROM: usize = 256;

/// Events before which nothing is counted: the room gets its window.
const WARM_UP: u64 = 100;

/// Bytes a delivery of three corpora, from a real pod to clients that keep their window: chained as the pod sends them,
/// beside the same messages compressed each for itself, and with a window for each connection. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct WindowArgs {
    /// How many members the room has
    #[arg(long, default_value_t = 100, value_name = "N")]
    connections: usize,
    /// How many events are counted
    #[arg(long, default_value_t = 640, value_name = "N")]
    events: u64,
    /// How many of 1,000 members are replaced with each event; a list. One in a hundred a second is 1 at ten events a second and
    /// 10 at one
    #[arg(long, value_delimiter = ',', default_value = "0,1,10", value_name = "N,...")]
    replaced: Vec<usize>,
    /// Chooses the random parts of the events
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What one corpus came to, in bytes a delivery of WebSocket frames.
#[derive(Debug, Clone, Serialize)]
struct Bytes {
    corpus: &'static str,
    /// Members of 1,000 that are replaced with each event.
    replaced: usize,
    deliveries: u64,
    plain: f64,
    /// Each message compressed for itself.
    alone: f64,
    /// A window for each connection.
    takeover: f64,
    /// As the pod sent it.
    sent: f64,
    /// The share of deliveries that referred to earlier ones, as the pod counts them.
    chained: f64,
}

/// A member of the room.
struct Listener {
    stream: TcpStream,
    reader: Reader,
    inflater: Inflater,
    /// What a server with a window for each connection would have.
    own: Deflater,
    received: Vec<u8>,
    bytes: u64,
}

/// Runs it.
pub(crate) async fn run(args: &WindowArgs) -> Result<(), BenchError> {
    args.pod.must_start("pod")?;
    let guests = Guests::from(args.connections + 16);
    let mut all = Vec::new();
    for &replaced in &args.replaced {
        for corpus in Corpus::ALL {
            let measure = async |pod: &mut Pod| measure(args, corpus, replaced, pod).await;
            all.push(Pod::measured(&args.pod, guests, &args.output, measure).await?);
        }
    }
    let row = all.iter().map(row).reduce(Row::above).unwrap_or_default();
    report::write("window", &args.output, &all, &row, &plot(args, &all))
}

fn plot(args: &WindowArgs, all: &[Bytes]) -> Plot {
    let bars = all.iter().filter(|bytes| bytes.replaced == 0);
    Plot {
        title: format!("{} members, {} events", args.connections, args.events),
        bars_title: "bytes a delivery".to_owned(),
        bars: bars
            .flat_map(|bytes| {
                let bar = |kind: &str, value: f64| (format!("{}, {kind}", bytes.corpus), vec![value]);
                [bar("alone", bytes.alone), bar("sent", bytes.sent), bar("takeover", bytes.takeover)]
            })
            .collect(),
        ..Plot::default()
    }
}

fn row(bytes: &Bytes) -> Row {
    Row::default()
        .cell("corpus", bytes.corpus)
        .cell("replaced of 1,000 an event", bytes.replaced.to_string())
        .cell("plain", format!("{:.0}", bytes.plain))
        .cell("each alone", format!("{:.0}", bytes.alone))
        .cell("a window each", format!("{:.0}", bytes.takeover))
        .cell("sent", format!("{:.0}", bytes.sent))
        .cell("sent / a window each", format!("{:.2}", bytes.sent / bytes.takeover))
        .cell("sent / alone", format!("{:.2}", bytes.sent / bytes.alone))
        .cell("chained", format!("{:.1} %", bytes.chained * 100.0))
}

async fn measure(args: &WindowArgs, corpus: Corpus, replaced: usize, pod: &mut Pod) -> Result<Bytes, BenchError> {
    let (address, connections) = (pod.plain()?, args.connections.max(1));
    let progress = bar(corpus.name(), args.events + WARM_UP);
    let mut members = Vec::new();
    for _ in 0..connections {
        members.push(Listener::join(address).await?);
    }
    let mut alone = Deflater::new(Deflater::DEFAULT_LEVEL, 15);
    let (mut plain_bytes, mut alone_bytes, mut own_bytes, mut sent_bytes, mut deliveries) = (0, 0, 0, 0, 0);
    let (mut owed, mut next, mut frame) = (0, 0, Vec::new());
    let mut before = [0.0; 3];
    for n in 0..WARM_UP + args.events {
        progress.inc(1);
        let counts = n >= WARM_UP;
        if n == WARM_UP {
            before = frames(pod).await?;
        }
        owed += connections * replaced;
        while owed >= 1_000 {
            owed -= 1_000;
            members[next] = Listener::join(address).await?;
            next = (next + 1) % connections;
        }
        let data = corpus.data(args.seed, n);
        pod.publisher.publish(ROOM, &data).await?;
        for (at, member) in members.iter_mut().enumerate() {
            let text = member.event().await?;
            if !text.contains(&data) {
                return Err(BenchError::Faults(format!("{text}\ninstead of an event with\n{data}")));
            }
            frame.clear();
            next_message_frame(Opcode::Text, text.as_bytes(), (&mut member.own, COMPRESS_FROM), &mut frame);
            let sent = std::mem::take(&mut member.bytes);
            if !counts {
                continue;
            }
            own_bytes += frame.len() as u64;
            sent_bytes += sent;
            deliveries += 1;
            plain_bytes += text.len() as u64;
            if at == 0 {
                frame.clear();
                message_frame(Opcode::Text, text.as_bytes(), Some((&mut alone, COMPRESS_FROM)), &mut frame);
                alone_bytes += frame.len() as u64 * connections as u64;
            }
        }
    }
    progress.finish_and_clear();
    let after = frames(pod).await?;
    let went: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let each = |bytes: u64| bytes as f64 / f64::max(deliveries as f64, 1.0);
    Ok(Bytes {
        corpus: corpus.name(),
        replaced,
        deliveries,
        plain: each(plain_bytes),
        alone: each(alone_bytes),
        takeover: each(own_bytes),
        sent: each(sent_bytes),
        chained: went[0] / went.iter().sum::<f64>().max(1.0),
    })
}

/// The pod's count of frames of rooms with a window: chained, with a keyframe, independent. A pod that counts none has 0.
async fn frames(pod: &mut Pod) -> Result<[f64; 3], BenchError> {
    let (_, text) = pod.publisher.get("/metrics").await?;
    Ok(["chained", "keyframe", "independent"].map(|kind| {
        let series = format!("roomcast_window_frames_total{{kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0.0)
    }))
}

/// The room.
const ROOM: &str = "bench:window";

impl Listener {
    /// Connects and subscribes.
    async fn join(address: SocketAddr) -> Result<Self, BenchError> {
        let connecting = || "connecting a member".to_owned();
        let mut stream = TcpStream::connect(address).await.doing(connecting)?;
        stream.set_nodelay(true).doing(connecting)?;
        let offer = Offer::default();
        let handshake = ClientHandshake::new(&address.to_string(), "/ws", &["roomcast.v1"], Some(offer), &[]);
        stream.write_all(handshake.request()).await.doing(connecting)?;
        let mut received = Vec::new();
        let agreed = loop {
            if stream.read_buf(&mut received).await.doing(connecting)? == 0 {
                return Err(BenchError::Protocol("no answer to the upgrade".to_owned()));
            }
            if let Some(agreed) = handshake.answer(&received).map_err(|e| BenchError::Protocol(e.to_string()))? {
                break agreed;
            }
        };
        if agreed.deflate.is_none() {
            return Err(BenchError::Protocol("the pod refused permessage-deflate".to_owned()));
        }
        received.drain(..agreed.head_bytes);
        let command = format!(r#"{{"type":"subscribe","id":1,"room":"{ROOM}"}}"#);
        let mut frame = Vec::new();
        Frame::new(Opcode::Text, command.as_bytes()).write_client([1, 2, 3, 4], &mut frame);
        stream.write_all(&frame).await.doing(connecting)?;
        let (reader, inflater) = (Reader::new(Role::Client, true), Inflater::with_takeover());
        let own = Deflater::new(Deflater::DEFAULT_LEVEL, 15);
        let mut member = Self { stream, reader, inflater, own, received, bytes: 0 };
        while !member.message().await?.starts_with(r#"{"type":"subscribed""#) {}
        member.bytes = 0;
        Ok(member)
    }

    /// The next batch of events.
    async fn event(&mut self) -> Result<String, BenchError> {
        let text = self.message().await?;
        if text.starts_with(r#"{"type":"events""#) {
            return Ok(text);
        }
        Err(BenchError::Protocol(format!("{text}: an event was due")))
    }

    /// The next message. One event is under way at a time, so that no second one is in the same read.
    async fn message(&mut self) -> Result<String, BenchError> {
        let limits = MessageLimits { max_message: 16 << 20, max_fragments: 1_024 };
        loop {
            let mut bytes = std::mem::take(&mut self.received);
            self.bytes += bytes.len() as u64;
            let mut messages = Vec::new();
            let read = self.reader.read(&mut bytes, &mut self.inflater, &limits, &mut |incoming| {
                if let Incoming::Text(text) = incoming {
                    messages.push(text.to_owned());
                }
                ControlFlow::Continue(())
            });
            read.map_err(|error| BenchError::Faults(format!("a member cannot read what came: {error}")))?;
            // Of `welcome` and `subscribed` the last is what is waited for.
            if let Some(last) = messages.pop() {
                return Ok(last);
            }
            let more = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            let late = |_| BenchError::Timeout {
                what: "an event".to_owned(),
                seconds: PATIENCE.as_secs(),
                hint: "does the pod's log say why?".to_owned(),
            };
            if more.map_err(late)?.doing(|| "reading".to_owned())? == 0 {
                return Err(BenchError::Protocol("the pod ended a member's connection".to_owned()));
            }
        }
    }
}
