//! A key set that a server publishes, fetched again and again.
//!
//! One task fetches. A verification asks the task for a fetch, and waits. Always holds: the last good set stays in use
//! whatever the server does; tokens that name unknown keys cause at most one fetch in [`ASK_PAUSE`]; a key is only said to be unknown if
//! a fetch that began after a token first named it has not brought it.
//!
//! ```text
//!            ask, ASK_PAUSE after the last start            the task takes it up, or its pause is over
//!   Idle ─────────────────────────────────────────▶ Asked ──────────────────────────────────────────▶ Running
//!    ▲ │     ask, sooner                    ASK_PAUSE is over                                          ▲ │
//!    │ └────────────────────────▶ Due ─────────────────────────────────────────────────────────────────┘ │
//!    └────────────────────────────────── the answer, or none in time ────────────────────────────────────┘
//! ```

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use roomcast_incident::Incident;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    key::Key,
    key_set::{self, KeySetError, Origin},
    sightings::Sightings,
};
use crate::{
    config::{JwksUrl, TokenSettings},
    metrics::TokenMetrics,
    transport::fetch::{Client, FetchError, Limits},
};

/// Tokens with unknown keys cause one fetch in this time at most.
const ASK_PAUSE: Duration = Duration::from_secs(10);

/// How long a token waits for a fetch.
pub const WAIT: Duration = Duration::from_secs(2);

/// The longest pause between attempts while the server fails.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), max_bytes: 256 * 1024 };

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
enum KeySetFetchError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the server answers {0}{redirect}", redirect = if .0.is_redirection() { ", and redirects are not followed" } else { "" })]
    Status(StatusCode),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// Where the task is.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Between fetches; the last one started then.
    Idle(Instant),
    /// The same, and the next one starts as soon as [`ASK_PAUSE`] is over.
    Due(Instant),
    /// About to fetch. It starts here.
    Asked,
    /// Fetching.
    Running,
}

/// A key set that a server publishes.
#[derive(Debug)]
pub(super) struct Remote {
    url: JwksUrl,
    ca: Option<PathBuf>,
    refresh: Duration,
    client: Client,
    keys: ArcSwapOption<Vec<Key>>,
    stage: Mutex<Stage>,
    asked: Notify,
    /// How many fetches have ended.
    fetches: watch::Sender<u64>,
    /// When the keys in use were fetched; before that, when they were first wanted.
    fetched: Mutex<Instant>,
    /// Whether the last fetch brought none. It outlives a reload of the configuration, which begins to fetch anew.
    failing: Incident,
    /// How many fetches lacked keys that were there before.
    withdrawals: AtomicU64,
    /// The names of keys that tokens had and the set had not.
    sightings: Mutex<Sightings>,
}

impl Remote {
    /// The set that `settings` name, if they do; `before` itself, if it is that one.
    pub(super) fn of(settings: &TokenSettings, before: Option<&Arc<Self>>) -> Result<Option<Arc<Self>>, FetchError> {
        let Some(url) = &settings.jwks_url else { return Ok(None) };
        let same =
            |own: &&Arc<Self>| own.url == *url && own.ca == settings.jwks_ca && own.refresh == settings.jwks_refresh;
        if let Some(same) = before.filter(same) {
            return Ok(Some(Arc::clone(same)));
        }
        Ok(Some(Arc::new(Self {
            url: url.clone(),
            ca: settings.jwks_ca.clone(),
            refresh: settings.jwks_refresh,
            client: Client::new(settings.jwks_ca.as_deref())?,
            keys: ArcSwapOption::empty(),
            stage: Mutex::new(Stage::Asked),
            asked: Notify::new(),
            fetches: watch::Sender::new(0),
            fetched: Mutex::new(Instant::now()),
            failing: Incident::new(),
            withdrawals: AtomicU64::new(0),
            sightings: Mutex::default(),
        })))
    }

    /// The keys; `None` until they were fetched once.
    pub(super) fn keys(&self) -> Option<Arc<Vec<Key>>> {
        self.keys.load_full()
    }

    /// How many times keys were taken out of the set.
    pub(super) fn withdrawals(&self) -> u64 {
        self.withdrawals.load(Relaxed)
    }

