//! Plain messages of other publishers become events: every pod hears them, the holder of a lease publishes them, and all pods
//! deliver the events. A room that keeps nothing has no log to agree on: each pod delivers its messages at once and without a
//! position. The lease's holder also gives messages of some channels to a
//! [`PlainMessageSink`](crate::broker::PlainMessageSink).
//!
//! Always holds: at most one pod publishes a message while Redis keeps the lease. A holder's own clock ends its tenure before
//! Redis does, and a new holder takes only messages that the server had after the lease was its own: its connection first answers
//! a ping that was sent then. A message between two tenures is lost, as `PUBLISH` has it. Messages of a room, or of rooms that
//! share a log, keep their order. Messages are never compared by their content.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fred::types::Value;
use roomcast_redis_subscriber::{Address, Endpoints, NodeError, PatternListener, listen_to_patterns};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    arguments::millis,
    partition::Partition,
    reply::{ReplyError, ReplyFields},
    script,
    settings::Elsewhere,
    state::RedisState,
};
use crate::{
    broker::{BrokerError, legacy},
    model::{Policy, Publication, Room},
};

/// How many rooms are published to at once.
const LANES: usize = 32;

/// The most bytes that wait to be published. A message beyond them is lost and counted as failed.
const WAITING: usize = 64 << 20;

/// What a message costs beside its bytes.
const COST: usize = 256;

/// The time before the lease is asked for again after an error.
const AGAIN: Duration = Duration::from_millis(500);

/// The least time between two requests for the lease.
const SHORTEST: Duration = Duration::from_millis(10);

/// The time between two lines of the log about messages that were not taken in.
const A_LINE: Duration = Duration::from_secs(10);

/// What is known of the lease.
#[derive(Debug, Default)]
struct Tenure {
    /// The patterns stand.
    hears: bool,
    /// Which tenure of this pod it is, counted from 1.
    number: u64,
    /// The newest tenure whose ping was answered.
    echoed: u64,
    /// When the lease of this pod ends; `None`: it has none.
    until: Option<Instant>,
}

impl Tenure {
    fn holds(&self, now: Instant) -> bool {
        self.hears && self.echoed == self.number && self.until.is_some_and(|until| now < until)
    }
}

struct Job {
    room: Room,
    publication: Publication,
    _held: OwnedSemaphorePermit,
}

/// What the log does not say yet.
#[derive(Debug, Default)]
struct Untold {
    messages: u64,
    last: Option<Instant>,
}

/// Takes messages in.
struct Intake {
    state: Arc<RedisState>,
    tenure: Mutex<Tenure>,
    /// A tenure began: its ping is due.
    ping_now: Notify,
    /// The patterns stand, or not any more.
    changed: Notify,
    /// One queue a lane, bounded together by [`WAITING`].
    lanes: Vec<mpsc::UnboundedSender<Job>>,
    waiting: Arc<Semaphore>,
    untold: Mutex<Untold>,
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
        let (lanes, queues): (Vec<_>, Vec<_>) = (0..LANES).map(|_| mpsc::unbounded_channel()).unzip();
        let intake = Arc::new(Intake {
            state: self,
            tenure: Mutex::default(),
            ping_now: Notify::new(),
            changed: Notify::new(),
            lanes,
            waiting: Arc::new(Semaphore::new(WAITING)),
            untold: Mutex::default(),
            deaf: Mutex::default(),
        });
        let mut work = JoinSet::new();
        for queue in queues {
            work.spawn(Arc::clone(&intake).publish(queue));
        }
        tokio::join!(listen_to_patterns(&endpoints, &patterns, &*intake, &intake.ping_now), intake.keep_lease());
    }

    /// Asks for the lease, or gives it back. Returns whether this pod holds it, and how long its holder still does.
    async fn claim_legacy(&self, lasts: Duration) -> Result<(bool, Duration), BrokerError> {
        let args = [Value::from(self.pod.name.as_str()), millis(lasts)];
        let frame = self.shards.call(Partition::FIRST, &script::CLAIM, [self.names.legacy()], args).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            Ok::<_, ReplyError>((fields.number()? == 1, Duration::from_millis(fields.number()?)))
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// Gives the lease back at the end, so that another pod need not wait for it to run out.
    pub(super) async fn release_legacy(&self) {
        if self.settings.heard().next().is_some() {
            let _ = timeout(AGAIN, self.claim_legacy(Duration::ZERO)).await;
        }
    }
}

