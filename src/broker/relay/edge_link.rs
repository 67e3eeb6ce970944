//! One edge's link, at its home: reads what the edge says, writes what it gets.
//!
//! Bounded: deliveries by the link's queue; calls by [`CALLS_AT_ONCE`], beyond which the link is not read, so that the edge waits; answers
//! by those calls. A link that takes nothing for [`STUCK`], or says nothing for [`SILENT`], ends.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    MAX_HOPS,
    call::EdgeCall,
    edges::EdgeLink,
    home::Home,
    message::{FromEdge, FromHome, Record, VERSION, message, next_record},
    out_queue::OutQueue,
};
use crate::model::{Room, UnixMillis};

/// The most calls of one edge that are carried out at once.
const CALLS_AT_ONCE: usize = 1_024;

/// The most of them that read a log or values: each answer may have as many bytes as [`carry_out`](super::carry_out) allows.
const READS_AT_ONCE: usize = 8;

/// For how long a link may take nothing.
const STUCK: Duration = Duration::from_secs(10);

/// For how long an edge may say nothing: it has a sign of life each second.
const SILENT: Duration = Duration::from_secs(10);

/// For the first message.
const HELLO: Duration = Duration::from_secs(10);

/// The most rooms of one edge.
const MOST_ROOMS: usize = 1_000_000;

/// Serves an edge until its link ends. `authorization`: the header that it came with; `now`: the time (ms).
pub async fn serve_edge<S>(home: Arc<Home>, socket: WebSocketStream<S>, authorization: Vec<u8>, now: fn() -> UnixMillis)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut writes, mut reads) = socket.split();
    let pod = match timeout(HELLO, hello(&home, &mut reads)).await {
        Ok(Ok(pod)) => pod,
        Ok(Err(why)) => return refuse(&mut writes, &why).await,
        Err(_) => return refuse(&mut writes, "no hello came").await,
    };
    let queue = Arc::new(OutQueue::new(home.access.queue_bytes()));
    let link = home.edges.open(pod, Arc::clone(&queue));
    tracing::info!(edge = link.pod, link = link.number, "an edge follows this pod");
    queue.send(&FromHome::Welcome { version: VERSION, pod: home.pod.clone(), ancestry: home.ancestry() });
    let session = EdgeSession {
        home: Arc::clone(&home),
        link: Arc::clone(&link),
        rooms: HashMap::new(),
        calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
        reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
        now,
    };
    let why = tokio::select! {
        why = session.read(reads) => why,
        why = write(&home, &link, &mut writes) => why,
        why = watch(&home, &link, &authorization) => why,
    };
    tracing::info!(edge = link.pod, link = link.number, why, "the link of an edge has ended");
    home.members.lost(&link.pod, link.number, Instant::now());
    home.edges.close(&link);
    let _ = timeout(Duration::from_secs(1), refuse(&mut writes, &why)).await;
}

/// Closes with a sentence, as much of it as a close frame holds (RFC 6455 section 5.5).
async fn refuse<S: Sink<Message> + Unpin>(writes: &mut S, why: &str) {
    let mut end = why.len().min(120);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: CloseCode::Policy, reason: why[..end].to_owned().into() };
    let _ = writes.send(Message::Close(Some(frame))).await;
}

