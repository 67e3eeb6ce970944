//! Tells the backend of events whose users have no connection, so that it can reach their phones.
//!
//! Never decides which events these are, and never waits for a decision: any status of success means that they were taken. Always
//! holds: the same events are sent again under the same idempotency key; no log line holds a user or an event.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use roomcast_incident::Incident;
use serde::Serialize;

use super::{backend::authorization, hook::CALM};
use crate::{
    config::{HookSettings, HookUrl},
    model::{DataFields, Offset, Payload, Position, Room, UnixMillis},
    transport::fetch::{Client, FetchError, Limits},
};

/// The pauses before the repetitions.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// The most bytes of an answer, which is not looked at.
const MAX_ANSWER: usize = 64 * 1024;

/// An event of a personal room.
#[derive(Debug, Clone, PartialEq)]
pub struct AbsentEvent {
    /// Whose room it is.
    pub user: Box<str>,
    /// The room.
    pub room: Room,
    /// The topic.
    pub topic: Box<str>,
    /// Its publisher's id of it.
    pub id: Option<Box<str>>,
    /// The key.
    pub key: Option<Box<str>>,
    /// The data, where the backend is told of it.
    pub data: Option<Payload>,
    /// When it was published.
    pub time: UnixMillis,
    /// Where it stands.
    pub position: Position,
}

/// Why the backend did not take events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AbsentError {
    /// It said that it will not.
    #[error("the backend answers {0}")]
    Refused(StatusCode),
    /// It said nothing of use, however often it was told.
    #[error("{0}")]
    Failed(Box<str>),
}

/// The URL that is told.
pub struct AbsentHook {
    url: HookUrl,
    client: Client,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    failing: Incident,
    /// By which the backend knows what it is told again: (a start of its own, how many before).
    serial: (u64, AtomicU64),
}

#[derive(Serialize)]
struct Told<'a> {
    hook: &'static str,
    events: Vec<ToldEvent<'a>>,
    /// Whether some pods did not say whether the users are there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unsure: bool,
}

#[derive(Serialize)]
struct ToldEvent<'a> {
    user: &'a str,
    room: &'a Room,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    epoch: &'a str,
    offset: Offset,
    time: UnixMillis,
    #[serde(flatten)]
    data: DataFields<'a>,
}

impl<'a> From<&'a AbsentEvent> for ToldEvent<'a> {
    fn from(event: &'a AbsentEvent) -> Self {
        Self {
            user: &event.user,
            room: &event.room,
            topic: &event.topic,
            id: event.id.as_deref(),
            key: event.key.as_deref(),
            epoch: event.position.epoch.as_str(),
            offset: event.position.offset,
            time: event.time,
            data: event.data.as_ref().into(),
        }
    }
}

impl AbsentHook {
    /// The hook of the configuration; `None`: it has none.
    ///
    /// # Errors
    /// [`FetchError::Trust`]: the file of CA certificates is unusable.
    pub fn new(settings: &HookSettings) -> Result<Option<Self>, FetchError> {
        let Some(url) = settings.absent.clone() else { return Ok(None) };
        let client = Client::new(settings.ca.as_deref())?;
        let start = getrandom::u64().unwrap_or_default();
        let (failing, serial) = (Incident::calm(CALM), (start, AtomicU64::new(0)));
        Ok(Some(Self {
            url,
            client,
            authorization: authorization(settings),
            timeout: settings.timeout,
            failing,
            serial,
        }))
    }

    /// Tells the backend, again and again for about ten seconds. `unsure`: the users may be there. Each time those events go that are not
    /// to be told any more.
    ///
    /// # Errors
    /// [`AbsentError`].
    pub async fn tell(
        &self,
        events: &mut Vec<AbsentEvent>,
        unsure: bool,
        is_to_be_told: impl Fn(&AbsentEvent) -> bool,
    ) -> Result<(), AbsentError> {
        let (mut body, mut name) = self.message(events, unsure);
        let mut pauses = PAUSES.into_iter();
        let outcome = loop {
            let before = events.len();
            events.retain(&is_to_be_told);
            if events.is_empty() {
                return Ok(());
            }
            if events.len() < before {
                // Fewer events are others, under a name of their own.
                (body, name) = self.message(events, unsure);
            }
            match self.attempt(&body, &name).await {
                Err(error) if error.may_pass() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => break Err(error),
                },
                decided => break decided,
            }
        };
        self.note(outcome.as_ref().err());
        outcome
    }

    /// The body of a call, and the name by which the backend knows it again.
    fn message(&self, events: &[AbsentEvent], unsure: bool) -> (Bytes, String) {
        let told = Told { hook: "absent", events: events.iter().map(Into::into).collect(), unsure };
        // What is serialized has text for names and nothing that could fail.
        let body = Bytes::from(serde_json::to_vec(&told).unwrap_or_default());
        let name = format!("{:016x}-{:x}", self.serial.0, self.serial.1.fetch_add(1, Relaxed));
        (body, name)
    }

    async fn attempt(&self, body: &Bytes, name: &str) -> Result<(), AbsentError> {
        let failed = |error: &dyn std::fmt::Display| AbsentError::Failed(error.to_string().into());
        let mut request = Request::post(self.url.uri().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", name)
            .body(body.clone())
            .map_err(|error| failed(&error))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let limits = Limits { timeout: self.timeout, max_bytes: MAX_ANSWER };
        let status = match self.client.fetch(request, &limits).await {
            Ok(response) => response.status(),
            // It has taken them, and talks too much.
            Err(FetchError::TooLarge(_)) => return Ok(()),
            Err(error) => return Err(failed(&error)),
        };
        if status.is_success() { Ok(()) } else { Err(AbsentError::Refused(status)) }
    }

    /// Logs when the backend begins to fail or works again.
    fn note(&self, error: Option<&AbsentError>) {
        let now = Instant::now();
        match error {
            Some(error) if self.failing.fails(now) => {
                tracing::warn!(url = %self.url, %error, "the backend does not take events of absent users");
            }
            Some(_) => {}
            None => {
                if let Some(over) = self.failing.succeeds(now) {
                    let (seconds, failures) = (over.seconds(), over.failures);
                    tracing::info!(url = %self.url, seconds, failures, "the backend takes events of absent users again");
                }
            }
        }
    }
}

impl AbsentError {
    /// Whether a repetition may succeed.
    fn may_pass(&self) -> bool {
        match self {
            Self::Failed(_) => true,
            Self::Refused(status) => status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429),
        }
    }
}
