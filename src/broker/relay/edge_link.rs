//! One edge's link, at its home: takes it in, reads what the edge says, writes what it gets, and ends it.
//!
//! Bounded: deliveries by the link's queue; what is asked by [`LinkPlaces`](super::link_places); a message by [`Home::largest_record`]. A link
//! that takes nothing for [`STUCK`], or not for [`TAKES_WITHIN`] what it was told, or whose edge has not said a whole message for [`SILENT`],
//! is cut, with a line in the log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
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
    MAX_HOPS, RelayAccess,
    edge_names::LinkHolder,
    edge_session::EdgeSession,
    edges::{EdgeHello, EdgeLink, LinkRefusal, MOST_LINKS},
    home::Home,
    link_end::{CutReason, LinkEnd},
    link_packer::LinkPacker,
    message::{FromEdge, FromHome, Record, VERSION, check_pod, message, next_record},
    out_queue::{OutQueue, QueuePart},
    pod_memory::OnAccount,
    taking_pace::TakingPace,
    user_check::tell_over,
};
use crate::{broker::Control as _, model::UnixMillis};

/// For how long a link may take nothing of a message.
const STUCK: Duration = Duration::from_secs(10);

/// Within which an edge takes what it is told, however much that is: otherwise it only looks as if it kept up.
const TAKES_WITHIN: Duration = Duration::from_secs(60);

/// For how long an edge may say nothing, or have begun to: it has a sign of life each second.
const SILENT: Duration = Duration::from_secs(10);

/// For the first message.
const HELLO: Duration = Duration::from_secs(10);

/// The longest secret of an edge.
const MOST_SECRET: usize = 64;

/// The longest address of an edge: a host's name, and a port.
const MOST_ADDRESS: usize = 264;

/// Why a link ends whose key was taken away.
const NO_KEY: &str = "its key is not one of `relay.keys` any more";

/// How often it is looked whether a link may go on.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Serves an edge until its link ends. `authorization`: the header that it came with; `waiting`: its place among the sockets that are no links
/// yet, which is given back once it is one; `now`: the time (ms).
pub async fn serve_edge<S>(
    home: Arc<Home>,
    socket: WebSocketStream<S>,
    authorization: Vec<u8>,
    waiting: impl Send,
    now: fn() -> UnixMillis,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut writes, mut reads) = socket.split();
    let (hello, terms) = match timeout(HELLO, hello(&home, &authorization, &mut reads)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(why)) => return refuse(&mut writes, &why).await,
        Err(_) => return refuse(&mut writes, "no hello came").await,
    };
    let queue = Arc::new(OutQueue::new(home.access.queue_bytes(), Arc::clone(&home.memory)));
    let link = match home.edges.open(hello, Arc::clone(&queue), now) {
        Ok(link) => link,
        Err(LinkRefusal::Full) => {
            home.metrics.refused_full.increment(1);
            return refuse(&mut writes, &format!("this home has as many links as it takes, {MOST_LINKS}")).await;
        }
        Err(LinkRefusal::Name) => {
            home.metrics.refused_name.increment(1);
            return refuse(
                &mut writes,
                "the edge's name is in use: another one has shown it, with another key or secret",
            )
            .await;
        }
    };
    drop(waiting);
    let open = OpenLink { home: &home, link: &link };
    tracing::info!(edge = link.pod, link = link.number, "an edge follows this pod");
    let largest = home.largest_record();
    queue.send(&FromHome::Welcome {
        version: VERSION,
        pod: home.pod.clone(),
        ancestry: home.ancestry(),
        largest,
        wants_tokens: terms.wants_tokens,
    });
    let session = EdgeSession::new(Arc::clone(&home), Arc::clone(&link));
    let end = tokio::select! {
        end = read(session, (&home, &link), reads) => end,
        end = write(&home, &link, &mut writes) => end,
        end = watch(&home, &link, &authorization, &terms) => end,
    };
    end.tell(&home.metrics, &link.pod, link.number);
    if let Some(over) = link.strangers.ends(Duration::from_millis((link.now)())) {
        tell_over(&link, over);
    }
    drop(open);
    let _ = timeout(Duration::from_secs(1), refuse(&mut writes, &end.why)).await;
}

/// A link that counts among those of its home, until this goes: however what serves it ends.
struct OpenLink<'a> {
    home: &'a Home,
    link: &'a EdgeLink,
}

impl Drop for OpenLink<'_> {
    fn drop(&mut self) {
        self.home.members.lost(&self.link.pod, self.link.number, Instant::now());
        self.home.edges.close(self.link);
    }
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

/// What a link goes by while it stands, as the home's configuration said when the edge said hello: read once, so that all that goes by it agrees.
struct LinkTerms {
    rooms: Vec<String>,
    wants_tokens: bool,
    compresses: Option<u64>,
}

impl LinkTerms {
    fn of(access: &dyn RelayAccess) -> Self {
        Self { rooms: access.rooms(), wants_tokens: access.wants_tokens(), compresses: access.compresses() }
    }

    /// Why they do not hold any more; `None`: they do.
    fn broken(&self, access: &dyn RelayAccess) -> Option<&'static str> {
        let Self { rooms, wants_tokens, compresses } = Self::of(access);
        if rooms != self.rooms {
            Some("`relay.rooms` has changed")
        } else if wants_tokens != self.wants_tokens {
            Some("`relay.verify_users` has changed")
        } else if compresses != self.compresses {
            Some("`relay.compress` has changed, or which rooms share a window")
        } else {
            None
        }
    }
}

