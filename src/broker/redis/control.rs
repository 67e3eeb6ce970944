//! What pods ask each other: told to all over one channel, answered over one channel of the pod that asks.
//!
//! Never stores anything: a pod that does not hear a question has lost its connection to Redis, and its clients come back
//! under what is true by then. Always holds: a pod does not answer its own question; of a pod one answer counts; what is
//! unreadable is counted and left alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fred::types::Value;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, timeout_at},
};

use super::{Redis, Shared, partition::Partition, reply::Fields, script};
use crate::broker::{Answer, Answers, Ask, BrokerError, Control, Respond, Said};

/// The most questions of this pod that wait for answers at once.
const MOST_QUESTIONS: usize = 1_024;

/// The most questions of other pods that are answered at once; what comes beyond is not answered.
pub(super) const MOST_ANSWERS: usize = 1_024;

/// The most answers to one question that wait to be read.
const MOST_WAITING: usize = 1_024;

/// A question on its way.
#[derive(serde::Serialize, serde::Deserialize)]
struct Told {
    /// The pod that asks.
    from: String,
    /// Which of its questions it is.
    question: u64,
    ask: Ask,
}

/// An answer on its way.
#[derive(serde::Serialize, serde::Deserialize)]
struct Reply {
    /// The pod that answers.
    from: String,
    question: u64,
    said: Said,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    waiting: HashMap<u64, Sender<(String, Said)>>,
}

/// This pod's questions that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<Open>);

/// A question that waits; it no longer does when this is dropped.
struct Question<'a> {
    questions: &'a Questions,
    number: u64,
    answers: Receiver<(String, Said)>,
}

impl Questions {
    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<Question<'_>, BrokerError> {
        let mut open = self.lock();
        if open.waiting.len() >= MOST_QUESTIONS {
            return Err(BrokerError::Unavailable("too many questions to other pods wait for answers".to_owned()));
        }
        let (sender, answers) = channel(MOST_WAITING);
        open.last += 1;
        let number = open.last;
        open.waiting.insert(number, sender);
        Ok(Question { questions: self, number, answers })
    }

    /// An answer that nobody waits for any more, or that does not fit, is dropped: its pod counts as silent.
    fn answered(&self, question: u64, from: String, said: Said) {
        if let Some(sender) = self.lock().waiting.get(&question) {
            let _ = sender.try_send((from, said));
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.lock().waiting.remove(&self.number);
    }
}

impl Shared {
    /// Answers what another pod asks.
    pub(super) fn asked(self: &Arc<Self>, payload: &[u8]) {
        let told = match serde_json::from_slice::<Told>(payload) {
            Ok(told) if told.from == self.pod.name => return,
            Ok(told) => told,
            Err(error) => return self.misread(&error),
        };
        let Some(respond) = self.respond.get() else { return };
        let Ok(place) = Arc::clone(&self.answering).try_acquire_owned() else {
            tracing::warn!(from = told.from, "another pod's question was not answered: too many wait");
            return;
        };
        let (answer, shared) = (respond.respond(told.ask), Arc::clone(self));
        self.runtime.spawn(async move {
            if let Some(said) = answer.await {
                let reply = Reply { from: shared.pod.name.clone(), question: told.question, said };
                // Whoever asked takes this pod for silent otherwise.
                let _ = shared.tell(&shared.names.replies(&told.from), &reply).await;
            }
            drop(place);
        });
    }

    /// Takes in what another pod says.
    pub(super) fn replied(&self, payload: &[u8]) {
        match serde_json::from_slice::<Reply>(payload) {
            Ok(reply) => self.questions.answered(reply.question, reply.from, reply.said),
            Err(error) => self.misread(&error),
        }
    }

    fn misread(&self, error: &serde_json::Error) {
        self.metrics.unreadable.increment(1);
        tracing::warn!(%error, "what another pod says is unreadable: is there another version of roomcast?");
    }

    /// Publishes to pods; those whose lease runs.
    async fn tell(&self, channel: &str, what: &impl serde::Serialize) -> Result<Vec<String>, BrokerError> {
        let message = serde_json::to_string(what).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let (keys, args) = ([channel.to_owned(), self.names.leases()], [self.publish_command(), Value::from(message)]);
        let frame = self.shards.call(Partition::FIRST, &script::CONTROL, keys, args).await?;
        Fields::of(frame).and_then(|mut fields| fields.rest()).map_err(|error| self.unexpected(&error))
    }

    async fn ask(&self, ask: &Ask, within: Duration) -> Result<Answers, BrokerError> {
        let mut question = self.questions.open()?;
        let told = Told { from: self.pod.name.clone(), question: question.number, ask: ask.clone() };
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
        Ok(Answers { said, silent: silent.into_iter().collect() })
    }
}

impl Control for Redis {
    fn pod(&self) -> &str {
        &self.shared.pod.name
    }

    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(self.shared.address_of(pod))
    }

    fn ask_others<'a>(&'a self, ask: &'a Ask, within: Duration) -> Answer<'a, Answers> {
        Box::pin(self.shared.ask(ask, within))
    }

    fn answer_with(&self, respond: Arc<dyn Respond>) {
        let _ = self.shared.respond.set(respond);
    }
}
