//! Plain messages of other publishers become events: every pod hears them, the holder of a lease publishes them, and all pods
//! deliver the events. A room that keeps nothing has no log to agree on: each pod delivers its messages at once and without a
//! position. The lease's holder also gives messages of some channels to a
//! [`PlainMessageSink`](crate::broker::PlainMessageSink).
//!
//! Every pod keeps what it heard until a mark of the holder says that it is in the logs, and names it by the stream's own order
//! ([`plain_ring`](super::plain_ring)). The next holder publishes what is left under these names, which the log knows if the last
//! holder has published it. So a message that one living pod heard is lost with no holder, and a holder that was stopped and
//! wakes up repeats nothing. Pods that take in other channels have a lease of their own.
//!
//! Always holds: messages of a room, or of rooms that share a log, keep their order. Messages are never compared by their
//! content. A message without a name, before the first mark that a pod hears, is published only by a pod that surely holds the
//! lease: its own clock ends its tenure before Redis does, and its connection first answers a ping that was sent in its tenure.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use roomcast_incident::Incident;
use roomcast_redis_subscriber::{Address, Endpoints, NodeError, PatternListener, Topology, listen_to_patterns};
use tokio::{sync::Notify, task::JoinSet, time::sleep};

use super::{
    partition::Partition,
    plain_lanes::PlainLanes,
    plain_lease::{LEASE, LeaseView, PlainLease},
    plain_ring::{HeardMessage, StreamMark},
    settings::Elsewhere,
    state::RedisState,
    tenure::{NAME_IS_SURE, Tenure},
};
use crate::{
    broker::legacy::{self, PlainMessageError},
    model::ArchiveMode,
};

/// The time between two marks: while messages come, and while none do.
const MARK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A pod that starts is not ready before it follows the messages, but is after so long: they are not all that it serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pod that may not have heard all that is not in a log yet leaves a free lease to others for so long.
const GRACE: Duration = Duration::from_millis(500);

/// The time before the lease is asked for again after an error.
const AGAIN: Duration = Duration::from_millis(250);

/// A connection that comes and goes has a pair of lines in the log in this time, at most.
const APART: Duration = Duration::from_secs(60);

/// The least time between two requests for the lease.
const SHORTEST: Duration = Duration::from_millis(10);

/// Takes messages in.
struct Intake {
    state: Arc<RedisState>,
    tenure: Arc<Mutex<Tenure>>,
    /// A tenure began: its ping is due.
    ping_now: Notify,
    /// The patterns stand, or not any more.
    changed: Notify,
    lease: PlainLease,
    /// The servers are a cluster: a message is told by all nodes, and by each in an order of its own.
    is_cluster: bool,
    lanes: Arc<PlainLanes>,
    /// Whether the patterns do not stand.
    deaf: Incident,
}

impl RedisState {
    /// Takes in what the configuration describes, for ever.
    pub(super) async fn take_in_legacy(self: Arc<Self>, endpoints: Endpoints) {
        let heard: Vec<crate::config::ChannelPattern> = self.settings.heard().cloned().collect();
        if heard.is_empty() {
            self.follows_plain.store(true, Ordering::Relaxed);
            return;
        }
        let mut patterns: Vec<&str> = heard.iter().map(crate::config::ChannelPattern::as_str).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let lease = PlainLease::new(Arc::clone(&self), &patterns);
        let tenure = Arc::new(Mutex::new(Tenure::default()));
        let (lanes, queues) = PlainLanes::new(&self, &tenure);
        let intake = Arc::new(Intake {
            state: self,
            tenure,
            ping_now: Notify::new(),
            changed: Notify::new(),
            lease,
            is_cluster: matches!(endpoints.topology, Topology::Cluster),
            lanes: Arc::clone(&lanes),
            deaf: Incident::new().apart(APART),
        });
        let mut work = JoinSet::new();
        for queue in queues {
            work.spawn(Arc::clone(&lanes).publish(queue));
        }
        let channels = [intake.lease.marks.as_str()];
        tokio::join!(
            listen_to_patterns(&endpoints, &patterns, &channels, &*intake, &intake.ping_now),
            intake.keep_lease(),
            intake.keep_marking(),
            intake.lose_patience()
        );
    }
}

