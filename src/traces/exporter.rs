//! Sends spans to the trace collector: OTLP over HTTP, on a thread of its own.
//!
//! Never holds up what makes spans. Always holds: one request is under way at a time; what is tried again is bounded in number and time;
//! the log hears once that spans do not arrive, and once that they do again, and never a header.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use roomcast_incident::Incident;

use super::{
    otlp::{PodResource, rejected},
    span::Span,
    tracer::Tracer,
};
use crate::{
    config::{OtlpUrl, TraceSettings},
    transport::fetch::{Client, FetchError, Limits},
};

/// How often one batch is tried.
const ATTEMPTS: u32 = 5;

/// The shortest and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a pod that ends sends what it still has, at most.
const LAST: Duration = Duration::from_secs(2);

/// A trace collector that comes and goes has a pair of lines in this time, at most.
const APART: Duration = Duration::from_secs(60);

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The trace collector cannot be trusted.
    #[error("the trace collector cannot be asked: {0}")]
    Fetch(#[from] FetchError),
    /// The file of headers.
    #[error("the file {path} of `traces.headers_file` cannot be used: {why}; each of its lines is `name: value`")]
    Headers {
        /// The file.
        path: PathBuf,
        /// Why; never what is in it.
        why: String,
    },
}

/// Why a batch did not arrive.
enum Failure {
    /// It may arrive later; `Some`: the trace collector says when.
    Passing(String, Option<Duration>),
    /// It never will.
    Final(String),
}

/// The one that sends.
pub struct TraceExporter {
    tracer: Arc<Tracer>,
    url: OtlpUrl,
    client: Client,
    resource: PodResource,
    headers_file: Option<PathBuf>,
    headers: HeaderMap,
    /// Whether the file is unusable.
    stale_headers: Incident,
    every: Duration,
    timeout: Duration,
    /// What is being sent.
    batch: Arc<[Span]>,
    /// Whether spans do not arrive.
    outage: Incident,
}

impl TraceExporter {
    /// For a pod with traces; `pod`: its name in its fleet. `None`: there is no trace collector.
    ///
    /// # Errors
    /// [`ExporterError`].
    pub fn new(tracer: Arc<Tracer>, settings: &TraceSettings, pod: &str) -> Result<Option<Self>, ExporterError> {
        let Some(url) = settings.otlp_endpoint.clone() else { return Ok(None) };
        let headers_file = settings.headers_file.clone();
        let headers = headers_file.as_deref().map(read_headers).transpose()?.unwrap_or_default();
        Ok(Some(Self {
            tracer,
            url,
            client: Client::new(settings.ca.as_deref())?,
            resource: PodResource::new(settings, pod),
            headers_file,
            headers,
            stale_headers: Incident::new(),
            every: settings.every,
            timeout: settings.timeout,
            batch: Arc::from([]),
            outage: Incident::new().apart(APART),
        }))
    }

    /// Sends until `end`, which says by when all must be over, and then what is left, as far as there is time. A request that `end` cuts
    /// off is sent again: its spans have their names, by which they are known to be the same.
    pub async fn run(&mut self, end: impl Future<Output = Instant>) {
        let by = tokio::select! {
            by = end => by.min(Instant::now() + LAST),
            never = self.send_all_along() => match never {},
        };
        let rest = async {
            loop {
                if self.batch.is_empty() {
                    self.batch = self.tracer.queue.take().into();
                }
                if self.batch.is_empty() {
                    return;
                }
                if self.attempt().await.is_err() {
                    self.tracer.queue.metrics.failed.increment(self.batch.len() as u64);
                }
                self.batch = Arc::from([]);
            }
        };
        if tokio::time::timeout_at(by.into(), rest).await.is_err() {
            let left = self.batch.len() + self.tracer.queue.len();
            tracing::warn!(left, "the trace collector did not take all spans before the pod ended");
        }
    }

    async fn send_all_along(&mut self) -> Infallible {
        let tracer = Arc::clone(&self.tracer);
        loop {
            let _ = tokio::time::timeout(self.every, tracer.queue.has_a_batch()).await;
            tracer.sweep();
            while tracer.queue.len() > 0 {
                self.batch = tracer.queue.take().into();
                self.send().await;
                self.batch = Arc::from([]);
            }
        }
    }

