//! Publishes, gathered: what waits for one master goes out in as few calls as possible, and what such a call leaves open is asked
//! for alone.
//!
//! Always holds: an event that may be in its log is published again only by a call that looks for it there first; one that enters no
//! log is never sent again after a call of which nothing is known; each publish is answered within its time-out.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use fred::interfaces::Resp3Frame;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout_at},
};

use super::{
    append::{AppendAnswer, AppendedEvent, answers, arguments, is_elsewhere},
    batch::Ticket,
    node::{AttemptError, Lane, Node, judge},
    partition::Partition,
    publish_queue::{FirstTry, PublishQueue, QueuedEvent},
    script,
    shards::{PAUSE, Shards},
};
use crate::{broker::BrokerError, metrics::CommandResult};

/// 12 random hexadecimal digits, should a room's record have to be made.
///
/// # Errors
/// [`BrokerError::Unavailable`]: there is no randomness.
pub(super) fn base() -> Result<String, BrokerError> {
    let chance = getrandom::u64().map_err(|error| BrokerError::Unavailable(format!("no randomness: {error}")))?;
    Ok(format!("{:012x}", chance >> 16))
}

impl Shards {
    /// Publishes an event to a room of this partition. Returns its position, if it is in a log, as text.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`]: it may have been published. [`BrokerError::Unavailable`]: it was not.
    pub(super) async fn publish(
        self: &Arc<Self>,
        partition: Partition,
        lane: Lane,
        event: AppendedEvent,
    ) -> Result<(Option<String>, Option<String>), BrokerError> {
        let began = Instant::now();
        let result = self.publish_until(partition, lane, Arc::new(event), began).await;
        let outcome = match &result {
            Ok(_) => CommandResult::Ok,
            // Redis did its part.
            Err(BrokerError::Conflict) => CommandResult::Ok,
            Err(BrokerError::Unknown) => CommandResult::Timeout,
            Err(_) => CommandResult::Error,
        };
        self.metrics.count(script::PUBLISH.name, began.elapsed(), outcome);
        result
    }

    async fn publish_until(
        self: &Arc<Self>,
        partition: Partition,
        lane: Lane,
        event: Arc<AppendedEvent>,
        began: Instant,
    ) -> Result<(Option<String>, Option<String>), BrokerError> {
        let deadline = began + self.dial.timeouts.command;
        let Some(node) = self.owner(partition.into()) else {
            return Err(BrokerError::Unavailable("which server has this room is not known yet".to_owned()));
        };
        let lost = match self.with_others(&node, lane, &event, deadline).await? {
            FirstTry::Answered(AppendAnswer::Done { position, refused }) => return Ok((position, refused)),
            FirstTry::Answered(AppendAnswer::Unknown) => return Err(BrokerError::Unknown),
            FirstTry::Answered(AppendAnswer::Conflict) => return Err(BrokerError::Conflict),
            FirstTry::Answered(AppendAnswer::Refused(error)) if is_worth_another_try(&error) => {
                // The layout may be another one by now.
                self.stale.notify_one();
                false
            }
            FirstTry::Answered(AppendAnswer::Refused(error)) => {
                return Err(BrokerError::Unavailable(self.refused(&node, &script::PUBLISH, error)));
            }
            FirstTry::Refused(error) => return Err(BrokerError::Unavailable(error)),
            FirstTry::Again { lost } => lost,
        };
        self.alone(partition, lane, &event, began, lost).await
    }

    /// Tries an event once, in a call with what else waits for this master.
    async fn with_others(
        self: &Arc<Self>,
        node: &Arc<Node>,
        lane: Lane,
        event: &Arc<AppendedEvent>,
        deadline: Instant,
    ) -> Result<FirstTry, BrokerError> {
        let (answer, answered) = oneshot::channel();
        let queue = node.publishes(lane);
        let pushed = queue.lock().push(QueuedEvent { event: Arc::clone(event), answer }, event.bytes());
        let (ticket, begins) = pushed.map_err(|full| BrokerError::Unavailable(full.to_string()))?;
        if begins {
            self.dial.runtime.spawn(Arc::clone(self).call_for_all(Arc::clone(node), lane));
        }
        match timeout_at(deadline.into(), answered).await {
            Ok(Ok(first)) => Ok(first),
            // The call was given up with its runtime.
            Ok(Err(_)) => Err(BrokerError::Unknown),
            Err(_) => Err(self.too_late(node, queue, ticket)),
        }
    }

    fn too_late(&self, node: &Node, queue: &PublishQueue, ticket: Ticket) -> BrokerError {
        if !queue.lock().withdraw(ticket) {
            return BrokerError::Unknown;
        }
        let why = "the publishes before it took too long".to_owned();
        BrokerError::Unavailable(match self.outages.error_of(&node.address.to_string()) {
            Some(error) => format!("{why}: {error}"),
            None => why,
        })
    }