impl Intake {
    fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_lease(&self) {
        loop {
            let keeps = {
                let tenure = self.tenure();
                tenure.hears && !tenure.missed
            };
            let pause = if keeps { self.renew().await } else { self.resign().await };
            self.state.metrics.legacy.show_lease(self.tenure().holds(Instant::now()));
            tokio::select! {
                () = sleep(pause) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Asks for the lease. Returns when to ask again.
    async fn renew(&self) -> Duration {
        // Redis counts from a later moment than this.
        let now = Instant::now();
        let (eager, here) = {
            let tenure = self.tenure();
            (tenure.wants_lease(now, GRACE), tenure.node.here().cloned())
        };
        match self.lease.claim(eager, here.as_ref()).await {
            Ok(lease) if lease.is_ours => {
                self.tenure().node.holder_is_at(None);
                self.begin(now + LEASE, lease.count);
                LEASE / 4
            }
            Ok(LeaseView { lasts, is_older, count, at, .. }) => {
                let mut tenure = self.tenure();
                tenure.node.holder_is_at(at.filter(|_| self.is_cluster));
                if tenure.node.is_astray() {
                    tenure.ring.reset();
                }
                if lasts.is_zero() {
                    if tenure.seen_free(Instant::now(), count) {
                        self.ping_now.notify_one();
                    }
                    return SHORTEST * 5;
                }
                if tenure.seen_taken(is_older) {
                    tracing::warn!("another pod takes in the messages of legacy publishers now");
                }
                lasts + SHORTEST
            }
            Err(_) => AGAIN,
        }
    }

    /// The lease was given to this pod until then.
    fn begin(&self, until: Instant, count: u64) {
        let now = Instant::now();
        let mut tenure = self.tenure();
        if tenure.given(now, until, count) {
            self.ping_now.notify_one();
            // What comes from now on is queued behind these, because that takes the same lock.
            let left = tenure.ring.take_over();
            tracing::info!(left = left.len(), "this pod takes in the messages of legacy publishers");
            let too_old = self.queue_left(&mut tenure, left, now);
            self.lanes.give_up(too_old);
        }
    }

    /// Queues what may be in no log yet. Returns how many messages are too old: their names may be forgotten.
    fn queue_left(&self, tenure: &mut Tenure, left: Vec<HeardMessage>, now: Instant) -> u64 {
        let mut too_old = 0;
        for message in left {
            if message.place.name.is_none() || now.duration_since(message.heard) < NAME_IS_SURE {
                self.lanes.queue(tenure, message, true);
            } else {
                too_old += 1;
            }
        }
        too_old
    }

    /// Publishes marks while this pod holds the lease, and one when it joins, for ever.
    async fn keep_marking(&self) {
        let mut last = None::<Instant>;
        loop {
            sleep(MARK.0).await;
            let mark = {
                let (now, mut tenure) = (Instant::now(), self.tenure());
                if tenure.follows(now) {
                    self.state.follows_plain.store(true, Ordering::Relaxed);
                }
                let wants = tenure.ring.wants_mark() || last.is_none_or(|last| last.elapsed() >= MARK.1);
                let joins = tenure.first_mark_is_due(now);
                if !(tenure.holds(now) && wants || joins) {
                    continue;
                }
                tenure.node.awaits(now);
                tenure.next_mark(&self.state.pod.name, true)
            };
            last = Some(Instant::now());
            // One that fails is followed by another.
            if self.lease.mark(mark).await.is_err() {
                self.tenure().node.awaits_no_more();
            }
        }
    }

    async fn lose_patience(&self) {
        while !self.state.shards.connected().0 {
            sleep(AGAIN).await;
        }
        sleep(PATIENCE).await;
        self.state.follows_plain.store(true, Ordering::Relaxed);
    }

    /// Leaves the lease to a pod whose patterns stood all the time, and says so: such a pod takes it at once.
    async fn resign(&self) -> Duration {
        let mark = {
            let mut tenure = self.tenure();
            tenure.missed = false;
            tenure.give_up().then(|| tenure.next_mark(&self.state.pod.name, false))
        };
        if let Some(mark) = mark {
            self.lease.give_back(mark).await;
        }
        if self.tenure().hears { Duration::ZERO } else { AGAIN }
    }
}

impl PatternListener for Intake {
    fn node(&self) -> Option<Address> {
        let master = self.state.shards.address(Partition::FIRST);
        if self.is_cluster { self.tenure().node.choose(master, Instant::now()) } else { master }
    }

    fn is_deaf(&self) -> bool {
        self.tenure().node.is_deaf(Instant::now())
    }

    fn message(&self, pattern: &str, channel: &str, payload: &[u8]) {
        // On a server without sharded pub/sub the fleet's own messages match a `*` too.
        if self.state.names.is_own(channel) {
            return;
        }
        if let Some(Elsewhere { channels, sink }) = &self.state.settings.elsewhere
            && channels.iter().any(|own| own.as_str() == pattern)
            && self.tenure().surely_holds(Instant::now())
        {
            sink.take(payload);
        }
        let Some((legacy, captures)) = legacy::taker(&self.state.settings.legacy, pattern, channel) else { return };
        let counts = &self.state.metrics.legacy;
        let now = Instant::now();
        let mut tenure = self.tenure();
        tenure.node.awaits_no_more();
        let place = tenure.ring.place();
        let holds = if place.name.is_some() { tenure.holds(now) } else { tenure.surely_holds(now) };
        let mapped = legacy::map(legacy, channel, &captures, payload).and_then(|(room, publication)| {
            let policy = self.state.policy(&room);
            let is_archived = policy.archive != ArchiveMode::Off;
            if is_archived { Err(PlainMessageError::Archived) } else { Ok((policy, room, publication)) }
        });
        match mapped {
            Ok((policy, room, publication)) => {
                if !policy.keeps_events() {
                    drop(tenure);
                    return self.lanes.pass(&policy, &room, publication);
                }
                let cost = publication.cost() + PlainLanes::COST;
                let message = HeardMessage { place, room, publication, heard: now, cost, is_queued: holds };
                if message.place.name.is_some() || tenure.is_unclaimed() {
                    counts.failed.increment(tenure.ring.keep(message.clone()));
                }
                if holds {
                    self.lanes.queue(&mut tenure, message, false);
                } else {
                    counts.ignored.increment(1);
                }
            }
            // Only the lease's holder says so.
            Err(_) if !holds => counts.ignored.increment(1),
            Err(why) => {
                counts.unfit.increment(1);
                drop(tenure);
                self.lanes.tell(&why);
            }
        }
    }

    fn direct(&self, payload: &[u8]) {
        if let Some(mark) = std::str::from_utf8(payload).ok().and_then(StreamMark::parse) {
            let mut tenure = self.tenure();
            tenure.node.awaits_no_more();
            tenure.ring.mark(&mark);
            drop(tenure);
            if !mark.held {
                // The lease is free, or will be in a moment.
                self.changed.notify_one();
            }
        }
    }

    fn confirmed(&self, node: &Address) {
        if let Some(over) = self.deaf.succeeds(Instant::now()) {
            let (seconds, failures) = (over.seconds(), over.failures);
            tracing::info!(%node, seconds, failures, "messages of legacy publishers are heard again");
        }
        let mut tenure = self.tenure();
        tenure.hears = true;
        tenure.node.stands(node);
        drop(tenure);
        self.changed.notify_one();
    }

    fn lost(&self, node: &Address, error: &NodeError) {
        let (master, now) = (self.state.shards.address(Partition::FIRST), Instant::now());
        let mut tenure = self.tenure();
        let is_astray = tenure.node.is_astray();
        tenure.node.lost(node, master.as_ref(), now);
        let left = tenure.lost();
        if !is_astray {
            // What is too old was published long ago, by this pod or by another.
            self.queue_left(&mut tenure, left, now);
        }
        drop(tenure);
        self.changed.notify_one();
        if is_astray {
            return tracing::info!(%node, "messages of legacy publishers are heard at the node of their holder from now on");
        }
        if self.deaf.fails_for(&error.to_string(), now) {
            tracing::warn!(%node, %error, "messages of legacy publishers are not heard");
        }
    }

    fn ping(&self) -> u64 {
        self.tenure().ping()
    }

    fn pong(&self, ping: u64) {
        self.tenure().pong(ping);
    }
}
