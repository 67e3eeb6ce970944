//! What the parts of an edge share, and how it asks its home.
//!
//! Bounded: `calls` under way and [`CALLS_KIB`] of them, beyond which a call is refused and leaves nothing open; [`MOST_QUESTIONS`] of the
//! home. Always holds: a call is sent, or found to have no link,
//! before [`EdgeState::call`] returns, so that calls keep their order; the answer is the home's word, or says that it is not known;
//! a call has one deadline, whatever it waits for.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use roomcast_incident::Incident;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    ledger::LinkLedger,
    link::{HomeLink, PendingCall},
    own_members::OwnMembers,
    peers::Peers,
    read_turns::ReadTurns,
    rooms::FollowedRooms,
    settings::UpstreamSettings,
    sound::is_answer,
    user_tokens::UserTokens,
};
use crate::{
    broker::{
        BrokerError, Condition, Respond,
        relay::{
            STRANGERS_CALM,
            call::{CallAnswer, EdgeCall},
            message::{Ancestry, FromEdge},
            pod_memory::{OnAccount, PodMemory},
        },
    },
    config::Policies,
    metrics::UpstreamMetrics,
    model::{Policy, Room, UnixMillis},
};

/// The most KiB that the calls under way hold.
const CALLS_KIB: u32 = 64 * 1_024;

/// A call that holds more is refused while the pod's memory is short.
const SMALL_CALL: usize = 16 * 1_024;

/// The most questions of the home that are being answered.
const MOST_QUESTIONS: usize = 64;

/// Clocks that are further apart (ms) are told of.
const CLOCKS_APART: u64 = 60_000;

/// They agree again once they were not apart for so long, over any link.
const CLOCKS_CALM: Duration = Duration::from_secs(60);

/// What a call under way takes.
struct CallTicket {
    _number: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    _held: OnAccount,
}

/// What the parts of an edge share.
pub(super) struct EdgeState {
    pub(super) settings: UpstreamSettings,
    /// This pod's name.
    pub(super) pod: String,
    /// What its homes know it by, so that no other edge has its name.
    pub(super) secret: String,
    pub(super) policies: Arc<ArcSwap<Policies>>,
    pub(super) rooms: FollowedRooms,
    pub(super) members: OwnMembers,
    pub(super) peers: Peers,
    /// What a home may ask for before it believes what is done in a user's name.
    pub(super) tokens: UserTokens,
    /// Whether the home refuses what is done in users' names now.
    pub(super) strangers: Incident,
    pub(super) metrics: UpstreamMetrics,
    pub(super) respond: OnceLock<Arc<dyn Respond>>,
    /// The account of each link.
    pub(super) ledgers: Vec<LinkLedger>,
    /// The link over which members are told and orders come, by its place.
    lead: Mutex<Option<usize>>,
    /// The pods from here to the log, by link.
    above: Mutex<Vec<Ancestry>>,
    /// Notified when a link stands.
    stands: Notify,
    calls: Arc<Semaphore>,
    reads: ReadTurns,
    call_kib: Arc<Semaphore>,
    /// For the home's questions.
    pub(super) questions: Arc<Semaphore>,
    pub(super) memory: Arc<dyn PodMemory>,
    was_up: AtomicBool,
    /// The home's clock less this one's (ms), and whether that is more than it should be.
    ahead: AtomicI64,
    apart: Incident,
}

impl EdgeState {
    pub(super) fn new(
        settings: UpstreamSettings,
        (pod, secret): (String, String),
        policies: Arc<ArcSwap<Policies>>,
        rooms: FollowedRooms,
        metrics: UpstreamMetrics,
        memory: Arc<dyn PodMemory>,
    ) -> Self {
        let (calls, links) = (Arc::new(Semaphore::new(settings.calls)), settings.urls.len());
        let (now, tokens) = (std::time::Instant::now(), UserTokens::new(settings.token_bytes));
        let (peers, reads) = (Peers::new(settings.peers.clone()), ReadTurns::new(settings.calls));
        Self {
            settings,
            pod,
            secret,
            policies,
            rooms,
            members: OwnMembers::default(),
            peers,
            tokens,
            strangers: Incident::calm(STRANGERS_CALM),
            metrics,
            respond: OnceLock::new(),
            ledgers: (0..links).map(|_| LinkLedger::new(now)).collect(),
            lead: Mutex::new(None),
            above: Mutex::new(vec![Ancestry::default(); links]),
            stands: Notify::new(),
            calls,
            reads,
            call_kib: Arc::new(Semaphore::new(CALLS_KIB as usize)),
            questions: Arc::new(Semaphore::new(MOST_QUESTIONS)),
            memory,
            was_up: AtomicBool::new(false),
            ahead: AtomicI64::new(0),
            apart: Incident::calm(CLOCKS_CALM),
        }
    }

    pub(super) fn policy(&self, room: &Room) -> Arc<Policy> {
        self.policies.load().of(room)
    }

