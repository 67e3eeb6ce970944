//! One link to a home's pod while it stands: what is to be sent, and the calls that wait for their answers.
//!
//! Bounded: calls by their senders; members and rooms are this pod's own; a home that does not take what it is told is cut (`session`). Always
//! holds: nothing is sent that the home does not take; nothing in a user's name goes before the user's token, where the home wants tokens.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::oneshot;

use super::{shown_users::ShownUsers, user_tokens::UserTokens};
use crate::{
    broker::{
        BrokerError,
        relay::{
            call::{CallAnswer, EdgeCall},
            message::{FromEdge, message_record},
            out_queue::OutQueue,
            pod_memory::PodMemory,
        },
    },
    model::Token,
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
    /// Whether it takes what is done in a user's name with a token only.
    wants_tokens: bool,
    /// The users whose tokens it was shown.
    pub(super) shown: ShownUsers,
    calls: Mutex<HashMap<u64, AnswerSender>>,
    given: AtomicU64,
}

impl HomeLink {
    pub(super) fn new(pod: String, largest: usize, wants_tokens: bool, memory: Arc<dyn PodMemory>) -> Arc<Self> {
        // An edge delivers nothing: the limit of deliveries is none of its.
        let queue = OutQueue::new(0, memory);
        let (calls, shown, given) = Default::default();
        Arc::new(Self { queue, pod, largest, wants_tokens, shown, calls, given })
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, AnswerSender>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call. It is forgotten with the value that is returned, whose answer fails when the link ends.
    pub(super) fn call(self: &Arc<Self>, call: &EdgeCall, tokens: &UserTokens) -> PendingCall {
        call.users().into_iter().for_each(|user| self.show_token(user, tokens));
        let id = self.given.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        self.calls().insert(id, tell);
        match message_record(&CallMessage::Call { id, call }).filter(|record| record.len() <= self.largest) {
            Some(record) => self.queue.send_record(record),
            None => {
                let most = self.largest;
                let why = format!("the home of this edge takes at most {most} bytes at once: its `limits` decide");
                let _ = self.answered(id, Err(BrokerError::Unavailable(why)), tokens);
            }
        }
        PendingCall { link: Arc::clone(self), id, answer }
    }

    /// Shows the home a user's token, unless it wants none or has seen it: something is to be done in the user's name.
    pub(super) fn show_token(&self, user: &str, tokens: &UserTokens) {
        if self.wants_tokens {
            self.shown.show(user, tokens, |token| self.vouch(token));
        }
    }

    /// Shows the home a token that is better than the one that it was shown.
    pub(super) fn renew_token(&self, user: &str, token: &Token) {
        self.shown.renew(user, token, |token| self.vouch(token));
    }

    /// Shows the home once more what it was shown.
    pub(super) fn show_again(&self, tokens: &UserTokens) {
        self.shown.show_again(tokens, Instant::now(), |token| self.vouch(token));
    }

    /// To be called now and then: shows what the home wanted again too soon.
    pub(super) fn show_later(&self, tokens: &UserTokens) {
        self.shown.show_later(tokens, Instant::now(), |token| self.vouch(token));
    }

    fn vouch(&self, token: Token) {
        self.queue.send(&FromEdge::Vouch(token));
    }

    /// The home answered. How much it refused since it knows no token of a user: the next time that one is shown again.
    pub(super) fn answered(&self, id: u64, said: Result<CallAnswer, BrokerError>, tokens: &UserTokens) -> u64 {
        let mut refused = 0;
        let mut look = |error: &BrokerError| {
            if let BrokerError::NoToken(user) = error {
                refused += 1;
                self.shown.forget(user);
                tokens.doubt(user);
            }
        };
        match &said {
            Ok(CallAnswer::Published(each)) => each.iter().filter_map(|one| one.as_ref().err()).for_each(look),
            Ok(CallAnswer::Acked(each)) => each.iter().filter_map(|one| one.as_ref().err()).for_each(look),
            Ok(_) => {}
            Err(error) => look(error),
        }
        let waiting = self.calls().remove(&id);
        if let Some(tell) = waiting {
            let _ = tell.send(said);
        }
        refused
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
