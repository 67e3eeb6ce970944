//! Publishes, gathered: what waits for one master goes out in as few calls as possible, and what such a call leaves open is asked
//! for alone.
//!
//! Always holds: an event that may be in its log is published again only by a call that looks for it there first; one that enters no
//! log is never sent again after a call of which nothing is known; each publish is answered within its time-out.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

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

/// The position of an event that was published, as text, if it is in a log; and what Redis refused of it beside.
pub(super) type Published = (Option<String>, Option<String>);

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
    ) -> Result<Published, BrokerError> {
        let began = Instant::now();
        let result = self.publish_until(partition, lane, Arc::new(event), began).await;
        self.metrics.count(script::PUBLISH.name, began.elapsed(), outcome_of(&result));
        result
    }

    async fn publish_until(
        self: &Arc<Self>,
        partition: Partition,
        lane: Lane,
        event: Arc<AppendedEvent>,
        began: Instant,
    ) -> Result<Published, BrokerError> {
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
            Err(AttemptError::Lost(why)) => {
                self.refused(node, &script::PUBLISH, why);
                all(&|| FirstTry::Again { lost: true }, events);
            }
        }
    }

    /// Publishes events of one partition, in this order, in one call. Each can be found again ([`AppendedEvent::can_be_found_again`]).
    pub(super) async fn publish_run(
        &self,
        partition: Partition,
        lane: Lane,
        events: &[&AppendedEvent],
    ) -> Vec<Result<Published, BrokerError>> {
        let (began, mut lost) = (Instant::now(), false);
        let answers = match self.call_alone(partition, lane, events, began, &mut lost).await {
            Ok(answers) => answers.into_iter().map(|answer| self.judged(partition, answer, lost)).collect(),
            Err(error) => vec![Err(error); events.len()],
        };
        for answer in &answers {
            self.metrics.count(script::PUBLISH.name, began.elapsed(), outcome_of(answer));
        }
        answers
    }

    /// What an answer of a call means. `lost`: an event that was refused may have been published by an earlier one.
    fn judged(&self, partition: Partition, answer: AppendAnswer, lost: bool) -> Result<Published, BrokerError> {
        match answer {
            AppendAnswer::Done { position, refused } => Ok((position, refused)),
            AppendAnswer::Unknown => Err(BrokerError::Unknown),
            AppendAnswer::Conflict => Err(BrokerError::Conflict),
            AppendAnswer::Refused(error) => {
                if is_worth_another_try(&error) {
                    // The layout may be another one by now.
                    self.stale.notify_one();
                }
                let error = match self.owner(partition.into()) {
                    Some(node) => self.refused(&node, &script::PUBLISH, error),
                    None => error,
                };
                Err(if lost { BrokerError::Unknown } else { BrokerError::Unavailable(error) })
            }
        }
    }

    /// Publishes events in a call of their own, which names their slot, so that Redis says where it is; until it is answered.
    async fn call_alone(
        &self,
        partition: Partition,
        lane: Lane,
        events: &[&AppendedEvent],
        began: Instant,
        lost: &mut bool,
    ) -> Result<Vec<AppendAnswer>, BrokerError> {
        let deadline = began + self.dial.timeouts.command;
        let base = base()?;
        let slot: Vec<String> = events.first().map(|event| event.record()).into_iter().collect();
        let command = |lost: bool| {
            if lost && !events.iter().all(|event| event.can_be_found_again()) {
                return None;
            }
            let tried = lost.then(|| began.elapsed());
            let words = arguments(base.clone(), self.publish_command(), events.iter().map(|event| (*event, tried)));
            Some(script::command(&script::PUBLISH, slot.clone(), words))
        };
        let answer = self.insist(partition.into(), &script::PUBLISH, &command, lane, deadline, lost).await?;
        answers(answer, events.len()).map_err(|_| {
            self.metrics.unreadable.increment(1);
            BrokerError::Unknown
        })
    }

    /// Publishes an event in calls of its own, until it is answered and not refused.
    async fn alone(
        &self,
        partition: Partition,
        lane: Lane,
        event: &AppendedEvent,
        began: Instant,
        mut lost: bool,
    ) -> Result<Published, BrokerError> {
        let deadline = began + self.dial.timeouts.command;
        let mut pause = PAUSE.0;
        loop {
            let answers = self.call_alone(partition, lane, &[event], began, &mut lost).await?;
            let Some(answer) = answers.into_iter().next() else { return Err(BrokerError::Unknown) };
            let again = matches!(&answer, AppendAnswer::Refused(error) if is_worth_another_try(error));
            let result = self.judged(partition, answer, lost);
            if !again || Instant::now() + pause >= deadline {
                return result;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// The command that tells pods.
    pub(super) fn publish_command(&self) -> &'static str {
        if self.plain.load(Ordering::Relaxed) { "PUBLISH" } else { "SPUBLISH" }
    }
}

/// What is counted of a publish that ended so.
fn outcome_of(result: &Result<Published, BrokerError>) -> CommandResult {
    match result {
        // Of a conflict: Redis did its part.
        Ok(_) | Err(BrokerError::Conflict) => CommandResult::Ok,
        Err(BrokerError::Unknown) => CommandResult::Timeout,
        Err(_) => CommandResult::Error,
    }
}

/// Whether an event that Redis refused may be taken in a moment, perhaps by another server.
fn is_worth_another_try(error: &str) -> bool {
    is_elsewhere(error) || !matches!(judge(error.to_owned(), ""), AttemptError::Refused(_))
}
