//! The lanes in which plain messages wait to be published: those of a partition in their order, many partitions at once.
//!
//! Never hears a message and never asks for the lease. Always holds: messages of a room, or of rooms that share a log, keep their order;
//! what Redis does not take is tried again for as long as its name tells whether it was taken; what waits is bounded, and a message
//! beyond that is counted and told; each message that was taken in is told to the ring when it is dealt with.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};

use super::{
    batch,
    partition::Partition,
    plain_ring::{HeardMessage, StreamPlace},
    state::RedisState,
    tenure::{Claim, Fate, NAME_IS_SURE, Tenure},
};
use crate::{
    broker::BrokerError,
    model::{Policy, Position, Publication, Room},
};

/// How many rooms are published to at once.
const LANES: usize = 32;

/// The most bytes that wait to be published. A message beyond them is lost and counted as failed.
const WAITING: usize = 64 << 20;

/// How long a name of a message is known where it was published: longer than a pod may stand still and wake up.
const NAME_AGE: Duration = Duration::from_secs(60);

/// The shortest and the longest time between two attempts at a message.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// The time between two lines of the log about messages that were not taken in.
const A_LINE: Duration = Duration::from_secs(10);

/// A message that waits to be published.
pub(super) struct PlainJob {
    place: StreamPlace,
    claim: Claim,
    /// Of the log that it enters.
    partition: Partition,
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

/// All of them.
pub(super) struct PlainLanes {
    state: Arc<RedisState>,
    tenure: Arc<Mutex<Tenure>>,
    /// One queue a lane, bounded together by [`WAITING`].
    lanes: Vec<mpsc::UnboundedSender<PlainJob>>,
    waiting: Arc<Semaphore>,
    untold: Mutex<Untold>,
}

impl PlainLanes {
    /// What a message costs beside its bytes.
    pub(super) const COST: usize = 256;

    /// The lanes, and the queue of each, to be published.
    pub(super) fn new(
        state: &Arc<RedisState>,
        tenure: &Arc<Mutex<Tenure>>,
    ) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<PlainJob>>) {
        let (lanes, queues) = (0..LANES).map(|_| mpsc::unbounded_channel()).unzip();
        let lanes = Self {
            state: Arc::clone(state),
            tenure: Arc::clone(tenure),
            lanes,
            waiting: Arc::new(Semaphore::new(WAITING)),
            untold: Mutex::default(),
        };
        (Arc::new(lanes), queues)
    }

    fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the messages of a queue: those of one partition in their order, and as many in one call as wait for it.
    pub(super) async fn publish(self: Arc<Self>, mut queue: mpsc::UnboundedReceiver<PlainJob>) {
        let mut jobs = Vec::new();
        while queue.recv_many(&mut jobs, batch::EVENTS).await > 0 {
            while let Some(partition) = jobs.first().map(|job| job.partition) {
                let (of_partition, others): (Vec<_>, _) = jobs.into_iter().partition(|job| job.partition == partition);
                jobs = others;
                self.deal_with(partition, of_partition.into()).await;
            }
        }
    }

