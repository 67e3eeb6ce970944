//! Connections that are each in two rooms: over one WebSocket, or with a WebTransport stream for each room.
//!
//! Few and simple, on a thread of their own, where the other receivers are thousands: they measure how
//! long one room waits for the other. Always holds: every event is compared with what was published; a connection that
//! ends voids the run. A gap that is told is counted: where packets are lost, a connection may be too slow for its rooms.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::ControlFlow,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quinn::Endpoint;
use roomcast::testing::transport::webtransport::write_message;
use roomcast_websocket::{ClientHandshake, Frame, Incoming, Inflater, MessageLimits, Offer, Opcode, Reader, Role};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinSet, LocalSet},
};
use tokio_rustls::TlsConnector;

use super::{
    frames::{Said, parse, room_of},
    sessions::{
        callers::{call, client_config},
        frames::Frames,
    },
    tls,
};
use crate::{
    clock,
    content::Recipe,
    dialect::room_name,
    error::{BenchError, Doing as _},
    stats::Latencies,
    transport::Transport,
    verify::{Faults, Tracker},
};

/// How often it is looked whether what is waited for has come.
const LOOK: Duration = Duration::from_millis(5);

/// The server that they call, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What they connect over.
    pub(crate) transport: Transport,
    /// The pod.
    pub(crate) address: SocketAddr,
    /// The name in its certificate.
    pub(crate) host: String,
    /// How many connections.
    pub(crate) connections: usize,
    /// The two rooms that each is in.
    pub(crate) rooms: [u32; 2],
    /// Whether they ask for compression.
    pub(crate) deflate: bool,
    /// What the events are made of.
    pub(crate) recipe: Recipe,
}

/// All of them.
pub(crate) struct Pairs {
    seen: Arc<Mutex<Seen>>,
}

/// What they have received since counting began.
struct Seen {
    /// By connection and room.
    trackers: Vec<[Tracker; 2]>,
    /// How many subscriptions stand.
    joined: usize,
    /// Publish to receive, by room.
    latency: [Latencies; 2],
    /// Events that `gap` told of, by room.
    told: [u64; 2],
    faults: Faults,
    example: Option<String>,
    ended: Option<String>,
}

impl Pairs {
    /// Starts a thread, lets it `enter` the network where they are, and connects them.
    pub(crate) fn start(
        plan: Plan,
        enter: impl FnOnce() -> Result<(), BenchError> + Send + 'static,
    ) -> Result<Self, BenchError> {
        let seen = Arc::new(Mutex::new(Seen {
            trackers: (0..plan.connections).map(|_| Default::default()).collect(),
            joined: 0,
            latency: [Latencies::new(), Latencies::new()],
            told: [0; 2],
            faults: Faults::default(),
            example: None,
            ended: None,
        }));
        let shared = Arc::clone(&seen);
        let thread = std::thread::Builder::new().name("clients".to_owned());
        thread
            .spawn(move || {
                let ended = enter().and_then(|()| live(plan, &shared));
                let why = ended.err().map_or_else(|| "they were never there".to_owned(), |error| error.to_string());
                lock(&shared).ended.get_or_insert(why);
            })
            .doing(|| "starting a thread".to_owned())?;
        Ok(Self { seen })
    }

    /// Waits until all are in their rooms.
    pub(crate) async fn joined(&self, patience: Duration) -> Result<(), BenchError> {
        let all = |seen: &Seen| seen.joined == 2 * seen.trackers.len();
        if self.wait(patience, all).await? {
            return Ok(());
        }
        let (what, hint) = ("joining".to_owned(), "does the pod's log say why?".to_owned());
        Err(BenchError::Timeout { what, seconds: patience.as_secs(), hint })
    }

    /// Counts from now.
    pub(crate) fn begin(&self) {
        let mut seen = lock(&self.seen);
        seen.latency.iter_mut().for_each(Latencies::clear);
        seen.told = [0; 2];
        seen.trackers.iter_mut().flatten().for_each(Tracker::begin);
    }

