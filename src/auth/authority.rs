//! Verifies tokens with the current keys and rules of the configuration.
//!
//! A verification runs on the worker, at once. Only a token that names an unknown key waits for a fetch, which all such tokens
//! share. Always holds: whatever happens to the source of keys, the last good keys stay in use.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use roomcast_incident::Incident;
use tokio::sync::Notify;

use super::{
    Algorithm, Grant, KeyError, StoredUser, TokenError, grant::Claims, jws::Jws, key::Key, key_file::Files, look_up,
    remote::Remote, rules,
};
use crate::{
    broker::{LookUp, TokenWitness},
    config::{TokenLookUp, TokenSettings},
    metrics::TokenMetrics,
    model::Token,
};

/// How often files of keys are looked at. Contents are compared, not times, because a Kubernetes secret is replaced by
/// swapping a symlink above the files.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Verifies tokens with the configured keys.
#[derive(Debug)]
pub struct Authority {
    current: ArcSwap<Current>,
    wanted: Mutex<Wanted>,
    reloaded: Notify,
    /// Whether the newest settings, or their files, are broken.
    failing: Incident,
    /// How many times the settings or the files of keys were others.
    changes: AtomicU64,
    has_been_ready: AtomicBool,
    metrics: TokenMetrics,
    stored: Option<Stored>,
    witness: Option<Arc<dyn TokenWitness>>,
}

/// The store of tokens, and the settings for look-ups.
struct Stored {
    store: Arc<dyn LookUp>,
    settings: TokenLookUp,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The rules and keys in use.
#[derive(Debug, Default)]
struct Current {
    settings: TokenSettings,
    /// Keys of the configuration and its files.
    keys: Vec<Key>,
    remote: Option<Arc<Remote>>,
}

/// The newest settings: they are in use, unless they are broken.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    settings: TokenSettings,
    /// The contents of its files at the last look, so that each change is acted on once.
    seen: [u8; 32],
}

impl Default for Authority {
    /// An authority without keys: no token is good.
    fn default() -> Self {
        Self {
            current: ArcSwap::default(),
            wanted: Mutex::default(),
            reloaded: Notify::new(),
            failing: Incident::new(),
            changes: AtomicU64::new(0),
            has_been_ready: AtomicBool::new(false),
            metrics: TokenMetrics::none(),
            stored: None,
            witness: None,
        }
    }
}

impl Authority {
    /// An authority with the keys and rules of `settings`. Keys of a URL come when it [runs](Authority::run).
    ///
    /// # Errors
    /// [`KeyError`] names the key of the configuration and the file that cannot be used.
    pub fn new(settings: &TokenSettings) -> Result<Self, KeyError> {
        let authority = Self::default();
        authority.take_over(settings)?;
        Ok(authority)
    }

    /// Counts with these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: TokenMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Looks tokens up in this store, if `settings` say so.
    #[must_use]
    pub fn with_look_up(mut self, store: Option<Arc<dyn LookUp>>, settings: &TokenLookUp) -> Self {
        let wanted = store.filter(|_| settings.key.is_some());
        self.stored = wanted.map(|store| Stored { store, settings: settings.clone() });
        self
    }

    /// Tells of each token of a user that it finds good.
    #[must_use]
    pub fn with_witness(mut self, witness: Option<Arc<dyn TokenWitness>>) -> Self {
        self.witness = witness;
        self
    }

    /// The user of a token that is kept in Redis; `None`: the token is unknown, or tokens are not looked up.
    ///
    /// # Errors
    /// [`TokenError`]: the stored object cannot be read.
    pub async fn stored_user(&self, token: &Token) -> Result<Option<StoredUser>, TokenError> {
        match &self.stored {
            Some(Stored { store, settings }) => look_up::user(&**store, settings, token.reveal(), &self.metrics).await,
            None => Ok(None),
        }
    }

    /// The grant of a client without a token, where such clients are accepted.
    #[must_use]
    pub fn without_token(&self) -> Grant {
        match &self.stored {
            Some(Stored { settings, .. }) if settings.accept_unknown => Grant::verified(look_up::nobody(settings)),
            _ => Grant::default(),
        }
    }

