//! The broker of an edge: rooms live at a home, another pod, which this one follows.
//!
//! Owns no log: a link to each of the home's pods (`session`), which rooms go over which (`rooms`), and their newest events (`tail`). What the
//! home decides is asked of it (`state`). A thread of its own runs it all.
//!
//! # Why nothing is lost silently
//!
//! *Positions are the home's.* An epoch and an offset mean the same on every edge and at the home, so that a client may come back anywhere.
//!
//! *After a cut the home says where each room stands*, before anything else of that room: [`Delivery::Started`](super::Delivery::Started)
//! with a position that differs from the last event's has the hub read what lies between, from the tail or from the home, and tell what is
//! gone. While a link is cut members stay, and what they miss is bounded by what the home keeps.
//!
//! *A room's deliveries come over one link at a time*, the one that rendezvous hashing gives it among those that stand; what another one
//! still had on its way carries another number and is dropped.
//!
//! *What a home can make an edge hold has a bound*: what it says is looked at before it is taken ([`sound`]); a call, its answer and what waits
//! for a link are on the pod's account of memory.
//!
//! *A home need not believe it.* The tokens that this edge has found good are kept while they are ([`user_tokens`]), and each link is shown a user's
//! token before the first thing in that user's name goes over it, and a better one as soon as it is there ([`shown_users`]).
//!
//! *An answer is true.* A call that was sent and whose link ended is repeated only if that does nothing twice: a publish with an idempotency
//! key. Otherwise its outcome is [`BrokerError::Unknown`](super::BrokerError::Unknown).

mod dial;
mod followed_room;
mod ledger;
mod link;
mod own_members;
mod peers;
mod publishing;
mod read_turns;
mod rendezvous;
mod rooms;
mod session;
mod settings;
mod shared;
mod shown_users;
mod sound;
mod state;
mod status;
mod tail;
mod token_showing;
mod unpacker;
mod user_tokens;

use std::{
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinSet, time::Instant as Deadline};

use super::{
    Answer, Broker, BrokerError, Condition, Deliver, EachAnswer, History, HistoryQuery, Presence, TokenWitness,
    relay::{
        call::{CallAnswer, EdgeCall},
        message::{Ancestry, FromEdge},
        pod_memory::PodMemory,
    },
};
use crate::{
    config::Policies,
    metrics::UpstreamMetrics,
    model::{
        Member, Notice, Position, PresenceList, PresenceMode, Publication, Retained, Room, Signal, Since, Token,
        UnixMillis,
    },
};
use publishing::publish_each;
use rooms::FollowedRooms;
pub use settings::UpstreamSettings;
use state::{EdgeState, unavailable};

/// The broker of an edge.
pub struct Upstream {
    state: Arc<EdgeState>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("pod", &self.state.pod).field("settings", &self.state.settings).finish()
    }
}

impl Upstream {
    /// A broker that connects in the background, however long that takes.
    ///
    /// # Errors
    /// The operating system gives no thread, no event loop or no randomness.
    pub fn start(
        settings: UpstreamSettings,
        policies: Arc<ArcSwap<Policies>>,
        deliver: Arc<dyn Deliver>,
        metrics: UpstreamMetrics,
        memory: Arc<dyn PodMemory>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let lot = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
        let (name, secret) = (format!("{:016x}", lot()?), format!("{:016x}{:016x}", lot()?, lot()?));
        let rooms = FollowedRooms::new(settings.urls.clone(), settings.tail_bytes, deliver);
        let state = Arc::new(EdgeState::new(settings, (name, secret), policies, rooms, metrics, memory));
        let (stop, mut stopped) = watch::channel(false);
        let own = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("upstream".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run(own) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { state, stop, thread: Some(thread) })
    }

    /// Its condition now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.state.condition()
    }

    /// The pods from this one to the log, this one left out.
    #[must_use]
    pub fn ancestry(&self) -> Ancestry {
        self.state.ancestry()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // An answer to another pod may hold the broker last, on the broker's own thread.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Keeps every link, and lets go of rooms that were left.
async fn run(state: Arc<EdgeState>) {
    let mut links = JoinSet::new();
    for index in 0..state.settings.urls.len() {
        links.spawn(session::keep_link(Arc::clone(&state), index));
    }
    let mut turned = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if turned.elapsed() >= ledger::SPAN {
            turned = Instant::now();
            state.ledgers.iter().for_each(ledger::LinkLedger::turn);
            state.rooms.ask_refused();
        }
        state.rooms.forget(Instant::now());
        state.review_tokens();
        let (up, (rooms, bytes)) = (state.rooms.up().len(), state.rooms.usage());
        state.metrics.show((up, state.settings.urls.len() - up), rooms, bytes);
    }
}