    /// Publishes messages, or finds that another pod does. What Redis does not take now waits here, and what follows behind it.
    async fn deal_with(&self, partition: Partition, mut jobs: VecDeque<PlainJob>) {
        let mut pause = PAUSE.0;
        while !jobs.is_empty() {
            let run = self.next_run(&mut jobs);
            if run > 0 {
                let answers = match jobs.front().filter(|_| run == 1) {
                    Some(job) => vec![self.publish_one(job).await],
                    None => self.publish_run(partition, jobs.iter().take(run)).await,
                };
                let behind = jobs.split_off(run);
                let tried = std::mem::replace(&mut jobs, behind);
                let again: Vec<_> =
                    tried.into_iter().zip(answers).filter_map(|(job, answer)| self.judge(job, answer)).collect();
                if again.is_empty() {
                    pause = PAUSE.0;
                    continue;
                }
                again.into_iter().rev().for_each(|job| jobs.push_front(job));
            }
            if !jobs.is_empty() {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// Takes from the front what is not this pod's to publish. Returns how many of the next are, and go in one call; 0: those have to wait.
    fn next_run(&self, jobs: &mut VecDeque<PlainJob>) -> usize {
        let now = Instant::now();
        loop {
            let Some(job) = jobs.front() else { return 0 };
            let mut tenure = self.tenure();
            match tenure.fate(&job.place, job.claim, now) {
                Fate::Wait => return 0,
                Fate::Publish => break,
                Fate::Leave => {
                    tenure.ring.leave(job.place.number);
                    drop(tenure);
                    self.state.metrics.legacy.ignored.increment(1);
                }
                Fate::GiveUp => {
                    drop(tenure);
                    self.give_up(1);
                }
            }
            self.end(jobs.pop_front());
        }
        let (tenure, mut bytes) = (self.tenure(), 0);
        let fits = |job: &&PlainJob| {
            bytes += job.publication.cost() + Self::COST;
            bytes <= batch::BYTES
                && job.place.name.is_some()
                && tenure.fate(&job.place, job.claim, now) == Fate::Publish
        };
        jobs.iter().take(batch::EVENTS).take_while(fits).count().max(1)
    }

    /// A message goes in a call with what else waits for its server.
    async fn publish_one(&self, job: &PlainJob) -> Result<Position, BrokerError> {
        let PlainJob { place, room, publication, .. } = job;
        self.state.publish_as(room, publication, place.name.as_deref().map(|name| (name, NAME_AGE))).await
    }

    async fn publish_run(
        &self,
        partition: Partition,
        run: impl Iterator<Item = &PlainJob>,
    ) -> Vec<Result<Position, BrokerError>> {
        let run: Vec<_> =
            run.filter_map(|job| Some((&job.room, &job.publication, job.place.name.as_deref()?))).collect();
        self.state.publish_run(partition, &run, NAME_AGE).await
    }

    /// Counts what became of a message. Returns one that is to be tried again.
    fn judge(&self, job: PlainJob, answer: Result<Position, BrokerError>) -> Option<PlainJob> {
        let counts = &self.state.metrics.legacy;
        match answer {
            // A message with the id of an earlier one is no second event, whatever is in it.
            Ok(_) | Err(BrokerError::Conflict) => counts.published.increment(1),
            Err(error @ (BrokerError::TooLarge { .. } | BrokerError::UnknownTopic)) => {
                counts.unfit.increment(1);
                self.tell(&error);
            }
            Err(error @ (BrokerError::Unavailable(_) | BrokerError::NoToken(_) | BrokerError::Unknown)) => {
                // Without a name nothing tells a second time from a second message.
                let is_over = job.place.name.is_none() && error == BrokerError::Unknown;
                if !is_over && job.claim.heard.elapsed() < NAME_IS_SURE {
                    return Some(job);
                }
                counts.failed.increment(1);
                self.tell(&error);
            }
        }
        self.end(Some(job));
        None
    }

    /// A message was dealt with.
    fn end(&self, job: Option<PlainJob>) {
        if let Some(job) = job {
            self.tenure().ring.ended(job.place.period);
        }
    }

    /// Another pod may have published these messages, so long ago that nothing knows any more.
    pub(super) fn give_up(&self, messages: u64) {
        if messages > 0 {
            self.state.metrics.legacy.failed.increment(messages);
            self.tell(&"they waited so long that another pod may have published them");
        }
    }

    /// Says now and then why messages are not taken in, and nothing of their content.
    pub(super) fn tell(&self, why: &dyn std::fmt::Display) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.messages += 1;
        if untold.last.is_none_or(|last| last.elapsed() >= A_LINE) {
            tracing::warn!(messages = untold.messages, last = %why, "messages of legacy publishers were not taken in");
            *untold = Untold { messages: 0, last: Some(Instant::now()) };
        }
    }

    /// Delivers an event to this pod's members of a room without a log.
    pub(super) fn pass(&self, policy: &Policy, room: &Room, publication: Publication) {
        let counts = &self.state.metrics.legacy;
        if let Err(error) = BrokerError::check_topic(policy, &publication.topic) {
            counts.unfit.increment(1);
            self.tell(&error);
            return;
        }
        counts.passed.increment(1);
        self.state.rooms.unlogged(room, publication);
    }

    /// Gives an event to its room's lane. `is_taken_over`: it was heard before this tenure.
    pub(super) fn queue(&self, tenure: &mut Tenure, message: HeardMessage, is_taken_over: bool) {
        let HeardMessage { place, room, publication, heard, .. } = message;
        let (period, claim) = (place.period, Claim { heard, tenure: tenure.number(), is_taken_over });
        let cost = u32::try_from(publication.cost() + Self::COST).unwrap_or(u32::MAX);
        // What shares a log keeps its order there.
        let policy = self.state.policy(&room);
        let partition = Partition::of(policy.log_of(&room).unwrap_or(&room));
        let lane = self.lanes.get(partition.index() % LANES);
        let held = Arc::clone(&self.waiting).try_acquire_many_owned(cost).ok();
        let queued = lane.zip(held).is_some_and(|(lane, _held)| {
            lane.send(PlainJob { place, claim, partition, room, publication, _held }).is_ok()
        });
        if queued {
            tenure.ring.begun(period);
        } else {
            self.state.metrics.legacy.failed.increment(1);
            self.tell(&"too much waits to be published");
        }
    }
}
