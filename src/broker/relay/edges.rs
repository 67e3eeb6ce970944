//! The links that edges have to this pod: which there are, what each of them waits for, and what an edge is allowed.
//!
//! Never reads or writes a link. Bounded: [`MOST_LINKS`]; the rooms that all of them follow together; [`MOST_QUESTIONS`] that wait for an
//! edge's answer. Always holds: a question to an edge is answered once, at the latest when its link ends.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use roomcast_incident::Incident;
use tokio::sync::oneshot;

use super::{
    edge_account::EdgeAccount,
    edge_answer::EdgeAnswer,
    edge_names::{EdgeNames, LinkHolder},
    message::{Ancestry, FromHome},
    out_queue::OutQueue,
    vouched_users::VouchedUsers,
};
use crate::{
    broker::{AckBounds, FleetQuestion},
    model::{Room, Token, UnixMillis},
};

/// The most links.
pub const MOST_LINKS: usize = 1_024;

/// The most questions that wait for one edge's answer.
const MOST_QUESTIONS: usize = 1_024;

/// An edge acts in vain in users' names until nothing was refused for so long.
pub const STRANGERS_CALM: Duration = Duration::from_secs(60);

/// The user of a token, and when the token ends.
pub type VouchedUser = (Arc<str>, Option<UnixMillis>);

/// What edges are allowed, by the configuration as it is now.
pub trait RelayAccess: Send + Sync {
    /// Whether an `Authorization` header carries a key of edges.
    fn allows_key(&self, authorization: Option<&[u8]>) -> bool;
    /// Whether edges may have this room.
    fn allows_room(&self, room: &Room) -> bool;
    /// The patterns of the rooms that edges may have; none: every room.
    fn rooms(&self) -> Vec<String>;
    /// Whether edges may publish, and keep things.
    fn allows_publish(&self) -> bool;
    /// Whether edges may order, list and forget.
    fn allows_orders(&self) -> bool;
    /// The most bytes of deliveries that wait for one edge.
    fn queue_bytes(&self) -> usize;
    /// The most bytes of data that one event, or one value, of an edge may have: what whatever publishes at this pod may.
    fn event_bytes(&self) -> usize;
    /// For how long a value of an edge is kept at most: twice as long as a session of Socket.IO may be away, of which pods keep nothing longer.
    fn longest_value(&self) -> Duration;
    /// Whether events are compressed for edges that inflate; `Some`: with which state of the policies that say of which rooms.
    fn compresses(&self) -> Option<u64>;
    /// Whether a room's events may be compressed behind those of other rooms.
    fn shares_window(&self, room: &Room) -> bool;
    /// Whether what an edge does in a user's name needs a live token of that user.
    fn wants_tokens(&self) -> bool;
    /// The user of a token; `None`: it is not good, or names none.
    fn user_of<'a>(&'a self, token: &'a Token) -> Pin<Box<dyn Future<Output = Option<VouchedUser>> + Send + 'a>>;
    /// The state of the keys and rules of tokens: another one once some were taken away or changed.
    fn keys(&self) -> (u64, u64);
    /// How much is kept of what a user has read.
    fn ack_bounds(&self) -> AckBounds;
}

/// What an edge says of itself first.
pub(super) struct EdgeHello {
    /// Its name.
    pub(super) pod: String,
    /// Whose the name is.
    pub(super) holder: LinkHolder,
    /// Where other edges find its internal listener.
    pub(super) address: Option<String>,
    /// Whether it gets events compressed.
    pub(super) packs: bool,
}

/// A question that an edge has not answered yet.
struct OpenQuestion {
    question: Box<FleetQuestion>,
    tell: oneshot::Sender<EdgeAnswer>,
}

/// The link of an edge.
pub(super) struct EdgeLink {
    /// Its number on this pod.
    pub(super) number: u64,
    /// The edge's name.
    pub(super) pod: String,
    /// Where other edges find its internal listener.
    address: Option<String>,
    /// Whether events go to it compressed.
    pub(super) packs: bool,
    /// What it carried.
    pub(super) account: EdgeAccount,
    /// What is to be sent.
    pub(super) queue: Arc<OutQueue>,
    /// The users whose tokens it has shown.
    pub(super) users: VouchedUsers,
    /// Whether it acts for others now.
    pub(super) strangers: Incident<Duration>,
    /// The time (ms).
    pub(super) now: fn() -> UnixMillis,
    /// Whether orders reach the edge over it.
    pub(super) leads: AtomicBool,
    asked: Mutex<HashMap<u64, OpenQuestion>>,
    questions: AtomicU64,
}