    /// Whether clients without a token are accepted although tokens are required otherwise.
    #[must_use]
    pub fn accepts_nobody(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.settings.accept_unknown)
    }

    /// Whether tokens are verified at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.stored.is_some() || self.current.load().is_enabled()
    }

    /// Whether every source of keys has been read: `false` until the key set of a URL was fetched once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_ready = self.current.load().remote.as_ref().is_none_or(|remote| remote.keys().is_some());
        if is_ready {
            self.has_been_ready.store(true, Ordering::Relaxed);
        }
        is_ready
    }

    /// Whether a call of [`Authority::is_ready`] has said so before. Where it says otherwise by now, a reload has named a key set that does not
    /// come: its tokens cannot be judged, and the clients that are here are served as ever.
    #[must_use]
    pub fn has_been_ready(&self) -> bool {
        self.has_been_ready.load(Ordering::Relaxed)
    }

    /// Takes over other settings, and reads the files of keys again.
    ///
    /// # Errors
    /// [`KeyError`]: it is logged as well, and the keys and rules before stay in use. When the files become good, [`Authority::run`] sees it.
    pub fn reload(&self, settings: &TokenSettings) -> Result<(), KeyError> {
        self.renew(settings, true)
    }

    /// `is_asked`: an operator waits for the answer, so that the log has it whatever it had before.
    fn renew(&self, settings: &TokenSettings, is_asked: bool) -> Result<(), KeyError> {
        let outcome = self.take_over(settings);
        let now = Instant::now();
        match &outcome {
            Ok(()) => {
                if let Some(over) = self.failing.succeeds(now) {
                    let (seconds, failures) = (over.seconds(), over.failures);
                    tracing::info!(seconds, failures, "the keys of tokens are usable again");
                } else if !is_asked {
                    tracing::info!("the files with keys of tokens changed and were read again");
                }
            }
            Err(error) => {
                if self.failing.fails_for(&error.to_string(), now) || is_asked {
                    tracing::error!(%error, "the keys of tokens are unusable, the old ones stay in use");
                }
            }
        }
        self.metrics.keys_broken.set(f64::from(u8::from(outcome.is_err())));
        outcome
    }

    fn take_over(&self, settings: &TokenSettings) -> Result<(), KeyError> {
        let files = Files::read(settings);
        let newest = Wanted { settings: settings.clone(), seen: files.digest() };
        let has_changed = {
            let mut wanted = self.wanted();
            let has_changed = *wanted != newest;
            *wanted = newest;
            has_changed
        };
        let remote = Remote::of(settings, self.current.load().remote.as_ref())?;
        let current = Current { settings: settings.clone(), keys: files.keys(settings)?, remote };
        self.current.store(Arc::new(current));
        if has_changed {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        self.reloaded.notify_one();
        Ok(())
    }

    /// The state of the keys and rules: another one once some were changed, or taken out of the set of a URL. A token that was good before may be
    /// good no more.
    #[must_use]
    pub fn state(&self) -> (u64, u64) {
        let withdrawals = self.current.load().remote.as_ref().map_or(0, |remote| remote.withdrawals());
        (self.changes.load(Ordering::Relaxed), withdrawals)
    }

    /// Keeps the keys fresh: fetches those of a URL, looks at files. Never ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            let remote = self.current.load().remote.clone();
            let fetching = async {
                match &remote {
                    Some(remote) => remote.drive(&self.metrics).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = fetching => {}
                () = self.look(remote.as_deref()) => {}
                () = self.reloaded.notified() => {}
            }
        }
    }

    /// Looks at the files and at the keys' age now and then. Never ends.
    async fn look(&self, remote: Option<&Remote>) {
        let mut seconds = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            seconds += 1;
            // Without a set there is nothing that could grow old.
            self.metrics.jwks_age.set(remote.map_or(0.0, |remote| remote.age().as_secs_f64()));
            if seconds % POLL_INTERVAL.as_secs() == 0 {
                self.poll();
            }
        }
    }

    /// Acts if the files have changed since they were last looked at.
    fn poll(&self) {
        let settings = {
            let wanted = self.wanted();
            if Files::read(&wanted.settings).digest() == wanted.seen {
                return;
            }
            wanted.settings.clone()
        };
        // The log has what is wrong.
        let _ = self.renew(&settings, false);
    }

    /// Verifies a token. Ready at once, unless its key must be fetched first, which takes two seconds at most.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn verify(&self, token: &Token, now: SystemTime) -> Result<Grant, TokenError> {
        let verdict = self.judge(token, now).await;
        let counter = match &verdict {
            Ok(_) => &self.metrics.accepted,
            Err(TokenError::Expired) => &self.metrics.expired,
            Err(error) if error.is_outage() => &self.metrics.outage,
            Err(_) => &self.metrics.refused,
        };
        counter.increment(1);
        if let (Ok(Claims { user: Some(user), expires_at, .. }), Some(witness)) = (&verdict, &self.witness) {
            witness.saw(user, token, *expires_at);
        }
        verdict.map(Grant::verified)
    }

    async fn judge(&self, token: &Token, now: SystemTime) -> Result<Claims, TokenError> {
        let current = self.current.load_full();
        // A token that has the form of a signed token is verified, if there are keys.
        if let Some(Stored { store, settings }) = &self.stored
            && !(current.is_enabled() && has_form(token.reveal()))
        {
            let personal = current.settings.personal_room.as_ref();
            return look_up::claims(&**store, settings, personal, token.reveal(), &self.metrics).await;
        }
        if !current.is_enabled() {
            return Err(TokenError::NoKeys);
        }
        let jws = Jws::parse(token.reveal())?;
        let Some(remote) = &current.remote else { return current.check(&jws, now) };
        let watch = remote.watch();
        match current.check(&jws, now) {
            Err(TokenError::UnknownKey | TokenError::Signature) if may_come(remote, &jws) => {}
            verdict => return verdict,
        }
        let seen = jws.key_id.as_deref().and_then(|id| remote.see(id));
        let verdict = if remote.newer(watch).await { current.check(&jws, now) } else { Err(TokenError::UnknownKey) };
        match verdict {
            Err(TokenError::UnknownKey | TokenError::Signature) if remote.keys().is_none() || remote.is_failing() => {
                Err(TokenError::Outage)
            }
            // The keys may have been replaced since they were fetched: clients that are told no now would not come back.
            Err(TokenError::UnknownKey | TokenError::Signature)
                if seen.is_some_and(|seen| may_come(remote, &jws) && !remote.has_fetched_since(seen)) =>
            {
                Err(TokenError::KeyTooNew)
            }
            verdict => verdict,
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn is_enabled(&self) -> bool {
        !self.keys.is_empty() || self.remote.is_some()
    }

    /// Verifies with the known keys.
    fn check(&self, jws: &Jws<'_>, now: SystemTime) -> Result<Claims, TokenError> {
        let fetched = self.remote.as_ref().and_then(|remote| remote.keys());
        let mut verdict = TokenError::UnknownKey;
        for key in self.keys.iter().chain(fetched.iter().flat_map(|keys| keys.iter())) {
            if key.fits(jws.algorithm, jws.key_id.as_deref()) {
                if key.verify(jws.algorithm, jws.signed, &jws.signature) {
                    return rules::claims(&jws.payload()?, &self.settings, now);
                }
                verdict = TokenError::Signature;
            }
        }
        Err(verdict)
    }
}

/// Whether a token has the form of a signed one (RFC 7515 section 3.1), good or not: a broken one is refused, not looked up.
fn has_form(token: &str) -> bool {
    token.starts_with("eyJ") && token.split('.').count() == 3
}

/// Whether a fetch may bring the token's key: its set publishes no secrets, and has no key of that name so far.
fn may_come(remote: &Remote, jws: &Jws<'_>) -> bool {
    !Algorithm::HMAC.contains(&jws.algorithm)
        && match (remote.keys(), &jws.key_id) {
            (None, _) => true,
            (Some(keys), Some(id)) => !keys.iter().any(|key| key.id() == Some(id)),
            (Some(_), None) => false,
        }
}
