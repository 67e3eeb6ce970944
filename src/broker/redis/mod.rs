//! The broker of a fleet: rooms live in Redis, pods share them.
//!
//! Owns what the pod knows of its rooms (`rooms`), its members (`local_presence`) and the masters (`shards`); everything that
//! must outlive a pod is in Redis, written by the scripts in `lua/`, each whole and in one slot. Subscriptions are
//! the crate `roomcast-redis-subscriber`'s, commands go through fred. A thread of its own runs it all.
//!
//! # Why nothing is lost silently
//!
//! *An epoch never names two events.* It is `base.replid`: the base is drawn at random when a room's record is made, and
//! `replid` is the replication id of the master that gives out offsets under it. Redis draws a new replication id
//! whenever a server becomes a master, by promotion or by starting, and a server that stays the master does not forget.
//! So each server that could have lost a tail of the log gives its offsets out under a name that no other server ever used. Every
//! script compares the id on record with the server's before it does anything; where they differ, it first writes down
//! how far the record had come: up to that boundary the old and the new log are one. That covers a promotion, a restart
//! with what a file held (`appendfsync everysec`), and a slot that moved, whose boundary lies at its very end.
//!
//! *An older position is judged by the boundary.* The chain of generations is part of the record and was replicated with
//! the events, so it describes this log's own past. A position of an earlier generation at or below that generation's
//! boundary names an event that this log has: recovery from it is exact. Above, it names one that this log lost: never
//! exact, also when its offset has been given out anew. A generation that is not in the chain (another base, or too long
//! ago) is never exact either.
//!
//! *A room in which nothing was published has no key*, because clients may make names up. All such rooms of a slot stand at offset 0 of
//! one epoch, `nERA.STEP`. The era is random and is gone when Redis was emptied; a step is half of `redis.room_ttl`. The log takes such a
//! position for its own beginning while the era is the same and at most one step has passed: a record that began after the position
//! was read cannot have ended by itself since. Only an evicting policy can take it, which is why `noeviction` is asked for.
//!
//! *What was published is seen or seen to be missing.* Append and publish are one script. It does not replicate the message, which no
//! pod awaits from a replica. A message
//! that Redis pub/sub drops leaves a hole before the next one, which the hub fills from the log. Where no next one comes,
//! three things show it: a subscription that was renewed has its position read after it was confirmed; a room that was
//! behind in reading is read again; and every room is compared with its log every half minute. Each ends in
//! [`Delivery::Started`](super::Delivery::Started) with a position that differs from the last event's.
//!
//! *An answer is true.* Each publish has a name, which the entry in the log carries. One that was sent and not answered is sent again
//! with the order to look for that name first: among the newest entries, back to before it was sent first. Found, the answer is the
//! first one's; where the log does not reach back so far, or there is none, and something was published meanwhile, the outcome is
//! not known. What stays unanswered is [`BrokerError::Unknown`](super::BrokerError::Unknown), never a refusal.
//!
//! What Redis itself loses, it loses: events that a master acknowledged and its replica never had. Subscribers are told,
//! because their position lies above the boundary.

mod acks;
mod across;
mod append;
mod arguments;
mod batch;
mod connection;
mod control;
mod departures;
pub mod entry;
mod erasure;
mod fleet_places;
mod key_value;
mod leases;
mod legacy;
mod local_presence;
mod log;
mod node;
mod outages;
mod own_places;
mod partition;
mod plain_lanes;
mod plain_lease;
mod plain_node;
mod plain_ring;
mod positions;
mod presence;
mod publish_queue;
mod publishing;
mod questions;
mod refusal;
mod reply;
mod rooms;
mod script;
mod settings;
mod shards;
mod sink;
mod state;
mod status;
mod tenure;
mod user_records;

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use roomcast_incident::Incident;
use roomcast_redis_subscriber::{Endpoints, Subscriber, Topology, discover};
use tokio::sync::{Semaphore, watch};

