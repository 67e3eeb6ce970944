//! A backend that decides: which client connects and as which user, which connection joins a room, which event is published; and
//! that clients call.
//!
//! Owns the questions, the calls, and the rules for answers. Never knows a socket or a room's members. Never runs on a worker:
//! a thread of its own makes the calls, and workers wait for the answers. Always holds: without an answer as `docs/HOOKS.md`
//! describes it the client is refused, with a code that is not that of a denial; no log line holds a token, a question or an
//! answer; calls under way and cached answers are bounded.
//!
//! - `question` is the body of a call (`call_question` where a client calls itself), `answer` the body that may come back;
//! - `hook` asks one URL: cached answers, one call for equal questions, retries within one time;
//! - `absent` asks nothing: it tells the backend of events whose users are away;
//! - `hook_places` shares the calls under way between those that ask;
//! - `cache` keeps answers for as long as they allow.

mod absent;
mod answer;
mod backend;
mod cache;
mod call_question;
mod hook;
mod hook_places;
mod question;

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::{
    config::HookSettings,
    metrics::HookMetrics,
    transport::fetch::{Client, FetchError},
};
use backend::{Backend, Call, authorization};
use hook::HookBounds;
use hook_places::HookPlaces;

pub use absent::{AbsentError, AbsentEvent, AbsentHook};
pub use answer::{Allowed, Answered, ConnectAnswer, Denial, PublishAnswer, RpcAnswer, SubscribeAnswer, Verdict};
pub use call_question::CallQuestion;
pub use hook::{Hook, HookError};
pub use question::{ClientRequest, ConnectQuestion, RoomQuestion};

/// The hooks of a pod.
pub struct Hooks {
    /// Decides which client connects.
    pub connect: Option<Arc<Hook<ConnectAnswer>>>,
    /// Decides which connection joins a room.
    pub subscribe: Option<Arc<Hook<SubscribeAnswer>>>,
    /// Decides which event is published.
    pub publish: Option<Arc<Hook<PublishAnswer>>>,
    /// Answers what clients ask for. Its calls have a bound of their own, so that they keep no client out.
    pub rpc: Option<Arc<Hook<RpcAnswer>>>,
    backend: Arc<Backend>,
    waiting: Mutex<mpsc::Receiver<Call>>,
}

impl Hooks {
    /// The hooks of the configuration; `None`: it has none. They are asked once they [run](Self::run).
    ///
    /// # Errors
    /// [`FetchError::Trust`]: the file of CA certificates is unusable.
    pub fn new(settings: &HookSettings, metrics: impl FnOnce() -> HookMetrics) -> Result<Option<Self>, FetchError> {
        let HookSettings { connect, subscribe, publish, rpc, .. } = settings;
        if [connect, subscribe, publish, rpc].into_iter().all(Option::is_none) {
            return Ok(None);
        }
        let (calls, waiting) = mpsc::channel(settings.in_flight + settings.rpc_in_flight);
        let metrics = metrics();
        let backend = Arc::new(Backend {
            client: Client::new(settings.ca.as_deref())?,
            authorization: authorization(settings),
            settings: settings.clone(),
            calls,
        });
        let bounds =
            |timeout, in_flight, shown| HookBounds { timeout, places: HookPlaces::new(in_flight), in_flight: shown };
        let questions = bounds(settings.timeout, settings.in_flight, metrics.in_flight);
        let of_clients = bounds(settings.rpc_timeout, settings.rpc_in_flight, metrics.calls_in_flight);
        Ok(Some(Self {
            connect: connect.as_ref().map(|url| Hook::new("connect", url, &backend, &questions, metrics.connect)),
            subscribe: subscribe
                .as_ref()
                .map(|url| Hook::new("subscribe", url, &backend, &questions, metrics.subscribe)),
            publish: publish.as_ref().map(|url| Hook::new("publish", url, &backend, &questions, metrics.publish)),
            rpc: rpc.as_ref().map(|url| Hook::new("rpc", url, &backend, &of_clients, metrics.rpc)),
            backend,
            waiting: Mutex::new(waiting),
        }))
    }

    /// What the operator decided.
    #[must_use]
    pub fn settings(&self) -> &HookSettings {
        &self.backend.settings
    }

    /// The hooks that the backend does not answer now, as far as they were asked.
    #[must_use]
    pub fn failing(&self) -> Vec<&'static str> {
        let Self { connect, subscribe, publish, rpc, .. } = self;
        let failing = [
            connect.as_ref().and_then(|hook| hook.failing()),
            subscribe.as_ref().and_then(|hook| hook.failing()),
            publish.as_ref().and_then(|hook| hook.failing()),
            rpc.as_ref().and_then(|hook| hook.failing()),
        ];
        failing.into_iter().flatten().collect()
    }

    /// Makes the calls, on the runtime that polls it. Never ends. After it is dropped, no call is made.
    pub async fn run(&self) {
        let mut waiting = self.waiting.lock().await;
        while let Some(call) = waiting.recv().await {
            tokio::spawn(call);
        }
    }
}