    /// Sends what waits for a master, call after call, until nothing waits.
    async fn call_for_all(self: Arc<Self>, node: Arc<Node>, lane: Lane) {
        loop {
            let mut events = node.publishes(lane).lock().take();
            if events.is_empty() {
                return;
            }
            // A publisher that is gone has had its answer: that it was not published.
            events.retain(|queued| !queued.answer.is_closed());
            if !events.is_empty() {
                self.call_for(&node, lane, events).await;
            }
        }
    }

    async fn call_for(&self, node: &Node, lane: Lane, events: Vec<QueuedEvent>) {
        let all = |became: &dyn Fn() -> FirstTry, events: Vec<QueuedEvent>| {
            for queued in events {
                let _ = queued.answer.send(became());
            }
        };
        let base = match base() {
            Ok(base) => base,
            Err(error) => return all(&|| FirstTry::Refused(error.to_string()), events),
        };
        let words = arguments(base, self.publish_command(), events.iter().map(|queued| (&*queued.event, None)));
        let command = script::command(&script::PUBLISH, Vec::new(), words);
        let deadline = Instant::now() + self.dial.timeouts.attempt;
        match node.attempt(&script::PUBLISH, command, lane, deadline).await {
            Ok(frame) => {
                self.outages.carried_out(|| node.address.to_string(), script::PUBLISH.name, true);
                let Ok(answers) = answers(frame, events.len()) else {
                    self.metrics.unreadable.increment(1);
                    return all(&|| FirstTry::Answered(AppendAnswer::Unknown), events);
                };
                for (queued, answer) in events.into_iter().zip(answers) {
                    let _ = queued.answer.send(FirstTry::Answered(answer));
                }
            }
            Err(AttemptError::Refused(why)) => {
                let why = self.refused(node, &script::PUBLISH, why);
                all(&|| FirstTry::Refused(why.clone()), events);
            }
            Err(AttemptError::NotNow(why) | AttemptError::Stale(why)) => {
                self.refused(node, &script::PUBLISH, why);
                all(&|| FirstTry::Again { lost: false }, events);
            }
            Err(AttemptError::Moved(_)) => all(&|| FirstTry::Again { lost: false }, events),
            Err(AttemptError::Lost(_)) => all(&|| FirstTry::Again { lost: true }, events),
        }
    }

    /// Publishes an event in calls of its own, which name its slot, so that Redis says where it is.
    async fn alone(
        &self,
        partition: Partition,
        lane: Lane,
        event: &AppendedEvent,
        began: Instant,
        mut lost: bool,
    ) -> Result<(Option<String>, Option<String>), BrokerError> {
        let deadline = began + self.dial.timeouts.command;
        let base = base()?;
        let command = |lost: bool| {
            if lost && !event.can_be_found_again() {
                return None;
            }
            let tried = lost.then(|| began.elapsed());
            let words = arguments(base.clone(), self.publish_command(), std::iter::once((event, tried)));
            Some(script::command(&script::PUBLISH, vec![event.record()], words))
        };
        let mut pause = PAUSE.0;
        loop {
            let answer = self.insist(partition.into(), &script::PUBLISH, &command, lane, deadline, &mut lost).await?;
            let error = match only(answer) {
                Some(AppendAnswer::Done { position, refused }) => return Ok((position, refused)),
                Some(AppendAnswer::Refused(error)) => error,
                Some(AppendAnswer::Unknown) => return Err(BrokerError::Unknown),
                Some(AppendAnswer::Conflict) => return Err(BrokerError::Conflict),
                None => {
                    self.metrics.unreadable.increment(1);
                    return Err(BrokerError::Unknown);
                }
            };
            let again = is_worth_another_try(&error);
            let error = match self.owner(partition.into()) {
                Some(node) => self.refused(&node, &script::PUBLISH, error),
                None => error,
            };
            if !again || Instant::now() + pause >= deadline {
                return Err(if lost { BrokerError::Unknown } else { BrokerError::Unavailable(error) });
            }
            self.stale.notify_one();
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// The command that tells pods.
    pub(super) fn publish_command(&self) -> &'static str {
        if self.plain.load(Ordering::Relaxed) { "PUBLISH" } else { "SPUBLISH" }
    }
}

fn only(frame: Resp3Frame) -> Option<AppendAnswer> {
    answers(frame, 1).ok()?.pop()
}

/// Whether an event that Redis refused may be taken in a moment, perhaps by another server.
fn is_worth_another_try(error: &str) -> bool {
    is_elsewhere(error) || !matches!(judge(error.to_owned(), ""), AttemptError::Refused(_))
}