    /// The home's time (ms), by what its last answer showed.
    pub(super) fn home_now(&self) -> UnixMillis {
        own_now().saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    /// Notes something in a link's account. Returns what that says.
    pub(super) fn note<T>(&self, index: usize, note: impl FnOnce(&LinkLedger) -> T) -> Option<T> {
        self.ledgers.get(index).map(note)
    }

    /// A sign of life was answered over a link.
    pub(super) fn heard(&self, index: usize, sent: UnixMillis, time: UnixMillis) {
        let now = own_now();
        let (round_trip, moment) = (now.saturating_sub(sent), std::time::Instant::now());
        let over = self.note(index, |ledger| ledger.answered(round_trip, moment)).flatten();
        if let (Some(over), Some(url)) = (over, self.settings.urls.get(index)) {
            let (seconds, failures) = (over.seconds(), over.failures);
            tracing::info!(url, seconds, failures, "the link to the home stands again");
        }
        let middle = sent + round_trip / 2;
        let ahead = i64::try_from(time).unwrap_or(i64::MAX).saturating_sub(i64::try_from(middle).unwrap_or(0));
        self.ahead.store(ahead, Ordering::Relaxed);
        self.metrics.show_clock(ahead);
        if ahead.unsigned_abs() <= CLOCKS_APART {
            if let Some(over) = self.apart.succeeds(moment) {
                tracing::info!(seconds = over.seconds(), "the clocks of the home and of this pod agree again");
            }
        } else if self.apart.fails(moment) {
            let seconds = ahead / 1_000;
            tracing::warn!(
                seconds,
                "the clocks of the home and of this pod are apart: tokens end by this pod's, events age by the home's"
            );
        }
        self.metrics.show_round_trip(Duration::from_millis(round_trip));
    }

    /// The edge's condition.
    pub(super) fn condition(&self) -> Condition {
        match (self.rooms.up().is_empty(), self.was_up.load(Ordering::Relaxed)) {
            (false, _) => Condition::Well,
            (true, true) => Condition::Cut,
            (true, false) => Condition::Starting,
        }
    }

    /// The pods from here to the log over all links, this one left out.
    pub(super) fn ancestry(&self) -> Ancestry {
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        let pods: BTreeSet<&String> = above.iter().flat_map(|ancestry| &ancestry.pods).collect();
        let hops = above.iter().map(|ancestry| ancestry.hops).max().unwrap_or_default();
        Ancestry { pods: pods.into_iter().cloned().collect(), hops }
    }

    /// The pods from a home to the log, as it says.
    pub(super) fn set_ancestry(&self, index: usize, ancestry: Ancestry) {
        if let Some(known) = self.above.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *known = ancestry;
        }
    }

    /// A link stands.
    pub(super) fn link_up(&self, index: usize, link: &Arc<HomeLink>) {
        self.was_up.store(true, Ordering::Relaxed);
        if self.note(index, |ledger| ledger.stands(&link.pod, std::time::Instant::now())) == Some(true) {
            tracing::info!(home = link.pod, index, "the link to the home stands");
        }
        self.rooms.link_up(index, link);
        self.choose_lead();
        self.stands.notify_waiters();
    }

    /// A link has ended.
    pub(super) fn link_down(&self, index: usize, link: &Arc<HomeLink>) {
        self.rooms.link_down(index, link);
        link.end();
        self.set_ancestry(index, Ancestry::default());
        {
            let mut lead = self.lead();
            if *lead == Some(index) {
                *lead = None;
            }
        }
        self.choose_lead();
    }

    /// The place of the link that leads.
    pub(super) fn leader(&self) -> Option<usize> {
        *self.lead()
    }

    fn lead(&self) -> std::sync::MutexGuard<'_, Option<usize>> {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a link lead, if none does. It keeps leading while it stands: members that moved would be told as gone.
    fn choose_lead(&self) {
        let mut lead = self.lead();
        if lead.is_some() {
            return;
        }
        let Some(index) = self.rooms.up().first().copied() else { return };
        let Some(link) = self.rooms.link(index) else { return };
        *lead = Some(index);
        drop(lead);
        link.queue.send(&FromEdge::Lead(true));
        self.members.tell_all(|room, member| self.tell_join(&link, room, member));
        link.queue.send(&FromEdge::AllJoined);
    }

    /// The link that leads.
    pub(super) fn leading(&self) -> Option<Arc<HomeLink>> {
        self.rooms.link(self.leader()?)
    }

    fn link_for(&self, room: Option<&Room>) -> Option<Arc<HomeLink>> {
        match room {
            Some(room) => self.rooms.link_of(room).map(|(_, link)| link),
            None => self.leading(),
        }
    }

    /// Until when what is asked now may take.
    pub(super) fn call_deadline(&self) -> Instant {
        Instant::now() + self.settings.call_timeout
    }

