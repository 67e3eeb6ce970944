//! What pods ask each other: a question goes to all over one channel, an answer over one channel of the pod that asks.
//!
//! Stores nothing: a pod that does not get a question has lost its connection to Redis, and its clients come back under the
//! rules of that later time. Always holds: a pod does not answer its own question; one answer of a pod counts; an unreadable
//! message is counted and ignored.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use fred::types::Value;
use tokio::time::{Instant, timeout_at};

use super::{Redis, partition::Partition, presence::FleetMembers, reply::ReplyFields, script, state::RedisState};
use crate::{
    broker::{Answer, BrokerError, Control, FleetAnswer, FleetAnswers, FleetQuestion, Respond},
    metrics::RareWarning,
};

/// Other pods may ask as often as they like, and say what they like.
static TOO_MANY: RareWarning = RareWarning::new();
static UNREADABLE: RareWarning = RareWarning::new();

/// A question, as it is published.
#[derive(serde::Serialize, serde::Deserialize)]
struct QuestionMessage {
    /// The pod that asks.
    from: String,
    /// The question's number at that pod.
    question: u64,
    ask: FleetQuestion,
}

/// An answer, as it is published.
#[derive(serde::Serialize, serde::Deserialize)]
struct AnswerMessage {
    /// The pod that answers.
    from: String,
    question: u64,
    said: FleetAnswer,
}

impl RedisState {
    /// Answers what another pod asks.
    pub(super) fn asked(self: &Arc<Self>, payload: &[u8]) {
        let told = match serde_json::from_slice::<QuestionMessage>(payload) {
            Ok(told) if told.from == self.pod.name => return,
            Ok(told) => told,
            Err(error) => return self.misread(&error),
        };
        let Some(respond) = self.respond.get() else { return };
        let Ok(place) = Arc::clone(&self.answering).try_acquire_owned() else {
            if let Some(count) = TOO_MANY.due(Instant::now().into_std()) {
                tracing::warn!(from = told.from, count, "questions of other pods were not answered: too many wait");
            }
            return;
        };
        let (answer, shared) = (respond.respond(told.ask), Arc::clone(self));
        self.runtime.spawn(async move {
            if let Some(said) = answer.await {
                let reply = AnswerMessage { from: shared.pod.name.clone(), question: told.question, said };
                // If this fails, the asking pod counts this one as silent.
                let _ = shared.tell(&shared.names.replies(&told.from), &reply).await;
            }
            drop(place);
        });
    }

    /// Takes in an answer of another pod.
    pub(super) fn replied(&self, payload: &[u8]) {
        match serde_json::from_slice::<AnswerMessage>(payload) {
            Ok(reply) => self.questions.answered(reply.question, reply.from, reply.said),
            Err(error) => self.misread(&error),
        }
    }

    fn misread(&self, error: &serde_json::Error) {
        self.metrics.unreadable.increment(1);
        if let Some(count) = UNREADABLE.due(Instant::now().into_std()) {
            tracing::warn!(%error, count, "what another pod says is unreadable: is there another version of roomcast?");
        }
    }

    /// Publishes to pods. Returns the pods whose lease runs.
    async fn tell(&self, channel: &str, what: &impl serde::Serialize) -> Result<Vec<String>, BrokerError> {
        let message = serde_json::to_string(what).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let (keys, args) = ([channel.to_owned(), self.names.leases()], [self.publish_command(), Value::from(message)]);
        let frame = self.shards.call(Partition::FIRST, &script::CONTROL, keys, args).await?;
        ReplyFields::of(frame).and_then(|mut fields| fields.rest()).map_err(|error| self.unexpected(&error))
    }

    async fn ask(&self, ask: &FleetQuestion, within: Duration) -> Result<FleetAnswers, BrokerError> {
        let mut question = self.questions.open()?;
        let told = QuestionMessage { from: self.pod.name.clone(), question: question.number, ask: ask.clone() };
        let live = self.tell(&self.names.control(), &told).await?;
        let deadline = Instant::now() + within;
        let mut silent: BTreeSet<String> = live.into_iter().filter(|pod| *pod != self.pod.name).collect();
        let (mut said, mut heard) = (Vec::new(), BTreeSet::new());
        while !silent.is_empty() {
            let Ok(Some((pod, what))) = timeout_at(deadline, question.answers.recv()).await else { break };
            silent.remove(&pod);
            if ask.is_settled_by(&what) {
                silent.clear();
            }
            if heard.insert(pod.clone()) {
                said.push((pod, what));
            }
        }
        Ok(FleetAnswers { said, silent: silent.into_iter().collect() })
    }
}

impl Control for Redis {
    fn pod(&self) -> &str {
        &self.state.pod.name
    }

    fn is_pod(&self, name: &str) -> bool {
        name == self.state.pod.name || self.state.leases.knows(name)
    }

    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>> {
        let members = FleetMembers(Arc::clone(&self.state));
        Box::pin(async move { members.address_of(pod).await })
    }

    fn ask_others<'a>(&'a self, ask: &'a FleetQuestion, within: Duration) -> Answer<'a, FleetAnswers> {
        Box::pin(self.state.ask(ask, within))
    }

    fn announce_drain(&self) {
        self.state.leases.leave();
    }

    fn has_left(&self, pod: u64) -> bool {
        self.state.leases.has_left(pod, self.state.settings.lease, Instant::now().into_std())
    }

    fn answer_with(&self, respond: Arc<dyn Respond>) {
        let _ = self.state.respond.set(respond);
    }
}
