//! Messages for chatbots: taken from Redis by the one pod that holds the lease on plain messages, and sent on over HTTP.
//!
//! Owns the queue and the calls. Never logs a token, a message or an answer. Always holds: a message is sent by one pod at
//! most, and tried under one transaction name, so that a Matrix server takes it once however often it is tried; what goes to
//! one room keeps its order; a server that hangs holds up only what shares its lane.

mod call;
mod matrix;
mod message;

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::Request;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_local,
    time::sleep,
};

use super::{metrics::ChatbotMetrics, settings::ChatbotSettings};
use crate::{broker::PlainMessageSink, config::Origins, transport::fetch::FetchError};
use call::{CallError, Caller};
use message::{Send, UnfitMessageError};

/// How many messages are sent at once.
const LANES: usize = 16;

/// The largest message; Matrix takes events of 64 KiB.
const MAX_MESSAGE: usize = 256 * 1024;

/// The first wait between two tries; each next one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two lines of the log about messages that were not sent.
const A_LINE: Duration = Duration::from_secs(10);

/// A message that waits.
struct Job {
    send: Send,
    _held: OwnedSemaphorePermit,
}

/// What the log has not been told of yet.
#[derive(Debug, Default)]
struct Untold {
    messages: u64,
    last: Option<Instant>,
}

/// What sends.
pub(super) struct Chatbots {
    servers: Origins,
    caller: Caller,
    attempts: usize,
    metrics: ChatbotMetrics,
    lanes: Vec<mpsc::UnboundedSender<Job>>,
    /// The bytes that may still wait; they bound all lanes together.
    waiting: Arc<Semaphore>,
    untold: Mutex<Untold>,
    /// Messages that did not fit the queue. An operator must act on these, so they have a line of their own.
    dropped: Mutex<Untold>,
}

impl std::fmt::Debug for Chatbots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chatbots").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// The receiving ends of the queue.
pub(super) struct Queues(Vec<mpsc::UnboundedReceiver<Job>>);

impl Chatbots {
    /// What sends, and its queues; it sends while [`Chatbots::run`] does.
    ///
    /// # Errors
    /// The file of CA certificates cannot be used.
    pub(super) fn new(settings: &ChatbotSettings, metrics: ChatbotMetrics) -> Result<(Arc<Self>, Queues), FetchError> {
        let (lanes, queues) = (0..LANES).map(|_| mpsc::unbounded_channel()).unzip();
        let chatbots = Self {
            servers: Origins::new(settings.servers.clone()),
            caller: Caller::new(settings)?,
            attempts: settings.attempts,
            metrics,
            lanes,
            waiting: Arc::new(Semaphore::new(settings.queue.min(Semaphore::MAX_PERMITS))),
            untold: Mutex::default(),
            dropped: Mutex::default(),
        };
        Ok((Arc::new(chatbots), Queues(queues)))
    }

    /// Sends what comes, until the pod ends. Needs a `LocalSet`.
    pub(super) fn run(self: &Arc<Self>, queues: Queues) {
        for mut queue in queues.0 {
            let this = Arc::clone(self);
            spawn_local(async move {
                while let Some(Job { send, _held }) = queue.recv().await {
                    match this.send(&send).await {
                        Ok(()) => this.metrics.sent.increment(1),
                        Err(fault) => {
                            this.metrics.failed.increment(1);
                            Self::tell(&this.untold, &fault);
                        }
                    }
                    this.metrics.waiting.decrement(_held.num_permits() as f64);
                }
            });
        }
    }

    /// Sends a message, as often as may be.
    async fn send(&self, send: &Send) -> Result<(), CallError> {
        // One name for all tries of a message: a server that took it and was not heard does not take it again.
        let transaction = format!("roomcast-{:016x}", getrandom::u64().unwrap_or_default());
        let mut pause = PAUSE;
        for attempt in 1.. {
            let sent = match send {
                Send::Matrix { base, token, room, content } => {
                    matrix::send(&self.caller, base, token, room, content, &transaction).await
                }
                Send::Webhook { url, token, body } => {
                    self.caller.call(Request::post(url), token.as_ref(), body.clone()).await.map(drop)
                }
            };
            let Err(fault) = sent else { return Ok(()) };
            let Some(wait) = fault.again(pause).filter(|_| attempt < self.attempts) else { return Err(fault) };
            self.metrics.retries.increment(1);
            sleep(wait).await;
            pause *= 2;
        }
        Ok(())
    }

    /// Says now and then why messages are not sent; nothing of what is in them.
    fn tell(untold: &Mutex<Untold>, why: &dyn std::fmt::Display) {
        let mut untold = untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.messages += 1;
        if untold.last.is_none_or(|last| last.elapsed() >= A_LINE) {
            tracing::warn!(messages = untold.messages, last = %why, "messages for chatbots were not sent");
            *untold = Untold { messages: 0, last: Some(Instant::now()) };
        }
    }
}

impl PlainMessageSink for Chatbots {
    fn take(&self, message: &[u8]) {
        let send = match Some(message).filter(|message| message.len() <= MAX_MESSAGE) {
            Some(message) => Send::parse(message, &self.servers),
            None => Err(UnfitMessageError::Message),
        };
        let send = match send {
            Ok(send) => send,
            Err(why) => {
                let counter =
                    if why == UnfitMessageError::NotAllowed { &self.metrics.refused } else { &self.metrics.unfit };
                counter.increment(1);
                return Self::tell(&self.untold, &why);
            }
        };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(send.place());
        let lane = self.lanes.get((hash % LANES as u64) as usize);
        let held = Arc::clone(&self.waiting).try_acquire_many_owned(message.len() as u32).ok();
        let Some((lane, _held)) = lane.zip(held) else {
            self.metrics.full.increment(1);
            return Self::tell(
                &self.dropped,
                &"`chatbots.queue` is full: the servers are slower than the messages come",
            );
        };
        self.metrics.waiting.increment(_held.num_permits() as f64);
        // The lane ends with the pod.
        let _ = lane.send(Job { send, _held });
    }
}
