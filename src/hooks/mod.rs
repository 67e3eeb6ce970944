//! A backend that decides: who connects and as whom, who joins which room, what becomes of a client's event.
//!
//! Owns the questions, how they are asked, and what counts as an answer. Never knows a socket or a room's members, and
//! never runs on a worker: calls are made on a thread of their own, whose answers are waited for. Always holds: what is not
//! answered as `docs/HOOKS.md` says is refused, and is not called a denial; no log line holds a token, an answer or what was
//! asked; calls under way and answers that are kept are bounded.
//!
//! - `question` is what is asked, `answer` what may come back;
//! - `hook` asks one URL: kept answers, one call for equal questions, retries within one time;
//! - `cache` keeps answers for as long as they say.

mod answer;
mod cache;
mod hook;
mod question;

use std::{future::Future, pin::Pin, sync::Arc};

use http::HeaderValue;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::{
    config::HookSettings,
    metrics::HookMetrics,
    transport::fetch::{Client, FetchError},
};
pub use answer::{Allowed, Answered, ConnectAnswer, Denial, PublishAnswer, SubscribeAnswer, Verdict};
pub use hook::{Hook, HookError};
pub use question::{ConnectQuestion, Question, RoomQuestion, Told};

/// A call to the backend.
type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What all hooks share.
struct Shared {
    client: Client,
    authorization: Option<HeaderValue>,
    settings: HookSettings,
    /// One for each call under way.
    permits: Arc<Semaphore>,
    /// To the thread that makes calls. As many fit as there are permits.
    calls: mpsc::Sender<Call>,
    metrics: HookMetrics,
}

/// The hooks of a pod.
pub struct Hooks {
    /// Who may connect.
    pub connect: Option<Arc<Hook<ConnectAnswer>>>,
    /// Who may join.
    pub subscribe: Option<Arc<Hook<SubscribeAnswer>>>,
    /// What may be published.
    pub publish: Option<Arc<Hook<PublishAnswer>>>,
    shared: Arc<Shared>,
    waiting: Mutex<mpsc::Receiver<Call>>,
}

impl Hooks {
    /// The hooks of the configuration; `None`: it has none. They are asked once they [run](Self::run).
    ///
    /// # Errors
    /// [`FetchError::Trust`]: the file of CA certificates is unusable.
    pub fn new(settings: &HookSettings, metrics: impl FnOnce() -> HookMetrics) -> Result<Option<Self>, FetchError> {
        if settings.connect.is_none() && settings.subscribe.is_none() && settings.publish.is_none() {
            return Ok(None);
        }
        let (calls, waiting) = mpsc::channel(settings.in_flight);
        let authorization = settings.secret.as_ref().and_then(|secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.reveal())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let metrics = metrics();
        let shared = Arc::new(Shared {
            client: Client::new(settings.ca.as_deref())?,
            authorization,
            settings: settings.clone(),
            permits: Arc::new(Semaphore::new(settings.in_flight)),
            calls,
            metrics: metrics.clone(),
        });
        let HookSettings { connect, subscribe, publish, .. } = settings;
        Ok(Some(Self {
            connect: connect.as_ref().map(|url| Hook::new("connect", url, &shared, metrics.connect)),
            subscribe: subscribe.as_ref().map(|url| Hook::new("subscribe", url, &shared, metrics.subscribe)),
            publish: publish.as_ref().map(|url| Hook::new("publish", url, &shared, metrics.publish)),
            shared,
            waiting: Mutex::new(waiting),
        }))
    }

    /// What the operator decided.
    #[must_use]
    pub fn settings(&self) -> &HookSettings {
        &self.shared.settings
    }

    /// Makes the calls, on the runtime that polls it. Never ends; when it is dropped, nobody is asked any more.
    pub async fn run(&self) {
        let mut waiting = self.waiting.lock().await;
        while let Some(call) = waiting.recv().await {
            tokio::spawn(call);
        }
    }
}