impl Intake {
    fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_lease(&self) {
        let lease = self.state.settings.lease;
        loop {
            let pause = if self.tenure().hears { self.renew(lease).await } else { self.resign().await };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Asks for the lease. Returns when to ask again.
    async fn renew(&self, lease: Duration) -> Duration {
        // Redis counts from a later moment than this.
        let now = Instant::now();
        match self.state.claim_legacy(lease).await {
            Ok((true, _)) => {
                let mut tenure = self.tenure();
                if tenure.until.is_none_or(|until| until <= now) {
                    tenure.number += 1;
                    self.ping_now.notify_one();
                    tracing::info!("this pod takes in the messages of legacy publishers");
                }
                tenure.until = Some(now + lease);
                lease / 4
            }
            Ok((false, left)) => {
                if self.tenure().until.take().is_some() {
                    tracing::warn!("another pod takes in the messages of legacy publishers now");
                }
                (left + SHORTEST).min(lease / 4)
            }
            Err(_) => AGAIN,
        }
    }

    /// Leaves the lease to a pod whose patterns stand.
    async fn resign(&self) -> Duration {
        if self.tenure().until.take().is_some() {
            let _ = self.state.claim_legacy(Duration::ZERO).await;
        }
        AGAIN
    }

    /// Publishes the messages of a queue, one after another.
    async fn publish(self: Arc<Self>, mut queue: mpsc::UnboundedReceiver<Job>) {
        let counts = &self.state.metrics.legacy;
        while let Some(Job { room, publication, _held }) = queue.recv().await {
            match self.state.publish(&room, publication).await {
                Ok(_) => counts.published.increment(1),
                Err(error @ (BrokerError::TooLarge { .. } | BrokerError::UnknownTopic)) => {
                    counts.unfit.increment(1);
                    self.tell(&error);
                }
                Err(error) => {
                    counts.failed.increment(1);
                    self.tell(&error);
                }
            }
        }
    }

    /// Says now and then why messages are not taken in, and nothing of their content.
    fn tell(&self, why: &dyn std::fmt::Display) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.messages += 1;
        if untold.last.is_none_or(|last| last.elapsed() >= A_LINE) {
            tracing::warn!(messages = untold.messages, last = %why, "messages of legacy publishers were not taken in");
            *untold = Untold { messages: 0, last: Some(Instant::now()) };
        }
    }

    /// Delivers an event to this pod's members of a room without a log.
    fn pass(&self, policy: &Policy, room: &Room, publication: Publication) {
        let counts = &self.state.metrics.legacy;
        if let Err(error) = BrokerError::check_topic(policy, &publication.topic) {
            counts.unfit.increment(1);
            self.tell(&error);
            return;
        }
        counts.passed.increment(1);
        self.state.rooms.unlogged(room, publication);
    }

    /// Gives an event to its room's lane.
    fn queue(&self, room: Room, publication: Publication) {
        let cost = u32::try_from(publication.cost() + COST).unwrap_or(u32::MAX);
        // What shares a log keeps its order there.
        let policy = self.state.policy(&room);
        let lane = self.lanes.get(Partition::of(policy.log_of(&room).unwrap_or(&room)).index() % LANES);
        let held = Arc::clone(&self.waiting).try_acquire_many_owned(cost).ok();
        let queued = lane.zip(held).is_some_and(|(lane, _held)| lane.send(Job { room, publication, _held }).is_ok());
        if !queued {
            self.state.metrics.legacy.failed.increment(1);
            self.tell(&"too much waits to be published");
        }
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
            && self.tenure().holds(Instant::now())
        {
            sink.take(payload);
        }
        let Some((legacy, captures)) = legacy::taker(&self.state.settings.legacy, pattern, channel) else { return };
        let counts = &self.state.metrics.legacy;
        let holds = self.tenure().holds(Instant::now());
        match legacy::map(legacy, channel, &captures, payload) {
            Ok((room, publication)) => {
                let policy = self.state.policy(&room);
                if !policy.keeps_events() {
                    self.pass(&policy, &room, publication);
                } else if holds {
                    self.queue(room, publication);
                } else {
                    counts.ignored.increment(1);
                }
            }
            // Only the lease's holder says so.
            Err(_) if !holds => counts.ignored.increment(1),
            Err(why) => {
                counts.unfit.increment(1);
                self.tell(&why);
            }
        }
    }

    fn confirmed(&self) {
        *self.deaf.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tenure().hears = true;
        self.changed.notify_one();
    }

    fn lost(&self, node: &Address, error: &NodeError) {
        self.tenure().hears = false;
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