impl EdgeLink {
    /// Asks the edge. Nothing is said where it did not answer in time, has no answer, or does not take what it is told.
    pub(super) async fn ask(&self, question: &FleetQuestion, within: Duration) -> EdgeAnswer {
        let id = self.questions.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        {
            let mut asked = self.asked();
            if asked.len() >= MOST_QUESTIONS || self.queue.is_flooded() {
                return EdgeAnswer::default();
            }
            asked.insert(id, OpenQuestion { question: Box::new(question.clone()), tell });
        }
        self.queue.send(&FromHome::Ask { id, question: Box::new(question.clone()) });
        let said = tokio::time::timeout(within, answer).await;
        self.asked().remove(&id);
        said.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The edge answered. `judge`: what of it is an answer to the question.
    pub(super) fn answered(&self, id: u64, judge: impl FnOnce(&FleetQuestion) -> EdgeAnswer) {
        let open = self.asked().remove(&id);
        if let Some(OpenQuestion { question, tell }) = open {
            let _ = tell.send(judge(&question));
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<u64, OpenQuestion>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no further link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkRefusal {
    /// There are [`MOST_LINKS`].
    Full,
    /// Its name is another edge's.
    Name,
}

#[derive(Default)]
struct LinkTable {
    by_number: HashMap<u64, Arc<EdgeLink>>,
    names: EdgeNames,
}

/// The links of all edges.
#[derive(Default)]
pub struct Edges {
    links: Mutex<LinkTable>,
    given: AtomicU64,
    /// The bytes that the rooms of all links take.
    pub(super) room_bytes: AtomicUsize,
    /// The bytes that the users take whose tokens all links have shown.
    user_bytes: Arc<AtomicUsize>,
    /// The bytes that the deflaters of all links take.
    pub(super) packer_bytes: Arc<AtomicUsize>,
}

impl Edges {
    fn lock(&self) -> MutexGuard<'_, LinkTable> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link that has begun. `now`: the time (ms).
    pub(super) fn open(
        &self,
        hello: EdgeHello,
        queue: Arc<OutQueue>,
        now: fn() -> UnixMillis,
    ) -> Result<Arc<EdgeLink>, LinkRefusal> {
        let EdgeHello { pod, holder, address, packs } = hello;
        let mut links = self.lock();
        if links.by_number.len() >= MOST_LINKS {
            return Err(LinkRefusal::Full);
        }
        if !links.names.take(&pod, &holder, Instant::now()) {
            return Err(LinkRefusal::Name);
        }
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(EdgeLink {
            number,
            pod,
            address,
            packs,
            account: EdgeAccount::begin(),
            queue,
            users: VouchedUsers::new(Arc::clone(&self.user_bytes)),
            strangers: Incident::calm(STRANGERS_CALM),
            now,
            leads: AtomicBool::new(false),
            asked: Mutex::default(),
            questions: AtomicU64::new(0),
        });
        links.by_number.insert(number, Arc::clone(&link));
        Ok(link)
    }

    /// It has ended.
    pub(super) fn close(&self, link: &EdgeLink) {
        {
            let mut links = self.lock();
            if links.by_number.remove(&link.number).is_some() {
                links.names.give(&link.pod, Instant::now());
            }
        }
        link.queue.close();
        link.asked().clear();
    }

    /// Whether a link has not ended.
    pub(super) fn has(&self, link: &EdgeLink) -> bool {
        self.lock().by_number.contains_key(&link.number)
    }

    /// How many links there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().by_number.len()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<EdgeLink>> {
        self.lock().by_number.values().cloned().collect()
    }

    /// The links over which orders reach edges, one an edge; but not to `except`.
    pub(super) fn leading(&self, except: Option<&str>) -> Vec<Arc<EdgeLink>> {
        let mut by_pod: HashMap<String, Arc<EdgeLink>> = HashMap::new();
        for link in self.lock().by_number.values() {
            if !link.leads.load(Ordering::Relaxed) || except == Some(link.pod.as_str()) {
                continue;
            }
            // The newest, where an edge has come back before its old link was seen to have ended.
            let newest = by_pod.get(&link.pod).is_none_or(|known| known.number < link.number);
            if newest {
                by_pod.insert(link.pod.clone(), Arc::clone(link));
            }
        }
        by_pod.into_values().collect()
    }

    /// Where an edge's internal listener is, as it says.
    pub(super) fn address(&self, pod: &str) -> Option<String> {
        self.lock().by_number.values().find(|link| link.pod == pod)?.address.clone()
    }

    /// Tells every edge which pods stand between it and the log.
    pub(super) fn tell_ancestry(&self, ancestry: &Ancestry) {
        for link in self.lock().by_number.values() {
            link.queue.send(&FromHome::Ancestry(ancestry.clone()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    fn queue() -> Arc<OutQueue> {
        Arc::new(OutQueue::new(1_000, TestMemory::plenty()))
    }

    fn open(edges: &Edges, secret: &str) -> Result<Arc<EdgeLink>, LinkRefusal> {
        let holder = LinkHolder { authorization: b"key".to_vec(), secret: secret.to_owned() };
        edges.open(EdgeHello { pod: "e".to_owned(), holder, address: None, packs: false }, queue(), || 0)
    }

    #[test]
    fn there_are_so_many_links_and_no_more() {
        let edges = Edges::default();
        let links: Vec<_> = (0..MOST_LINKS).map(|_| open(&edges, "own").unwrap()).collect();
        assert_eq!(open(&edges, "own").err(), Some(LinkRefusal::Full));
        edges.close(&links[0]);
        assert_eq!(open(&edges, "other").err(), Some(LinkRefusal::Name));
        assert!(open(&edges, "own").is_ok());
    }

    #[tokio::test]
    async fn an_edge_that_answers_nothing_holds_a_bounded_number_of_questions() {
        let edges = Edges::default();
        let link = open(&edges, "own").unwrap();
        let ask = || link.ask(&FleetQuestion::Stats, Duration::from_secs(60));
        let mut asked: Vec<_> = Vec::new();
        for _ in 0..2 * MOST_QUESTIONS {
            let mut question = Box::pin(ask());
            if futures_util::future::poll_immediate(&mut question).await.is_none() {
                asked.push(question);
            }
        }
        // What is not read counts, too: the queue has 1,000 bytes.
        assert!(asked.len() > 10 && asked.len() <= MOST_QUESTIONS, "{}", asked.len());
        assert!(link.queue.bytes() < 3_000, "{}", link.queue.bytes());
        link.answered(999_999, |_| EdgeAnswer::default());
        edges.close(&link);
        for question in asked {
            assert_eq!(question.await, EdgeAnswer::default());
        }
    }
}