/// Reads a part of a log, in as many pages as the home makes of it. `deadline`: the first one's. The next ones are calls of their own: a
/// home that answers is not given up.
async fn read_pages(
    state: &Arc<EdgeState>,
    room: &Room,
    query: &HistoryQuery,
    deadline: Deadline,
) -> Result<History, BrokerError> {
    let mut history = read_page(state, room, query.clone(), deadline).await?;
    let goes_on = |history: &History| {
        let since = query.since.as_ref()?;
        let is_cut = !history.complete && since.epoch == history.epoch && since.offset == history.after;
        let bytes: usize = history.events.iter().map(|event| event.payload.len()).sum();
        let max_events = query.max_events.checked_sub(history.events.len()).filter(|left| *left > 0)?;
        let max_bytes = query.max_bytes.checked_sub(bytes)?;
        let since = Some(Since { epoch: history.epoch.clone(), offset: history.offset });
        is_cut.then_some(HistoryQuery { since, until: query.until, max_events, max_bytes })
    };
    while let Some(next) = goes_on(&history) {
        let page = read_page(state, room, next, state.call_deadline()).await?;
        let follows = page.epoch == history.epoch && page.after == history.offset;
        // What the question itself cut off brings no more.
        if !follows || (page.events.is_empty() && !page.complete) {
            break;
        }
        history.events.extend(page.events);
        (history.offset, history.end, history.complete) = (page.offset, page.end, page.complete);
    }
    Ok(history)
}

async fn read_page(
    state: &Arc<EdgeState>,
    room: &Room,
    query: HistoryQuery,
    deadline: Deadline,
) -> Result<History, BrokerError> {
    match state.call_until(deadline, Some(room.clone()), EdgeCall::History(room.clone(), query)).await? {
        CallAnswer::History(history) => Ok(history),
        other => unexpected(other),
    }
}

/// The home's answer was not one to the question.
fn unexpected<T>(_: CallAnswer) -> Result<T, BrokerError> {
    Err(unavailable("the home of this edge gave an answer to another question: is it of another version?"))
}

fn done(said: CallAnswer) -> Result<(), BrokerError> {
    match said {
        CallAnswer::Done => Ok(()),
        other => unexpected(other),
    }
}

impl Broker for Upstream {
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        let each = publish_each(&self.state, vec![(room.clone(), publication)]);
        Box::pin(async move { each.await.pop().unwrap_or(Err(BrokerError::Unknown)) })
    }

    fn publish_all<'a>(&'a self, publications: Vec<(Room, Publication)>) -> EachAnswer<'a> {
        Box::pin(publish_each(&self.state, publications))
    }

    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        let call = EdgeCall::Unlogged(room.clone(), Box::new(publication), except);
        let said = self.state.call(Some(room.clone()), call);
        Box::pin(async move { said.await.and_then(done) })
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        let said = self.state.call(Some(room.clone()), EdgeCall::Signal(room.clone(), Box::new(signal)));
        Box::pin(async move { said.await.and_then(done) })
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        let said = self.state.call(Some(room.clone()), EdgeCall::Notify(room.clone(), Box::new(notice)));
        Box::pin(async move { said.await.and_then(done) })
    }

    fn subscribe(&self, room: &Room) {
        self.state.rooms.subscribe(room, self.state.policy(room));
    }

    fn unsubscribe(&self, room: &Room) {
        self.state.rooms.unsubscribe(room);
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        Box::pin(async move {
            let state = &self.state;
            let here = || {
                let answer = state.rooms.answer(room, &query, state.home_now());
                if answer.is_some() {
                    state.metrics.read_tail.increment(1);
                }
                answer
            };
            if let Some(history) = here() {
                return Ok(history);
            }
            let deadline = state.call_deadline();
            // What the tail lacks is read by one, and the next ones look whether that was theirs too.
            let turn = match state.rooms.gate(room) {
                None => None,
                Some(gate) => match tokio::time::timeout_at(deadline, gate.lock_owned()).await {
                    Ok(turn) => Some(turn),
                    Err(_) => return Err(unavailable("the home of this edge does not answer")),
                },
            };
            if turn.is_some()
                && let Some(history) = here()
            {
                return Ok(history);
            }
            state.metrics.read_home.increment(1);
            let deletion = state.rooms.deletion(room);
            let history = read_pages(state, room, &query, deadline).await?;
            state.rooms.was_read(room, &history, deletion);
            Ok(history)
        })
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        let said = self.state.call(Some(room.clone()), EdgeCall::Retained(room.clone()));
        Box::pin(async move {
            match said.await? {
                CallAnswer::Retained(retained) => Ok(retained),
                other => unexpected(other),
            }
        })
    }
}

impl TokenWitness for Upstream {
    fn saw(&self, user: &Arc<str>, token: &Token, expires_at: Option<UnixMillis>) {
        self.state.saw_token(user, token, expires_at);
    }
}

impl Presence for Upstream {
    fn join(&self, room: &Room, member: &Member) {
        if self.state.policy(room).presence == PresenceMode::Off {
            return;
        }
        self.state.members.join(room, member, || {
            if let Some(link) = self.state.leading() {
                self.state.tell_join(&link, room, member);
            }
        });
    }

    fn leave(&self, room: &Room, member: &Member) {
        self.state.members.leave(room, member, || {
            if let Some(link) = self.state.leading() {
                link.queue.send(&FromEdge::Leave(room.clone(), member.clone()));
            }
        });
    }

    fn list<'a>(&'a self, room: &'a Room, limit: usize) -> Answer<'a, PresenceList> {
        // Over the link that members are told on, so that those before it count.
        let said = self.state.call(None, EdgeCall::Members(room.clone(), limit));
        Box::pin(async move {
            match said.await? {
                CallAnswer::Members(list) => Ok(list),
                other => unexpected(other),
            }
        })
    }
}

#[cfg(test)]
mod tests;
