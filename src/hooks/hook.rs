//! One URL that is asked.
//!
//! Always holds: a question waits for the configured time at most. Equal questions that are under way together share one call,
//! where the backend allows its answers to be cached. A call is finished even if every question that waited for it has gone, so
//! that its answer serves the next one. What a client calls itself ([`Allowed::SHARED`] is false) is different: each is a call of its
//! own, and is given up when its client has gone.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use metrics::Gauge;
use roomcast_incident::Incident;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    answer::{Allowed, Answered, Verdict},
    backend::Backend,
    cache::{Cache, Key},
    hook_places::{HookPlace, HookPlaces},
    question::HookQuestion,
};
use crate::{
    config::HookUrl,
    metrics::HookCounts,
    model::UnixMillis,
    transport::fetch::{FetchError, Limits},
};

/// The pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What clients ask decides which questions fail, so that one that succeeds among others that fail ends nothing: nothing must have failed
/// for so long.
pub(super) const CALM: Duration = Duration::from_secs(10);

/// Why there is no verdict. Says nothing of the question, the answer or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// As many questions as may be are under way, or as many of this user.
    #[error("as many questions as `hooks.in_flight` allows are under way, or as many as it leaves to one user")]
    Full,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or it ended early, or what came was no HTTP.
    #[error("{0}")]
    Failed(Box<str>),
    /// Not 200.
    #[error("the backend answers {0}, and only 200 decides{redirect}", redirect = if .0.is_redirection() { "; redirects are not followed" } else { "" })]
    Status(StatusCode),
    /// Larger than it may be.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// Not understood.
    #[error("the answer is not valid: {0}")]
    BadAnswer(Box<str>),
    /// The pod ends.
    #[error("no question is asked any more: the pod stops")]
    Ended,
}

impl HookError {
    /// What a client is told: nothing of the backend.
    #[must_use]
    pub fn message_to_client(&self) -> &'static str {
        match self {
            Self::Full => "too many clients wait for the backend that decides this: try again later",
            _ => "the backend that decides this gives no answer: try again later",
        }
    }

    /// Whether a retry may succeed: the backend did not get the question, or a proxy before it answered.
    fn may_pass(&self) -> bool {
        match self {
            Self::Failed(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 502..=504),
            _ => false,
        }
    }
}

/// The outcome of a question.
type Outcome<A> = Result<Arc<Verdict<A>>, HookError>;

/// The outcome of a call, for the questions that wait for it.
#[derive(Debug)]
struct Landed<A> {
    outcome: Outcome<A>,
    /// Whether it also answers equal questions.
    shared: bool,
}

impl<A> Clone for Landed<A> {
    fn clone(&self) -> Self {
        Self { outcome: self.outcome.clone(), shared: self.shared }
    }
}

type Flight<A> = watch::Receiver<Option<Landed<A>>>;

/// What is known without asking.
struct Memory<A> {
    cache: Cache<Verdict<A>>,
    flights: HashMap<Key, Flight<A>>,
    /// Whether the last answer was one to keep, so that it is worth waiting for another's.
    keeps: bool,
}

/// How long and how many at once a hook is asked.
#[derive(Debug, Clone)]
pub(super) struct HookBounds {
    /// The time for an answer, the retries included.
    pub(super) timeout: Duration,
    /// One place for each call under way.
    pub(super) places: Arc<HookPlaces>,
    /// Shows how many there are.
    pub(super) in_flight: Gauge,
}

/// One URL that is asked.
pub struct Hook<A> {
    name: &'static str,
    url: HookUrl,
    backend: Arc<Backend>,
    bounds: HookBounds,
    memory: Mutex<Memory<A>>,
    counts: HookCounts,
    /// Whether it fails: the beginning and the end are logged.
    failing: Incident,
    /// By which the backend knows a question that it is asked again: (a start of its own, how many before).
    serial: (u64, AtomicU64),
}

impl<A: Allowed> Hook<A> {
    pub(super) fn new(
        name: &'static str,
        url: &HookUrl,
        backend: &Arc<Backend>,
        bounds: &HookBounds,
        counts: HookCounts,
    ) -> Arc<Self> {
        let cache = Cache::new(backend.settings.cache);
        let start = getrandom::u64().unwrap_or_else(|_| unix_millis());
        Arc::new(Self {
            name,
            url: url.clone(),
            backend: Arc::clone(backend),
            bounds: bounds.clone(),
            memory: Mutex::new(Memory { cache, flights: HashMap::new(), keeps: false }),
            counts,
            failing: Incident::calm(CALM),
            serial: (start, AtomicU64::new(0)),
        })
    }