/// The edge's first message. The error is why it is refused.
async fn hello<S>(home: &Home, reads: &mut S) -> Result<String, String>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    let mut first = next_binary(reads).await.ok_or("the link ended before its hello")?;
    let Ok(Some(Record::Message(json))) = next_record(&mut first) else { return Err("no hello came".to_owned()) };
    let (version, pod) = match message(&json) {
        Ok(FromEdge::Hello { version, pod, .. }) => (version, pod),
        Ok(_) => return Err("no hello came".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    if version != VERSION {
        return Err(format!("the edge speaks version {version} of the link, this home version {VERSION}"));
    }
    let is_name = pod.len() == 16 && pod.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name {
        return Err("the edge has no name".to_owned());
    }
    let ancestry = home.ancestry();
    if ancestry.pods.contains(&pod) {
        home.metrics.refused_circle.increment(1);
        return Err(format!("a circle: the edge {pod} is between this pod and the log"));
    }
    if ancestry.hops > MAX_HOPS {
        home.metrics.refused_hops.increment(1);
        return Err(format!("too long a way: {} pods are between the edge and the log", ancestry.hops));
    }
    Ok(pod)
}

/// The next binary message; `None`: the link has ended.
async fn next_binary<S>(reads: &mut S) -> Option<Bytes>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        match reads.next().await?.ok()? {
            Message::Binary(bytes) => return Some(bytes),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// Writes what waits, until the link is stuck or ends.
async fn write<S>(home: &Home, link: &EdgeLink, writes: &mut SplitSink<WebSocketStream<S>, Message>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(bytes) = link.queue.next().await {
        home.metrics.bytes_out.increment(bytes.len() as u64);
        link.account.went(bytes.len());
        match timeout(STUCK, writes.send(Message::Binary(bytes))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("it took nothing for {STUCK:?}"),
        }
        for room in link.queue.caught_up() {
            home.followers.renew(&room, &*home.store.broker);
        }
    }
    "it was closed".to_owned()
}

/// Waits until the edge's key is none any more, or other rooms are allowed: then it comes back, and follows those.
async fn watch(home: &Home, link: &EdgeLink, authorization: &[u8]) -> String {
    let rooms = home.access.rooms();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !home.access.allows_key(Some(authorization)) {
            return "its key is not one of `relay.keys` any more".to_owned();
        }
        if home.access.rooms() != rooms {
            return "`relay.rooms` has changed".to_owned();
        }
        // What was behind when the last write ended.
        for room in link.queue.caught_up() {
            home.followers.renew(&room, &*home.store.broker);
        }
    }
}

struct EdgeSession {
    home: Arc<Home>,
    link: Arc<EdgeLink>,
    /// By the numbers that the edge gave them.
    rooms: HashMap<u32, Room>,
    calls: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    now: fn() -> UnixMillis,
}

impl EdgeSession {
    /// Does what the edge says, until it says no more. Returns why.
    async fn read<S>(mut self, mut reads: SplitStream<WebSocketStream<S>>) -> String
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let Ok(next) = timeout(SILENT, next_binary(&mut reads)).await else {
                return format!("it said nothing for {SILENT:?}");
            };
            let Some(mut bytes) = next else { return "it ended".to_owned() };
            self.home.metrics.bytes_in.increment(bytes.len() as u64);
            self.link.account.came(bytes.len());
            loop {
                let said = match next_record(&mut bytes) {
                    Ok(Some(Record::Message(json))) => message(&json),
                    Ok(Some(Record::Delivery(..))) => return "an edge delivers nothing".to_owned(),
                    Ok(None) => break,
                    Err(error) => return error.to_string(),
                };
                match said {
                    Ok(said) => {
                        // What it asks for and does not read is not added to.
                        while self.link.queue.is_flooded() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        if let Err(why) = self.take(said).await {
                            return why;
                        }
                    }
                    Err(error) => return error.to_string(),
                }
            }
        }
    }

    async fn take(&mut self, said: FromEdge) -> Result<(), String> {
        let Self { home, link, rooms, calls, reads, now } = self;
        match said {
            FromEdge::Hello { .. } => return Err("a second hello came".to_owned()),
            FromEdge::Follow { number, room } => {
                if let Err(error) = home.check_room(&room) {
                    link.queue.send(&FromHome::Refused { number, why: error.to_string() });
                    return Ok(());
                }
                match rooms.get(&number) {
                    Some(known) if *known != room => return Err("it gave a number to a second room".to_owned()),
                    None if rooms.len() >= MOST_ROOMS => {
                        return Err(format!("it follows more than {MOST_ROOMS} rooms"));
                    }
                    _ => {}
                }
                rooms.insert(number, room.clone());
                link.account.follows(rooms.len());
                home.followers.follow(&room, &link.queue, number, &*home.store.broker);
            }
            FromEdge::Unfollow { number } => {
                if let Some(room) = rooms.remove(&number) {
                    link.account.follows(rooms.len());
                    home.followers.unfollow(&room, &link.queue, number, &*home.store.broker);
                }
            }
            FromEdge::Call { id, call } => {
                // At most so many, and as many answers: until then the edge is not read.
                let Ok(place) = Arc::clone(calls).acquire_owned().await else { return Ok(()) };
                let (home, link, reads) = (Arc::clone(home), Arc::clone(link), Arc::clone(reads));
                // Tasks are polled first in the order in which they were made: so calls keep their order.
                tokio::spawn(async move {
                    let _reads = match call {
                        EdgeCall::History(..) | EdgeCall::Retained(_) => reads.acquire_owned().await.ok(),
                        _ => None,
                    };
                    let said = home.carry_out(&link.pod, call).await;
                    home.metrics.calls.increment(1);
                    link.queue.send(&FromHome::Answered { id, said });
                    while !link.queue.has_room() && home.edges.has(&link) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    drop(place);
                });
            }
            FromEdge::Ping { at } => link.queue.send(&FromHome::Pong { at, time: now() }),
            FromEdge::Lead(true) => {
                link.leads.store(true, Ordering::Relaxed);
                home.members.begin(&link.pod, link.number);
            }
            FromEdge::Lead(false) => {
                link.leads.store(false, Ordering::Relaxed);
                home.leave_all(home.members.end(&link.pod, link.number));
            }
            FromEdge::Join(room, member) => {
                if home.access.allows_room(&room) && home.members.join(&link.pod, link.number, &room, &member) {
                    home.store.presence.join(&room, &member);
                }
            }
            FromEdge::Leave(room, member) => {
                if home.members.leave(&link.pod, link.number, &room, &member) {
                    home.store.presence.leave(&room, &member);
                }
            }
            FromEdge::AllJoined => home.leave_all(home.members.told_all(&link.pod, link.number)),
            FromEdge::Answer { id, said } => link.answered(id, said),
        }
        Ok(())
    }
}

impl Drop for EdgeSession {
    fn drop(&mut self) {
        for (number, room) in &self.rooms {
            self.home.followers.unfollow(room, &self.link.queue, *number, &*self.home.store.broker);
        }
    }
}
