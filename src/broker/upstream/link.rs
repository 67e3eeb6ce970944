//! One link to a home's pod while it stands: what is to be sent, and the calls that wait for their answers.
//!
//! Bounded: calls by their senders; members and rooms are this pod's own; a home that does not take what it is told is cut (`session`). Always
//! holds: nothing is sent that the home does not take.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::broker::{
    BrokerError,
    relay::{
        call::{CallAnswer, EdgeCall},
        message::message_record,
        out_queue::OutQueue,
        pod_memory::PodMemory,
    },
};

/// [`FromEdge::Call`](crate::broker::relay::message::FromEdge::Call), as it is written: its sender keeps the call, to repeat it.
#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum CallMessage<'a> {
    Call { id: u64, call: &'a EdgeCall },
}

/// What waits for an answer.
type AnswerSender = oneshot::Sender<Result<CallAnswer, BrokerError>>;

/// A link that stands.
pub(super) struct HomeLink {
    /// What is to be sent.
    pub(super) queue: OutQueue,
    /// The home's name.
    pub(super) pod: String,
    /// The largest record that the home takes.
    pub(super) largest: usize,
    calls: Mutex<HashMap<u64, AnswerSender>>,
    given: AtomicU64,
}

impl HomeLink {
    pub(super) fn new(pod: String, largest: usize, memory: Arc<dyn PodMemory>) -> Arc<Self> {
        // An edge delivers nothing: the limit of deliveries is none of its.
        let queue = OutQueue::new(0, memory);
        Arc::new(Self { queue, pod, largest, calls: Mutex::default(), given: AtomicU64::new(0) })
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, AnswerSender>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call. It is forgotten with the value that is returned, whose answer fails when the link ends.
    pub(super) fn call(self: &Arc<Self>, call: &EdgeCall) -> PendingCall {
        let id = self.given.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        self.calls().insert(id, tell);
        match message_record(&CallMessage::Call { id, call }).filter(|record| record.len() <= self.largest) {
            Some(record) => self.queue.send_record(record),
            None => {
                let most = self.largest;
                let why = format!("the home of this edge takes at most {most} bytes at once: its `limits` decide");
                self.answered(id, Err(BrokerError::Unavailable(why)));
            }
        }
        PendingCall { link: Arc::clone(self), id, answer }
    }

    /// The home answered.
    pub(super) fn answered(&self, id: u64, said: Result<CallAnswer, BrokerError>) {
        let waiting = self.calls().remove(&id);
        if let Some(tell) = waiting {
            let _ = tell.send(said);
        }
    }

    /// The link has ended: no call gets its answer any more.
    pub(super) fn end(&self) {
        self.queue.close();
        let lost = std::mem::take(&mut *self.calls());
        drop(lost);
    }
}

/// A call that was sent.
pub(super) struct PendingCall {
    link: Arc<HomeLink>,
    id: u64,
    answer: oneshot::Receiver<Result<CallAnswer, BrokerError>>,
}

impl PendingCall {
    /// The answer; `None`: the link ended.
    pub(super) async fn answer(&mut self) -> Option<Result<CallAnswer, BrokerError>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.link.calls().remove(&self.id);
    }
}