    /// Its name, while the backend does not answer it: from the first failure on until it answers again and nothing has failed for a while.
    pub(super) fn failing(&self) -> Option<&'static str> {
        self.failing.lasts().then_some(self.name)
    }

    /// A call that was refused before it was made: as many as may be are under way already.
    pub fn refused(&self) {
        self.counts.full.increment(1);
    }

    /// Asks, unless the answer is known.
    ///
    /// # Errors
    /// [`HookError`]: there is no verdict, so that the client is to be refused.
    pub async fn ask(self: &Arc<Self>, question: impl Into<HookQuestion>) -> Result<Arc<Verdict<A>>, HookError> {
        let question: HookQuestion = question.into();
        let (flight, unasked) = {
            let mut memory = self.memory();
            if let Some(verdict) = memory.cache.get(&question.key, Instant::now()) {
                self.counts.cached.increment(1);
                return Ok(verdict);
            }
            match memory.flights.get(&question.key).filter(|_| memory.keeps).cloned() {
                Some(others) => (others, Some(question)),
                None => (self.begin(&mut memory, question)?, None),
            }
        };
        let mut landed = land(flight).await;
        if let Some(question) = unasked {
            if let Some(Landed { outcome, shared: true }) = landed {
                self.counts.cached.increment(1);
                return outcome;
            }
            let flight = self.begin(&mut self.memory(), question)?;
            landed = land(flight).await;
        }
        landed.map_or(Err(HookError::Ended), |landed| landed.outcome)
    }

    /// Begins a call, on the thread that makes them.
    fn begin(self: &Arc<Self>, memory: &mut Memory<A>, question: HookQuestion) -> Result<Flight<A>, HookError> {
        let Some(place) = self.bounds.places.take(question.user.as_ref()) else {
            self.refused();
            return Err(HookError::Full);
        };
        let (sender, flight) = watch::channel(None);
        // Another holder of a receiver keeps the call going.
        let own = A::SHARED.then(|| flight.clone());
        if let Some(own) = &own {
            memory.flights.entry(question.key).or_insert_with(|| own.clone());
        }
        self.bounds.in_flight.increment(1.0);
        let underway = Underway { place: Some(place), in_flight: self.bounds.in_flight.clone() };
        let hook = Arc::clone(self);
        let call = Box::pin(async move {
            let landed = tokio::select! {
                landed = hook.call(&question) => landed,
                () = sender.closed(), if !A::SHARED => {
                    hook.counts.cancelled.increment(1);
                    return drop(underway);
                }
            };
            let mut memory = hook.memory();
            let is_own = |flight: &Flight<A>| own.as_ref().is_some_and(|own| flight.same_channel(own));
            if memory.flights.get(&question.key).is_some_and(is_own) {
                memory.flights.remove(&question.key);
            }
            drop(memory);
            drop(underway);
            let _ = sender.send(Some(landed));
        });
        // There is room for each place; none is left only when the thread is gone.
        self.backend.calls.try_send(call).map_err(|_| HookError::Ended)?;
        Ok(flight)
    }

    /// Asks until there is an answer or no time, and keeps what is to be kept.
    async fn call(&self, question: &HookQuestion) -> Landed<A> {
        let (began, budget) = (Instant::now(), self.bounds.timeout);
        let answered = timeout(budget, self.attempts(question)).await.unwrap_or(Err(HookError::Timeout(budget)));
        self.counts.seconds.record(began.elapsed().as_secs_f64());
        self.note(answered.as_ref().err(), Instant::now());
        match answered {
            Ok((Answered { verdict, cache_for }, bytes)) => {
                match &verdict {
                    Verdict::Allow(_) => self.counts.allowed.increment(1),
                    Verdict::Deny(_) => self.counts.denied.increment(1),
                }
                let keep_for = match &verdict {
                    Verdict::Allow(allowed) => cache_for.min(time_left(allowed.until())),
                    Verdict::Deny(_) => cache_for,
                };
                let (verdict, keeps) = (Arc::new(verdict), !keep_for.is_zero());
                let mut memory = self.memory();
                memory.keeps = keeps;
                if keeps {
                    let now = Instant::now();
                    memory.cache.put(question.key, Arc::clone(&verdict), bytes, now + keep_for, now);
                    // Far below 2^52.
                    #[allow(clippy::cast_precision_loss)]
                    self.counts.cache_bytes.set(memory.cache.bytes() as f64);
                }
                Landed { outcome: Ok(verdict), shared: keeps }
            }
            // An equal question would fail in the same way.
            Err(error) => Landed { outcome: Err(error), shared: true },
        }
    }

    async fn attempts(&self, question: &HookQuestion) -> Result<(Answered<A>, usize), HookError> {
        let name = format!("{:016x}-{:x}", self.serial.0, self.serial.1.fetch_add(1, Relaxed));
        let name = HeaderValue::try_from(name).map_err(|error| HookError::Failed(error.to_string().into()))?;
        let mut pause = FIRST_PAUSE;
        let mut left = if question.repeats { self.backend.settings.retries } else { 0 };
        loop {
            let error = match self.attempt(question, &name).await {
                Err(error) if error.may_pass() && left > 0 => error,
                decided => return decided,
            };
            tracing::debug!(hook = self.name, %error, "asking again");
            left -= 1;
            self.counts.retries.increment(1);
            // A random part is taken off, so that questions that failed together do not retry together.
            sleep(pause.mul_f64(1.0 - 0.5 * chance())).await;
            pause *= 2;
        }
    }

    async fn attempt(&self, question: &HookQuestion, name: &HeaderValue) -> Result<(Answered<A>, usize), HookError> {
        let settings = &self.backend.settings;
        let mut request = Request::post(self.url.uri().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header("idempotency-key", name)
            .body(Bytes::clone(&question.body))
            .map_err(|error| HookError::Failed(error.to_string().into()))?;
        if let Some(authorization) = &self.backend.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let limits = Limits { timeout: self.bounds.timeout, max_bytes: settings.max_answer };
        let response = self.backend.client.fetch(request, &limits).await.map_err(|error| match error {
            FetchError::Timeout(_) => HookError::Timeout(self.bounds.timeout),
            FetchError::TooLarge(bytes) => HookError::TooLarge(bytes),
            error => HookError::Failed(error.to_string().into()),
        })?;
        if response.status() != StatusCode::OK {
            return Err(HookError::Status(response.status()));
        }
        let answered = Answered::read(response.body()).map_err(|why| HookError::BadAnswer(why.into()))?;
        Ok((answered, response.body().len()))
    }

    /// Counts a failure, and logs when the hook begins to fail or works again.
    fn note(&self, error: Option<&HookError>, now: Instant) {
        let Some(error) = error else {
            if let Some(over) = self.failing.succeeds(now) {
                let (seconds, failures) = (over.seconds(), over.failures);
                tracing::info!(hook = self.name, url = %self.url, seconds, failures, "the backend answers again");
            }
            return;
        };
        let counter = match error {
            HookError::Full => &self.counts.full,
            HookError::Timeout(_) => &self.counts.timeout,
            HookError::Failed(_) | HookError::Status(_) | HookError::Ended => &self.counts.failed,
            HookError::TooLarge(_) | HookError::BadAnswer(_) => &self.counts.bad_answer,
        };
        counter.increment(1);
        if self.failing.fails(now) {
            let effect = "a client that needs its answer is refused with `unavailable`";
            tracing::warn!(hook = self.name, url = %self.url, %error, effect, "the backend does not decide");
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory<A>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a call's end; `None`: it was given up.
async fn land<A>(mut flight: Flight<A>) -> Option<Landed<A>> {
    let landed = flight.wait_for(Option::is_some).await.ok()?;
    landed.clone()
}

/// A call's place among those under way; given back when it is dropped.
struct Underway {
    place: Option<HookPlace>,
    in_flight: Gauge,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
        drop(self.place.take());
    }
}

fn unix_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX)
}

fn time_left(until: Option<UnixMillis>) -> Duration {
    until.map_or(Duration::MAX, |until| Duration::from_millis(until.saturating_sub(unix_millis())))
}

/// A random number between 0 and 1. Without randomness all pauses are alike: no harm.
fn chance() -> f64 {
    let mut random = [0];
    let _ = getrandom::fill(&mut random);
    f64::from(random[0]) / 255.0
}

#[cfg(test)]
mod tests;