    /// Waits until every connection has both rooms' events up to `ends`, at most for `patience`; of each room, publish to
    /// receive, and how many events a gap told of. Fails unless all others came, once, in order and unchanged.
    pub(crate) async fn finish(
        &self,
        ends: [u64; 2],
        patience: Duration,
    ) -> Result<([Latencies; 2], [u64; 2]), BenchError> {
        let there = |pair: &[Tracker; 2]| pair.iter().zip(ends).all(|(tracker, end)| tracker.position() >= end);
        self.wait(patience, |seen| seen.trackers.iter().all(there)).await?;
        let mut seen = lock(&self.seen);
        let Seen { trackers, faults, .. } = &mut *seen;
        for (tracker, end) in trackers.iter().flat_map(|pair| pair.iter().zip(ends)) {
            tracker.finish(end, faults);
        }
        if !seen.faults.none() {
            let example = seen.example.as_deref().unwrap_or("no example");
            return Err(BenchError::Faults(format!("{:?}; for example: {example}", seen.faults)));
        }
        Ok((seen.latency.clone(), seen.told))
    }

    /// Whether it came to that in time.
    async fn wait(&self, patience: Duration, mut enough: impl FnMut(&Seen) -> bool) -> Result<bool, BenchError> {
        let start = Instant::now();
        loop {
            {
                let seen = lock(&self.seen);
                if let Some(why) = &seen.ended {
                    return Err(BenchError::Faults(format!("a connection ended: {why}")));
                }
                if enough(&seen) {
                    return Ok(true);
                }
            }
            if start.elapsed() > patience {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, where it writes down what it sees.
struct Pair {
    plan: Rc<Plan>,
    seen: Arc<Mutex<Seen>>,
    index: usize,
}

/// Until the first of them ends.
fn live(plan: Plan, seen: &Arc<Mutex<Seen>>) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the event loop".to_owned())?;
    let plan = Rc::new(plan);
    LocalSet::new().block_on(&runtime, async {
        let connector = TlsConnector::from(Arc::new(tls::fresh()?));
        let quic = client_config()?;
        let mut tasks = JoinSet::new();
        for index in 0..plan.connections {
            let pair = Pair { plan: Rc::clone(&plan), seen: Arc::clone(seen), index };
            let (connector, quic) = (connector.clone(), quic.clone());
            tasks.spawn_local(async move {
                match pair.plan.transport {
                    Transport::Websocket => pair.over_websocket(&connector).await,
                    Transport::Webtransport => Rc::new(pair).over_webtransport(&quic).await,
                }
            });
        }
        match tasks.join_next().await {
            Some(Ok(Err(why))) => Err(BenchError::Protocol(why)),
            _ => Ok(()),
        }
    })
}

impl Pair {
    fn subscribe(&self) -> String {
        let rooms = self.plan.rooms.map(|room| format!(r#"{{"room":"{}"}}"#, room_name(room)));
        format!(r#"{{"type":"subscribe","id":1,"rooms":[{}]}}"#, rooms.join(","))
    }

    async fn over_websocket(&self, connector: &TlsConnector) -> Result<(), String> {
        let Plan { address, host, deflate, .. } = &*self.plan;
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let name = ServerName::try_from(host.clone()).map_err(|e| e.to_string())?;
        let mut stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        let offer = Offer { server_no_context_takeover: true, client_no_context_takeover: true, ..Offer::default() };
        let handshake = ClientHandshake::new(host, "/ws", &["roomcast.v1"], deflate.then_some(offer), &[]);
        stream.write_all(handshake.request()).await.map_err(|e| e.to_string())?;
        let mut received = Vec::new();
        let agreed = loop {
            if stream.read_buf(&mut received).await.map_err(|e| e.to_string())? == 0 {
                return Err("no answer to the upgrade".to_owned());
            }
            if let Some(agreed) = handshake.answer(&received).map_err(|e| e.to_string())? {
                break agreed;
            }
        };
        received.drain(..agreed.head_bytes);
        stream.write_all(&frame(Opcode::Text, self.subscribe().as_bytes())).await.map_err(|e| e.to_string())?;
        let (mut reader, mut inflater) = (Reader::new(Role::Client, agreed.deflate.is_some()), Inflater::new());
        let limits = MessageLimits { max_message: 16 << 20, max_fragments: 1024 };
        loop {
            let (mut pongs, mut ended) = (Vec::new(), None);
            let read = reader.read(&mut received, &mut inflater, &limits, &mut |incoming| {
                match incoming {
                    Incoming::Text(text) => ended = self.message(text).err(),
                    Incoming::Ping(payload) => pongs.extend(frame(Opcode::Pong, payload)),
                    Incoming::Close(reason) => ended = Some(format!("closed: {reason:?}")),
                    Incoming::Binary(_) | Incoming::Pong(_) => {}
                }
                if ended.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            read.map_err(|e| format!("the server's frames are wrong: {e:?}"))?;
            if let Some(why) = ended {
                return Err(why);
            }
            stream.write_all(&pongs).await.map_err(|e| e.to_string())?;
            received.clear();
            if stream.read_buf(&mut received).await.map_err(|e| e.to_string())? == 0 {
                return Err("the pod ended the connection".to_owned());
            }
        }
    }

    async fn over_webtransport(self: Rc<Self>, quic: &quinn::ClientConfig) -> Result<(), String> {
        let Plan { address, host, deflate, .. } = &*self.plan;
        // A socket of its own, as a browser has: in one that they share, a burst for one would be a loss for all.
        let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into()).map_err(|e| e.to_string())?;
        let session = call(&endpoint, quic, (*address, host), *deflate).await?;
        // What is said to it alone is not read; the stream must live as long as the session.
        let (mut send, _recv) = session.open_bi().await.map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        write_message(self.subscribe().as_bytes(), &mut bytes);
        send.write_all(&bytes).await.map_err(|e| e.to_string())?;
        let mut streams = JoinSet::new();
        for _ in self.plan.rooms {
            let stream = session.accept_uni().await.map_err(|e| e.to_string())?;
            streams.spawn_local(Rc::clone(&self).read(stream));
        }
        match streams.join_next().await {
            Some(Ok(Err(why))) => Err(why),
            _ => Err("a room's stream ended".to_owned()),
        }
    }

    /// Reads a room's stream to its end.
    async fn read(self: Rc<Self>, mut stream: web_transport_quinn::RecvStream) -> Result<(), String> {
        let mut kind = [0];
        stream.read_exact(&mut kind).await.map_err(|e| e.to_string())?;
        let (mut frames, mut received) = (Frames::default(), Vec::new());
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.map_err(|e| e.to_string())? {
            received.extend_from_slice(&chunk.bytes);
            while let Some((length, messages)) = frames.first(&received, kind[0] == 1).map_err(|e| e.to_string())? {
                messages.iter().try_for_each(|message| self.message(message))?;
                received.drain(..length);
            }
        }
        Ok(())
    }

    /// One message came.
    fn message(&self, text: &str) -> Result<(), String> {
        let now = clock::now();
        let named = room_of(text);
        let Some(at) = self.plan.rooms.iter().position(|&room| named.as_deref() == Some(&room_name(room))) else {
            return Ok(());
        };
        let room = self.plan.rooms[at];
        let said = parse(text, room, &self.plan.recipe);
        let Seen { trackers, joined, latency, told, faults, example, .. } = &mut *lock(&self.seen);
        let tracker = &mut trackers[self.index][at];
        match said {
            Said::Batch(batch) => {
                let before = *faults;
                tracker.events(batch.after, batch.offset, batch.events.iter().map(|&(offset, _)| offset), faults);
                for (_, stamp) in &batch.events {
                    match stamp {
                        Some(stamp) => latency[at].record(now.saturating_sub(stamp.t)),
                        None => faults.corrupt += 1,
                    }
                }
                if *faults != before {
                    example.get_or_insert_with(|| {
                        format!("room {room}: a frame that covers ({}, {}]", batch.after, batch.offset)
                    });
                }
            }
            Said::Subscribed(offset) => {
                tracker.subscribed(offset);
                *joined += 1;
            }
            Said::Gap { after, offset } => {
                let mut of_this = Faults::default();
                tracker.gap(after, offset, &mut of_this);
                told[at] += of_this.told_gaps;
            }
            Said::Wrong(what) => return Err(format!("the server said: {what}")),
            Said::Other | Said::Opened | Said::Connected | Said::Ping | Said::Heartbeat => {}
        }
        Ok(())
    }
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::new(opcode, payload).write_client([1, 2, 3, 4], &mut bytes);
    bytes
}