use super::{
    Answer, Broker, Condition, Deliver, EachAnswer, Erasure, History, HistoryQuery, Presence, UserPlaces, UserRecords,
};
use crate::{
    config::Policies,
    metrics::{RedisCommands, RedisMetrics},
    model::{Member, Notice, Position, PresenceList, Publication, Retained, Room, Signal},
};
pub use connection::Timeouts;
use erasure::FleetErasure;
use fleet_places::FleetPlaces;
use leases::Leases;
use local_presence::LocalPresence;
use own_places::OwnPlaces;
pub use partition::Partition;
use partition::{KeyKind, Names};
use plain_lease::PlainLease;
use presence::FleetMembers;
use questions::{FleetQuestions, MOST_ANSWERS};
use rooms::SubscribedRooms;
pub use settings::{Elsewhere, Settings};
use shards::Shards;
use sink::SubscriptionSink;
use state::{Pod, RedisState};
use user_records::FleetUsers;

/// How long a broker that ends gives back what it has of others, and says goodbye to its servers.
const FAREWELL: Duration = Duration::from_millis(900);

/// The broker of a fleet.
pub struct Redis {
    /// What has it forget.
    pub erasure: Arc<dyn Erasure>,
    /// The places of users.
    pub places: Arc<dyn UserPlaces>,
    /// The records of users.
    pub users: Arc<dyn UserRecords>,
    state: Arc<RedisState>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("pod", &self.state.pod).field("settings", &self.state.settings).finish()
    }
}

impl Redis {
    /// A broker that connects in the background, however long that takes. A policy that is swapped in counts from the
    /// next use of each room.
    ///
    /// # Errors
    /// The operating system gives no thread, no event loop or no randomness.
    pub fn start(
        settings: Settings,
        policies: Arc<ArcSwap<Policies>>,
        deliver: Arc<dyn Deliver>,
        subscriptions: RedisMetrics,
        commands: RedisCommands,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let metrics = Arc::new(commands);
        let shards = Shards::new(
            settings.endpoints.clone(),
            settings.database,
            settings.timeouts,
            runtime.handle().clone(),
            Arc::clone(&metrics),
        );
        let state = Arc::new(RedisState {
            policies,
            names: Names::new(&settings.endpoints.prefix),
            pod: Pod { number, name: format!("{number:016x}") },
            shards,
            rooms: SubscribedRooms::new(deliver),
            members: LocalPresence::default(),
            places: OwnPlaces::default(),
            leases: Leases::default(),
            metrics,
            subscriber: OnceLock::new(),
            respond: OnceLock::new(),
            answering: Arc::new(Semaphore::new(MOST_ANSWERS)),
            questions: FleetQuestions::default(),
            runtime: runtime.handle().clone(),
            attempts: AtomicU64::new(0),
            was_reached: AtomicBool::new(false),
            follows_plain: AtomicBool::new(false),
            settings,
        });
        let (stop, mut stopped) = watch::channel(false);
        let own = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("redis".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = own.run(subscriptions) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
                let farewell = async {
                    PlainLease::release(&own).await;
                    FleetMembers(Arc::clone(&own)).give_up_lease().await;
                    own.shards.quit().await;
                };
                let _ = tokio::time::timeout(FAREWELL, farewell).await;
            });
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        let (places, users) = (Arc::new(FleetPlaces(Arc::clone(&state))), Arc::new(FleetUsers(Arc::clone(&state))));
        let erasure = Arc::new(FleetErasure::new(Arc::clone(&state)));
        Ok(Self { erasure, places, users, state, stop, thread: Some(thread) })
    }

    /// Its condition now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.state.condition()
    }
}