/// The edge's first message, and what its link goes by. The error is why it is refused.
async fn hello<S>(home: &Home, authorization: &[u8], reads: &mut S) -> Result<(EdgeHello, LinkTerms), String>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    let mut first = next_binary(reads).await.map_err(|end| end.why)?;
    let Ok(Some(Record::Message(json))) = next_record(&mut first) else { return Err("no hello came".to_owned()) };
    let (version, pod, secret, address, inflates) = match message(&json) {
        Ok(FromEdge::Hello { version, pod, secret, address, inflates, .. }) => {
            (version, pod, secret, address, inflates)
        }
        Ok(_) => return Err("no hello came".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    if version != VERSION {
        return Err(format!("the edge speaks version {version} of the link, this home version {VERSION}"));
    }
    check_pod(&pod).map_err(|_| "the edge has no name".to_owned())?;
    // It may have been taken away since the request.
    if !home.access.allows_key(Some(authorization)) {
        home.metrics.refused_key.increment(1);
        return Err(NO_KEY.to_owned());
    }
    if secret.len() > MOST_SECRET || address.as_ref().is_some_and(|address| address.len() > MOST_ADDRESS) {
        return Err("the edge's secret or address is longer than any is".to_owned());
    }
    let ancestry = home.ancestry();
    if ancestry.pods.contains(&pod) {
        home.metrics.refused_circle.increment(1);
        return Err(format!("a circle: the edge {pod} is between this pod and the log"));
    }
    if home.store.control.is_pod(&pod) {
        home.metrics.refused_name.increment(1);
        return Err(format!("the edge's name is in use: {pod} is a pod of this home"));
    }
    if ancestry.hops > MAX_HOPS {
        home.metrics.refused_hops.increment(1);
        return Err(format!("too long a way: {} pods are between the edge and the log", ancestry.hops));
    }
    if home.memory.is_spent() {
        home.metrics.refused_memory.increment(1);
        return Err("this home is short of memory: come back later".to_owned());
    }
    let terms = LinkTerms::of(&*home.access);
    let (holder, packs) =
        (LinkHolder { authorization: authorization.to_vec(), secret }, inflates && terms.compresses.is_some());
    Ok((EdgeHello { pod, holder, address, packs }, terms))
}

/// The next binary message.
async fn next_binary<S>(reads: &mut S) -> Result<Bytes, LinkEnd>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        match reads.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            None | Some(Ok(Message::Close(_))) => return Err(LinkEnd::of("it ended")),
            Some(Ok(_)) => {}
            Some(Err(tungstenite::Error::Capacity(error))) => {
                return Err(LinkEnd::cut(CutReason::Limit, format!("it said too much at once: {error}")));
            }
            Some(Err(error)) => return Err(LinkEnd::of(error.to_string())),
        }
    }
}

/// Does what the edge says, until it says no more. Returns why.
async fn read<S>(
    mut session: EdgeSession,
    (home, link): (&Home, &EdgeLink),
    mut reads: SplitStream<WebSocketStream<S>>,
) -> LinkEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let said = match timeout(SILENT, next_binary(&mut reads)).await {
            Ok(Ok(said)) => said,
            Ok(Err(end)) => return end,
            Err(_) => return LinkEnd::cut(CutReason::Silent, format!("it said nothing whole for {SILENT:?}")),
        };
        home.metrics.bytes_in.increment(said.len() as u64);
        link.account.came(said.len());
        let _held = OnAccount::put(&home.memory, said.len());
        if let Err(end) = session.take_all(said).await {
            return end;
        }
    }
}

/// Writes what waits, until the link is stuck or ends.
async fn write<S>(home: &Home, link: &EdgeLink, writes: &mut SplitSink<WebSocketStream<S>, Message>) -> LinkEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut packer = LinkPacker::new(Arc::clone(&home.edges.packer_bytes), Arc::clone(&home.memory));
    while let Some(QueuePart { bytes, shares, held: _held }) = link.queue.next_part().await {
        let plain = bytes.len();
        let bytes = if shares { packer.pack(bytes) } else { bytes };
        home.metrics.saved.increment(plain.saturating_sub(bytes.len()) as u64);
        home.metrics.bytes_out.increment(bytes.len() as u64);
        link.account.went(bytes.len());
        match timeout(STUCK, writes.send(Message::Binary(bytes))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return LinkEnd::of(error.to_string()),
            Err(_) => {
                return LinkEnd::cut(CutReason::Slow, format!("it did not take within {STUCK:?} what was written"));
            }
        }
        renew_caught_up(home, link);
    }
    LinkEnd::of("it was closed")
}

/// Has rooms told anew of which something found no place in the link's queue.
fn renew_caught_up(home: &Home, link: &EdgeLink) {
    for room in link.queue.caught_up() {
        home.followers.renew(&room, &link.queue);
    }
}

/// Waits until the edge's key is none any more, or other rooms are allowed: then it comes back, and follows those. Or until it is too slow.
async fn watch(home: &Home, link: &EdgeLink, authorization: &[u8], terms: &LinkTerms) -> LinkEnd {
    let mut keys = home.access.keys();
    let mut pace = TakingPace::new(TAKES_WITHIN.as_millis() as usize / LOOK_EVERY.as_millis() as usize);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !home.access.allows_key(Some(authorization)) {
            return LinkEnd::of(NO_KEY);
        }
        if let Some(why) = terms.broken(&*home.access) {
            return LinkEnd::of(why);
        }
        if pace.is_too_slow(&link.queue) {
            return LinkEnd::cut(CutReason::Slow, format!("it has not taken what it was told {TAKES_WITHIN:?} ago"));
        }
        home.review_users(link, &mut keys).await;
        // What was behind when the last write ended.
        renew_caught_up(home, link);
    }
}
