//! What the pods of a fleet know of each other, and ask each other.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::Answer;
use crate::model::{Order, PodStats};

/// What one pod asks all others.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To do something to connections, and to how many it was done.
    Order(Order),
    /// How much there is.
    Stats,
}

/// What a pod says to [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// To how many connections it was done. `None`: the one that is meant is not there.
    Done(Option<usize>),
    /// How much there is.
    Stats(Box<PodStats>),
}

impl Ask {
    /// Whether nothing that another pod could say would add to this.
    #[must_use]
    pub fn is_settled_by(&self, said: &Said) -> bool {
        let one = matches!(self, Self::Order(Order { target: crate::model::Target::Connection(_), .. }));
        one && matches!(said, Said::Done(Some(_)))
    }
}

/// What the other pods said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// By pod, each once.
    pub said: Vec<(String, Said)>,
    /// The pods whose lease runs and that did not answer in time.
    pub silent: Vec<String>,
}

/// Who answers for this pod. Questions are polled in the order in which they came, and an order is given to the workers at
/// the first poll, so that orders keep their order.
pub trait Respond: Send + Sync {
    /// Does what is asked. `None`: it could not, and the asking pod is left to take this one for silent.
    fn respond(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Option<Said>> + Send>>;
}

/// The other pods of a fleet. A pod without Redis is a fleet of one.
pub trait Control: Send + Sync {
    /// This pod's name: 16 hexadecimal digits, new at each start.
    fn pod(&self) -> &str;
    /// Where a pod's internal listener is, as `HOST:PORT`. `None`: there is no such pod any more, or it does not say
    /// (`advertise`).
    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>>;
    /// Asks every other pod, and waits for their answers, at most `within` after they were asked.
    ///
    /// # Errors
    /// [`BrokerError`](super::BrokerError): not even whether they were asked is known, or that they were not.
    fn ask_others<'a>(&'a self, ask: &'a Ask, within: Duration) -> Answer<'a, Answers>;
    /// Has what other pods ask answered by `respond`; the first call counts.
    fn answer_with(&self, respond: Arc<dyn Respond>);
}