impl Drop for Redis {
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

impl RedisState {
    async fn run(self: &Arc<Self>, metrics: RedisMetrics) {
        let endpoints = self.find().await;
        let subscriber = Arc::new(Subscriber::new(endpoints.clone(), Arc::new(SubscriptionSink::of(self)), metrics));
        let _ = self.subscriber.set(Arc::clone(&subscriber));
        subscriber.subscribe(&self.names.control());
        subscriber.subscribe(&self.names.replies(&self.pod.name));
        for room in self.rooms.all() {
            subscriber.subscribe(&self.names.of(&room, KeyKind::Channel));
        }
        let own = || Arc::clone(self);
        tokio::join!(
            Arc::clone(&subscriber).run(),
            own().answer_questions(),
            own().look_after_rooms(),
            own().forget_rooms(),
            FleetMembers(own()).keep_lease(),
            FleetMembers(own()).write_members(),
            FleetPlaces(own()).keep_places(),
            own().take_in_legacy(endpoints),
            async {
                loop {
                    self.shards.stale.notified().await;
                    for server in self.shards.demoted() {
                        subscriber.renew(&server);
                    }
                    subscriber.refresh();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            async {
                loop {
                    self.condition();
                    self.report_outages();
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            },
        );
    }

    /// Where to subscribe. Waits until it is known whether that is a cluster.
    async fn find(&self) -> Endpoints {
        let mut endpoints = self.settings.endpoints.clone();
        // The canaries' names follow the prefix without a separator of their own.
        endpoints.prefix.push(':');
        if !(self.settings.detect_cluster && matches!(endpoints.topology, Topology::Standalone)) {
            return endpoints;
        }
        let outage = Incident::new();
        loop {
            match discover(&endpoints).await {
                Ok(server) if server.cluster && self.settings.database != 0 => {
                    tracing::error!(
                        database = self.settings.database,
                        "the Redis servers are a cluster, which has no database but 0: take the number out of `redis.urls`; \
                         fleets on one Redis are kept apart by `redis.prefix`. Nothing works until then"
                    );
                    return std::future::pending().await;
                }
                Ok(server) => {
                    if let Some(over) = outage.succeeds(Instant::now()) {
                        tracing::info!(seconds = over.seconds(), failures = over.failures, "Redis answers now");
                    }
                    if server.cluster {
                        endpoints.topology = Topology::Cluster;
                    }
                    return endpoints;
                }
                Err(error) if outage.fails_for(&error.to_string(), Instant::now()) => {
                    tracing::warn!(%error, "Redis does not answer yet");
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Broker for Redis {
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        Box::pin(self.state.publish(room, publication))
    }

    fn publish_all<'a>(&'a self, publications: Vec<(Room, Publication)>) -> EachAnswer<'a> {
        Box::pin(self.state.publish_all(publications))
    }

    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        Box::pin(self.state.publish_unlogged(room, publication, except))
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        Box::pin(self.state.signal(room, signal))
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        Box::pin(async move { self.state.tell_pods(room, entry::notice_message(&notice)).await })
    }

    fn subscribe(&self, room: &Room) {
        if self.state.rooms.subscribe(room)
            && let Some(subscriber) = self.state.subscriber.get()
        {
            subscriber.subscribe(&self.state.names.of(room, KeyKind::Channel));
        }
    }

    fn unsubscribe(&self, room: &Room) {
        self.state.rooms.unsubscribe(room);
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        Box::pin(self.state.history(room, query))
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        Box::pin(self.state.retained(room))
    }
}

impl Presence for Redis {
    fn join(&self, room: &Room, member: &Member) {
        if self.state.policy(room).presence != crate::model::PresenceMode::Off {
            self.state.members.join(room, member);
        }
    }

    fn leave(&self, room: &Room, member: &Member) {
        self.state.members.leave(room, member);
    }

    fn join_of_edge(&self, room: &Room, member: &Member) {
        if self.state.policy(room).presence != crate::model::PresenceMode::Off {
            self.state.members.join_of_edge(room, member);
        }
    }

    fn leave_of_edge(&self, room: &Room, member: &Member) {
        self.state.members.leave_of_edge(room, member);
    }

    fn list<'a>(&'a self, room: &'a Room, limit: usize) -> Answer<'a, PresenceList> {
        let members = FleetMembers(Arc::clone(&self.state));
        Box::pin(async move { members.list_members(room, limit).await })
    }
}