    /// Whether the server gives no keys now, so that those of a new name cannot be known.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.lasts()
    }

    /// How old the keys in use are; while there are none, how long they have been wanted, so that a set that never came does not look
    /// like a new one.
    pub(super) fn age(&self) -> Duration {
        lock(&self.fetched).elapsed()
    }

    /// What sees that a fetch has ended: to be taken before the keys are looked at.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.fetches.subscribe()
    }

    /// Asks for newer keys than those that were looked at after `watch` was taken, and waits a little; whether a fetch
    /// has ended since, good or bad.
    pub(super) async fn newer(&self, mut watch: watch::Receiver<u64>) -> bool {
        {
            let mut stage = lock(&self.stage);
            match *stage {
                Stage::Idle(started) | Stage::Due(started) if started.elapsed() < ASK_PAUSE => {
                    return watch.has_changed().unwrap_or(false);
                }
                Stage::Idle(_) | Stage::Due(_) => {
                    *stage = Stage::Asked;
                    self.asked.notify_one();
                }
                Stage::Asked | Stage::Running => {}
            }
        }
        timeout(WAIT, watch.changed()).await.is_ok_and(|changed| changed.is_ok())
    }

    /// A token names an unknown key. When that was first so; `None`: too many other names were seen.
    pub(super) fn see(&self, key_id: &str) -> Option<Instant> {
        lock(&self.sightings).see(key_id, Instant::now())
    }

    /// Whether a fetch that has ended began after a moment. If none did, one will soon.
    pub(super) fn has_fetched_since(&self, moment: Instant) -> bool {
        let mut stage = lock(&self.stage);
        let (Stage::Idle(started) | Stage::Due(started)) = *stage else { return false };
        if moment <= started {
            return true;
        }
        *stage = Stage::Due(started);
        self.asked.notify_one();
        false
    }

    /// Fetches now, and again whenever it is time or asked for. Never ends; dropping it ends a fetch that runs.
    pub(super) async fn drive(&self, metrics: &TokenMetrics) {
        let mut failures = 0_u32;
        loop {
            let running = Running::start(self);
            let result = self.fetch().await;
            drop(running);
            let now = Instant::now();
            match result {
                Ok(keys) => {
                    let over = self.failing.succeeds(now.into_std());
                    let count = keys.len();
                    let old = self.keys();
                    let changed = old.as_ref().is_none_or(|old| !same(old, &keys));
                    let lacks_some = old.is_some_and(|old| lacks(&keys, &old));
                    self.keys.store(Some(Arc::new(keys)));
                    if lacks_some {
                        self.withdrawals.fetch_add(1, Relaxed);
                    }
                    *lock(&self.fetched) = now;
                    if let Some(over) = over {
                        let (seconds, failures) = (over.seconds(), over.failures);
                        let url = &self.url;
                        tracing::info!(%url, keys = count, seconds, failures, "the keys of tokens were fetched again");
                    } else if changed {
                        tracing::info!(url = %self.url, keys = count, "the keys of tokens were fetched");
                    }
                    failures = 0;
                }
                Err(error) => {
                    metrics.jwks_failures.increment(1);
                    if self.failing.fails(now.into_std()) {
                        let effect = match self.keys() {
                            Some(_) => "the old ones stay in use",
                            None => "no token can be checked with them yet",
                        };
                        tracing::warn!(url = %self.url, %error, effect, "the keys of tokens could not be fetched");
                    }
                    failures = failures.saturating_add(1);
                }
            }
            // After the keys were replaced, so that a waiting verification finds the new ones.
            self.fetches.send_modify(|count| *count += 1);
            self.rest(Instant::now() + self.pause(failures)).await;
        }
    }

    /// Waits until `end`, or until a verification asks for a fetch.
    async fn rest(&self, mut end: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(end) => return,
                () = self.asked.notified() => match *lock(&self.stage) {
                    Stage::Asked => return,
                    Stage::Due(started) => end = end.min(started + ASK_PAUSE),
                    // What was asked for before the last fetch is done.
                    Stage::Idle(_) | Stage::Running => {}
                },
            }
        }
    }

    /// Until the next attempt: shorter by chance, so that pods that started together part.
    fn pause(&self, failures: u32) -> Duration {
        let mut random = [0];
        // Without randomness, pods fetch together: no harm to this one.
        let _ = getrandom::fill(&mut random);
        let share = f64::from(random[0]) / 255.0;
        match failures {
            0 => self.refresh.mul_f64(1.0 - 0.1 * share),
            _ => {
                let pause = Duration::from_secs(1_u64 << (failures - 1).min(6));
                pause.min(MAX_RETRY_PAUSE).min(self.refresh).mul_f64(1.0 - 0.5 * share)
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, KeySetFetchError> {
        let request = Request::get(self.url.uri().clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Bytes::new())
            .map_err(|error| FetchError::Failed(error.to_string()))?;
        let response = self.client.fetch(request, &LIMITS).await?;
        if response.status() != StatusCode::OK {
            return Err(KeySetFetchError::Status(response.status()));
        }
        Ok(key_set::keys(response.body(), Origin::Server)?)
    }
}

/// Whether two sets have keys of the same names.
fn same(one: &[Key], other: &[Key]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.id() == b.id())
}

/// Whether a set lacks keys that another one has: by their names, or their number where they have none.
fn lacks(keys: &[Key], old: &[Key]) -> bool {
    keys.len() < old.len() || old.iter().any(|old| !keys.iter().any(|key| key.id() == old.id()))
}

/// A fetch that runs: when it ends, or is given up, the stage says so.
struct Running<'a> {
    remote: &'a Remote,
    started: Instant,
}

impl<'a> Running<'a> {
    fn start(remote: &'a Remote) -> Self {
        *lock(&remote.stage) = Stage::Running;
        Self { remote, started: Instant::now() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *lock(&self.remote.stage) = Stage::Idle(self.started);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
