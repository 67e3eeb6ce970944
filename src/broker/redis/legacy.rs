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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fred::types::Value;
use roomcast_redis_subscriber::{Address, Endpoints, NodeError, PatternListener, listen_to_patterns};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    arguments::millis,
    partition::Partition,
    plain_lanes::PlainLanes,
    plain_ring::StreamMark,
    reply::{ReplyError, ReplyFields},
    script,
    settings::Elsewhere,
    state::RedisState,
    tenure::Tenure,
};
use crate::broker::{BrokerError, legacy};

/// How long the lease lasts. Its holder renews it in time, and another pod takes it within a moment after it has run out.
const LEASE: Duration = Duration::from_secs(1);

/// The time between two marks: while messages come, and while none do.
const MARK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A pod that may not have heard all that is not in a log yet leaves a free lease to others for so long.
const GRACE: Duration = Duration::from_millis(500);

/// The time before the lease is asked for again after an error.
const AGAIN: Duration = Duration::from_millis(250);

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
    /// The channel of marks.
    marks: String,
    /// The key of the lease.
    lease: String,
    lanes: Arc<PlainLanes>,
    /// Why the patterns do not stand, as the log has it already.
    deaf: Mutex<Option<NodeError>>,
}

impl RedisState {
    /// Takes in what the configuration describes, for ever.
    pub(super) async fn take_in_legacy(self: Arc<Self>, endpoints: Endpoints) {
        let heard: Vec<crate::config::ChannelPattern> = self.settings.heard().cloned().collect();
        if heard.is_empty() {
            return;
        }
        let mut patterns: Vec<&str> = heard.iter().map(crate::config::ChannelPattern::as_str).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let (marks, lease) = (self.names.marks(&patterns), self.names.legacy(&patterns));
        let tenure = Arc::new(Mutex::new(Tenure::default()));
        let (lanes, queues) = PlainLanes::new(&self, &tenure);
        let intake = Arc::new(Intake {
            state: self,
            tenure,
            ping_now: Notify::new(),
            changed: Notify::new(),
            marks: marks.clone(),
            lease,
            lanes: Arc::clone(&lanes),
            deaf: Mutex::default(),
        });
        let mut work = JoinSet::new();
        for queue in queues {
            work.spawn(Arc::clone(&lanes).publish(queue));
        }
        let channels = [marks.as_str()];
        tokio::join!(
            listen_to_patterns(&endpoints, &patterns, &channels, &*intake, &intake.ping_now),
            intake.keep_lease(),
            intake.keep_marking()
        );
    }

