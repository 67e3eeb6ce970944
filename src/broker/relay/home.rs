//! What a home has for its edges: its own broker in all its parts, and the followers of its rooms.
//!
//! Owns the members of edges, and what is known of the pods between this one and the log. Never listens. Always holds: the pod's hub goes through [`HomeBroker`], so
//! that a room's subscription ends with its last follower.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Edges, Followers, HomeControl, HomePresence, MAX_RECORD, RelayAccess, edge_members::EdgeMembers,
    member_departure::MemberDeparture, message::Ancestry, pod_answers::PodAnswers, pod_memory::PodMemory,
};
use crate::{
    broker::{Acks, Answer, Broker, EachAnswer, Erasure, History, HistoryQuery, KeyValue},
    metrics::RelayMetrics,
    model::{Deletion, Notice, Position, Publication, Retained, Room, Signal},
};

/// An edge may say so much at once, however little may be published here.
const SMALLEST_LIMIT: usize = 4 * 1024 * 1024;

/// The parts of the pod's own broker.
pub struct HomeStore {
    /// Rooms.
    pub broker: Arc<dyn Broker>,
    /// Their members.
    pub presence: Arc<HomePresence>,
    /// Values.
    pub values: Arc<dyn KeyValue>,
    /// What users have read.
    pub acks: Arc<dyn Acks>,
    /// What forgets.
    pub erasure: Arc<dyn Erasure>,
    /// The other pods.
    pub control: Arc<HomeControl>,
}

/// A home.
pub struct Home {
    pub(super) store: HomeStore,
    pub(super) followers: Arc<Followers>,
    pub(super) edges: Arc<Edges>,
    pub(super) members: EdgeMembers,
    pub(super) access: Arc<dyn RelayAccess>,
    pub(super) memory: Arc<dyn PodMemory>,
    /// The answers that are begun.
    pub(super) answers: Arc<PodAnswers>,
    /// Its counts.
    pub metrics: RelayMetrics,
    /// The pod's name.
    pub(super) pod: String,
    /// The pods between this one and the log, as this one's own homes said; empty where the log is here.
    above: Mutex<Ancestry>,
    /// Where `above` is read.
    read_above: Box<dyn Fn() -> Ancestry + Send + Sync>,
}

impl Home {
    /// A home without edges. `pod`: its name. `read_above`: the pods between it and the log, which may change.
    #[must_use]
    pub fn new(
        pod: String,
        store: HomeStore,
        (followers, edges): (Arc<Followers>, Arc<Edges>),
        (access, memory): (Arc<dyn RelayAccess>, Arc<dyn PodMemory>),
        metrics: RelayMetrics,
        read_above: Box<dyn Fn() -> Ancestry + Send + Sync>,
    ) -> Self {
        let above = Mutex::new(read_above());
        let (members, answers) = (EdgeMembers::default(), Arc::new(PodAnswers::new(&memory)));
        Self { store, followers, edges, members, access, memory, answers, metrics, pod, above, read_above }
    }

    /// The largest record of an edge: what whatever publishes here may say at once, as JSON.
    #[must_use]
    pub fn largest_record(&self) -> usize {
        let event = self.access.event_bytes();
        (event + event / 3 + 256 * 1_024).clamp(SMALLEST_LIMIT, MAX_RECORD)
    }

    /// What edges are allowed.
    #[must_use]
    pub fn access(&self) -> &dyn RelayAccess {
        &*self.access
    }

    /// The pods from this one to the log, this one included.
    pub(super) fn ancestry(&self) -> Ancestry {
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = [self.pod.clone()].into_iter().chain(above.pods.iter().cloned()).collect();
        Ancestry { pods, hops: above.hops + 1 }
    }

    /// To be called several times a second: takes back members of edges that are gone, and tells edges of others between them and the log.
    pub async fn tick(&self, now: Instant) {
        for edge in self.members.lost_edges(now) {
            self.take_back(&edge, None, MemberDeparture::Lost(now)).await;
        }
        let newest = (self.read_above)();
        let has_changed = {
            let mut above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
            let has_changed = *above != newest;
            *above = newest;
            has_changed
        };
        if has_changed {
            self.edges.tell_ancestry(&self.ancestry());
        }
        self.metrics.show_edges(self.edges.count());
    }
}

/// The broker of the pod's own hub, beside which edges follow rooms.
pub struct HomeBroker {
    own: Arc<dyn Broker>,
    followers: Arc<Followers>,
}

impl HomeBroker {
    /// The pod's own broker, and the followers of rooms.
    #[must_use]
    pub fn new(own: Arc<dyn Broker>, followers: Arc<Followers>) -> Self {
        Self { own, followers }
    }
}

impl Broker for HomeBroker {
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        self.own.publish(room, publication)
    }

    fn publish_all<'a>(&'a self, publications: Vec<(Room, Publication)>) -> EachAnswer<'a> {
        self.own.publish_all(publications)
    }

    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        self.own.publish_unlogged(room, publication, except)
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        self.own.signal(room, signal)
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        self.own.notify(room, notice)
    }

    fn subscribe(&self, room: &Room) {
        self.followers.hub_subscribes(room, &*self.own);
    }

    fn unsubscribe(&self, room: &Room) {
        self.followers.hub_unsubscribes(room, &*self.own);
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        self.own.history(room, query)
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        self.own.retained(room)
    }
}

/// What has a home forget, and its edges hear that a room begins anew.
pub struct HomeErasure {
    own: Arc<dyn Erasure>,
    broker: Arc<dyn Broker>,
    followers: Arc<Followers>,
}

impl HomeErasure {
    /// What forgets, and the followers of rooms.
    #[must_use]
    pub fn new(own: Arc<dyn Erasure>, broker: Arc<dyn Broker>, followers: Arc<Followers>) -> Self {
        Self { own, broker, followers }
    }
}

impl Erasure for HomeErasure {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        Box::pin(async move {
            let had = self.own.forget_room(room).await?;
            self.followers.begin_anew(room, &*self.broker);
            Ok(had)
        })
    }

    // What tells of it is an event of its own, of which edges hear like of any.
    fn delete_event<'a>(&'a self, room: &'a Room, deletion: &'a Deletion) -> Answer<'a, bool> {
        self.own.delete_event(room, deletion)
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, Vec<Room>> {
        Box::pin(async move {
            let authored = self.own.forget_user(user, own).await?;
            for room in own {
                self.followers.begin_anew(room, &*self.broker);
            }
            Ok(authored)
        })
    }

    fn note_author<'a>(&'a self, room: &'a Room, user: &'a str) -> Answer<'a, ()> {
        self.own.note_author(room, user)
    }

    fn forget_author<'a>(&'a self, room: &'a Room, user: &'a str, since: Duration) -> Answer<'a, ()> {
        self.own.forget_author(room, user, since)
    }
}