    /// Asks the home: the pod that has `room`, or the one that leads.
    pub(super) fn call(
        self: &Arc<Self>,
        room: Option<Room>,
        call: EdgeCall,
    ) -> impl Future<Output = Result<CallAnswer, BrokerError>> + Send + use<> {
        self.call_until(self.call_deadline(), room, call)
    }

    /// The same, until then at most: its turn and all repetitions included.
    pub(super) fn call_until(
        self: &Arc<Self>,
        deadline: Instant,
        room: Option<Room>,
        call: EdgeCall,
    ) -> impl Future<Output = Result<CallAnswer, BrokerError>> + Send + use<> {
        // What may bring much waits for its turn; everything else has its place in the order of calls now.
        let begun = (!call.is_long()).then(|| self.begin(room.as_ref(), &call));
        let state = Arc::clone(self);
        async move {
            let (begun, _turn) = match begun {
                Some(begun) => (begun, None),
                None => match state.reads.next(deadline).await {
                    Ok(turn) => (state.begin(room.as_ref(), &call), Some(turn)),
                    Err(why) => ((Err(why), None), None),
                },
            };
            let said = match begun {
                (Ok(ticket), sent) => state.answer(deadline, (room, call), sent, ticket).await,
                (Err(why), _) => Err(unavailable(why)),
            };
            match &said {
                Ok(_) => state.metrics.calls_ok.increment(1),
                Err(BrokerError::Unknown) => state.metrics.calls_unknown.increment(1),
                Err(_) => state.metrics.calls_refused.increment(1),
            }
            said
        }
    }

    /// Takes a call in, and sends it if there is a link.
    fn begin(&self, room: Option<&Room>, call: &EdgeCall) -> (Result<CallTicket, &'static str>, Option<PendingCall>) {
        let ticket = self.admit(call);
        let sent = ticket.as_ref().ok().and_then(|_| self.send(room, call));
        (ticket, sent)
    }

    /// Whether one more call may be under way. The error is why not.
    fn admit(&self, call: &EdgeCall) -> Result<CallTicket, &'static str> {
        let number = Arc::clone(&self.calls).try_acquire_owned();
        let number = number.map_err(|_| "as many calls to the home are under way as `upstream.calls` allows")?;
        let weight = call.weight();
        if weight > SMALL_CALL && self.memory.is_spent() {
            return Err("this pod is short of memory");
        }
        let kib = u32::try_from(weight.div_ceil(1_024)).unwrap_or(CALLS_KIB).min(CALLS_KIB);
        let bytes = Arc::clone(&self.call_kib).try_acquire_many_owned(kib);
        let bytes = bytes.map_err(|_| "the calls to the home that are under way hold as much as they may")?;
        Ok(CallTicket { _number: number, _bytes: bytes, _held: OnAccount::put(&self.memory, weight) })
    }

    /// The home's answer, if it can be one.
    fn believe(&self, call: &EdgeCall, said: Result<CallAnswer, BrokerError>) -> Result<CallAnswer, BrokerError> {
        if said.as_ref().is_ok_and(|said| !is_answer(call, said)) {
            self.metrics.refused_answer.increment(1);
            let why = "the home of this edge gave an answer that cannot be one to what it was asked: is it of another version?";
            return Err(if call.is_read() { unavailable(why) } else { BrokerError::Unknown });
        }
        said
    }

    fn send(&self, room: Option<&Room>, call: &EdgeCall) -> Option<PendingCall> {
        Some(self.link_for(room)?.call(call, &self.tokens))
    }

    async fn answer(
        &self,
        deadline: Instant,
        (room, call): (Option<Room>, EdgeCall),
        mut sent: Option<PendingCall>,
        _ticket: CallTicket,
    ) -> Result<CallAnswer, BrokerError> {
        let (may_repeat, is_read) = (call.may_repeat(), call.is_read());
        let mut was_sent = false;
        loop {
            if let Some(pending) = &mut sent {
                was_sent = true;
                match timeout_at(deadline, pending.answer()).await {
                    Ok(Some(said)) => return self.believe(&call, said),
                    // The link ended: whether it was carried out is not known.
                    Ok(None) if may_repeat => self.metrics.calls_repeated.increment(1),
                    Ok(None) => return Err(BrokerError::Unknown),
                    Err(_) => break,
                }
            }
            let stands = self.stands.notified();
            tokio::pin!(stands);
            stands.as_mut().enable();
            if self.link_for(room.as_ref()).is_none() && timeout_at(deadline, stands).await.is_err() {
                break;
            }
            sent = self.send(room.as_ref(), &call);
        }
        if was_sent && !is_read {
            return Err(BrokerError::Unknown);
        }
        Err(unavailable("the home of this edge cannot be reached, or does not answer"))
    }
}

/// Nothing was done, and why.
pub(super) fn unavailable(why: &str) -> BrokerError {
    BrokerError::Unavailable(why.to_owned())
}

/// This pod's time (ms).
pub(super) fn own_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