    /// Asks for the lease, or gives it back. Returns whether this pod holds it, and how long its holder still does. `eager`: it is
    /// taken if it is free.
    async fn claim_legacy(&self, lease: &str, lasts: Duration, eager: bool) -> Result<(bool, Duration), BrokerError> {
        let args = [Value::from(self.pod.name.as_str()), millis(lasts), Value::from(i64::from(eager))];
        let frame = self
            .shards
            .call(Partition::FIRST, &script::CLAIM, [lease.to_owned(), self.names.old_legacy()], args)
            .await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            Ok::<_, ReplyError>((fields.number()? == 1, Duration::from_millis(fields.number()?)))
        };
        read().map_err(|error| self.unexpected(&error))
    }

    async fn mark_legacy(&self, channel: &str, mark: String) -> Result<(), BrokerError> {
        self.shards.call(Partition::FIRST, &script::MARK, [channel.to_owned()], [Value::from(mark)]).await.map(drop)
    }

    /// Gives the lease back at the end and says so, so that another pod need not wait for it to run out.
    pub(super) async fn release_legacy(&self) {
        let heard: Vec<&str> = self.settings.heard().map(crate::config::ChannelPattern::as_str).collect();
        if heard.is_empty() || !self.metrics.legacy.holds() {
            return;
        }
        self.metrics.legacy.show_lease(false);
        let name = format!("{}.end", self.pod.name);
        let mark = StreamMark { name: &name, settled: "", held: false }.text();
        let give_back = async {
            let _ = self.claim_legacy(&self.names.legacy(&heard), Duration::ZERO, false).await;
            let _ = self.mark_legacy(&self.names.marks(&heard), mark).await;
        };
        let _ = timeout(AGAIN, give_back).await;
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
        let eager = {
            let tenure = self.tenure();
            let is_left_over = tenure.free.is_some_and(|since| now.duration_since(since) >= GRACE);
            tenure.ring.covers() || is_left_over || tenure.holds(now)
        };
        match self.state.claim_legacy(&self.lease, LEASE, eager).await {
            Ok((true, _)) => {
                self.begin(now);
                LEASE / 4
            }
            Ok((false, left)) => {
                let mut tenure = self.tenure();
                if tenure.until.take().is_some() {
                    tracing::warn!("another pod takes in the messages of legacy publishers now");
                }
                if left.is_zero() {
                    tenure.free.get_or_insert(now);
                    return SHORTEST * 5;
                }
                tenure.free = None;
                left + SHORTEST
            }
            Err(_) => AGAIN,
        }
    }

    /// The lease was given to this pod at `now` or later.
    fn begin(&self, now: Instant) {
        let mut tenure = self.tenure();
        // A tenure that ran out while the answer was on its way has left messages unqueued.
        let begins = tenure.until.is_none_or(|until| until <= Instant::now());
        tenure.until = Some(now + LEASE);
        tenure.free = None;
        if begins {
            tenure.number += 1;
            self.ping_now.notify_one();
            // What comes from now on is queued behind these, because that takes the same lock.
            let left = tenure.ring.take_over();
            tracing::info!(left = left.len(), "this pod takes in the messages of legacy publishers");
            for heard in left {
                self.lanes.queue(&mut tenure.ring, heard.place, heard.room, heard.publication);
            }
        }
    }

    /// Publishes marks while this pod holds the lease, for ever.
    async fn keep_marking(&self) {
        let mut last = None::<Instant>;
        loop {
            sleep(MARK.0).await;
            let mark = {
                let mut tenure = self.tenure();
                let is_due = tenure.ring.wants_mark() || last.is_none_or(|last| last.elapsed() >= MARK.1);
                if !(tenure.holds(Instant::now()) && is_due) {
                    continue;
                }
                tenure.next_mark(&self.state.pod.name, true)
            };
            last = Some(Instant::now());
            // One that fails is followed by another.
            let _ = self.state.mark_legacy(&self.marks, mark).await;
        }
    }

    /// Leaves the lease to a pod whose patterns stood all the time, and says so: such a pod takes it at once.
    async fn resign(&self) -> Duration {
        let mark = {
            let mut tenure = self.tenure();
            tenure.missed = false;
            tenure.until.take().map(|_| tenure.next_mark(&self.state.pod.name, false))
        };
        if let Some(mark) = mark {
            let _ = self.state.claim_legacy(&self.lease, Duration::ZERO, false).await;
            let _ = self.state.mark_legacy(&self.marks, mark).await;
        }
        if self.tenure().hears { Duration::ZERO } else { AGAIN }
    }
}

impl PatternListener for Intake {
    fn node(&self) -> Option<Address> {
        self.state.shards.address(Partition::FIRST)
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
        let place = tenure.ring.place();
        let holds = if place.name.is_some() { tenure.holds(now) } else { tenure.surely_holds(now) };
        match legacy::map(legacy, channel, &captures, payload) {
            Ok((room, publication)) => {
                let policy = self.state.policy(&room);
                if !policy.keeps_events() {
                    drop(tenure);
                    return self.lanes.pass(&policy, &room, publication);
                }
                let cost = publication.cost() + PlainLanes::COST;
                let lost = tenure.ring.keep(place.clone(), room.clone(), publication.clone(), cost);
                counts.failed.increment(lost);
                if holds {
                    self.lanes.queue(&mut tenure.ring, place, room, publication);
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
            self.tenure().ring.mark(&mark);
            if !mark.held {
                // The lease is free, or will be in a moment.
                self.changed.notify_one();
            }
        }
    }

    fn confirmed(&self) {
        *self.deaf.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tenure().hears = true;
        self.changed.notify_one();
    }

    fn lost(&self, node: &Address, error: &NodeError) {
        {
            let mut tenure = self.tenure();
            tenure.hears = false;
            tenure.missed = true;
            tenure.ring.reset();
        }
        self.changed.notify_one();
        // Once for each reason: it may last for hours.
        let mut deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
        if deaf.as_ref() != Some(error) {
            tracing::warn!(%node, %error, "messages of legacy publishers are not heard");
            *deaf = Some(error.clone());
        }
    }

    fn ping(&self) -> u64 {
        self.tenure().number
    }

    fn pong(&self, ping: u64) {
        self.tenure().echoed = ping;
    }
}