    /// Sends the batch, several times if need be.
    async fn send(&mut self) {
        let metrics = self.tracer.queue.metrics.clone();
        let many = self.batch.len() as u64;
        let mut pause = PAUSES.0;
        for attempt in 1..=ATTEMPTS {
            match self.attempt().await {
                Ok(()) => return,
                Err(Failure::Final(why)) => {
                    metrics.refused.increment(many);
                    return self.note_failure(&why);
                }
                Err(Failure::Passing(why, wait)) => {
                    self.note_failure(&why);
                    if attempt < ATTEMPTS {
                        tokio::time::sleep(wait.unwrap_or(pause).min(PAUSES.1)).await;
                        pause = (pause * 2).min(PAUSES.1);
                    }
                }
            }
        }
        metrics.failed.increment(many);
    }

    async fn attempt(&mut self) -> Result<(), Failure> {
        self.look_at_headers();
        let mut request = Request::new(Bytes::from(self.resource.request(&self.batch)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.uri().clone();
        request.headers_mut().clone_from(&self.headers);
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(header::CONTENT_TYPE, protobuf);
        let limits = Limits { timeout: self.timeout, max_bytes: MAX_ANSWER };
        let answer = self.client.fetch(request, &limits).await;
        let answer = answer.map_err(|error| Failure::Passing(error.to_string(), None))?;
        let status = answer.status();
        if !status.is_success() {
            let why = format!("it answers {status}");
            return Err(match status {
                // OTLP/HTTP names these, and no others.
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Failure::Passing(why, retry_after(answer.headers())),
                _ => Failure::Final(why),
            });
        }
        let metrics = &self.tracer.queue.metrics;
        let all = self.batch.len() as u64;
        match rejected(answer.body()) {
            Some((many, why)) => {
                metrics.refused.increment(many.min(all));
                metrics.sent.increment(all.saturating_sub(many));
                let why = format!("it did not take {many} of {all} spans: {}", shortened(&why));
                self.note_failure(&why);
            }
            None => {
                metrics.sent.increment(all);
                if let Some(over) = self.outage.succeeds(Instant::now()) {
                    let (collector, seconds, failures) = (&self.url, over.seconds(), over.failures);
                    tracing::info!(%collector, seconds, failures, "spans arrive at the trace collector again");
                }
            }
        }
        Ok(())
    }

    /// Spans did not arrive.
    fn note_failure(&self, why: &str) {
        if self.outage.fails(Instant::now()) {
            tracing::warn!(collector = %self.url, why, "spans do not arrive at the trace collector; publishes go on");
        }
    }

    /// The file may have been replaced: what it holds expires.
    fn look_at_headers(&mut self) {
        match self.headers_file.as_deref().map(read_headers).transpose() {
            Ok(headers) => {
                self.headers = headers.unwrap_or_default();
                if let Some(over) = self.stale_headers.succeeds(Instant::now()) {
                    let (seconds, failures) = (over.seconds(), over.failures);
                    tracing::info!(seconds, failures, "the headers of spans are usable again");
                }
            }
            Err(error) => {
                if self.stale_headers.fails_for(&error.to_string(), Instant::now()) {
                    tracing::warn!(%error, "the headers of spans are unusable, the old ones stay in use");
                }
            }
        }
    }
}

/// The headers of a file, one a line.
fn read_headers(path: &Path) -> Result<HeaderMap, ExporterError> {
    let bad = |why: String| ExporterError::Headers { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let read = || {
            let (name, value) = line.split_once(':')?;
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, value.trim().parse::<HeaderValue>().ok()?))
        };
        let (name, mut value) = read().ok_or_else(|| bad(format!("line {} is no header", at + 1)))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// The seconds of a `Retry-After` (RFC 9110 section 10.2.3); a date counts as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What another program says, for a line of the log.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn headers_come_from_a_file_and_are_never_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"Authorization: Bearer s3cret\n\nx-scope-orgid:a: b\n").unwrap();
        let headers = read_headers(file.path()).unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-scope-orgid"], "a: b");
        assert!(!format!("{headers:?}").contains("s3cret"));
        file.write_all(b"s3cret without a name\n").unwrap();
        let error = read_headers(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 4") && !error.contains("s3cret"), "{error}");
        assert!(read_headers(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn a_collector_says_when_to_come_again() {
        let after = |text| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]));
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!((after("Wed, 21 Oct 2026 07:28:00 GMT"), after("-1")), (None, None));
        assert_eq!(retry_after(&HeaderMap::new()), None);
        assert_eq!(shortened(&format!("a\nb{}", "c".repeat(500))).len(), 200);
    }
}
