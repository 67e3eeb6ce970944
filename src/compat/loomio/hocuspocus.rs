//! Whether a user may edit a document: what a Hocuspocus server asks before it lets the user write together with others.
//!
//! The question is `{"user_secret": "id,token", "document_name": "type-id-field"}`, the answer a status: 200, 401 (an unknown token, or
//! none), 400 (no such question, or no such document), 403 (not this user's to edit), 503 (it cannot be said now). What the pod knows is what is
//! kept under the token: the user and the groups; whatever else a document belongs to, the application's own endpoint says
//! (`hocuspocus.hook`). Never logs a question. Always holds: what cannot be said is no 200.

use std::{
    fmt,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use roomcast_incident::Incident;
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, time::timeout};

use super::{metrics::DocumentAnswers, settings::HocuspocusSettings};
use crate::{
    auth::StoredUser,
    compat::Route,
    dialect::Pointer,
    hub::Services,
    model::{Token, with_whole_pairs},
    transport::{
        content_encoding::{ENCODED, is_encoded},
        fetch::{Client, FetchError, Limits},
    },
};

/// The hook decides again once nothing has failed for so long.
const CALM: Duration = Duration::from_secs(10);

/// The largest question.
const MAX_QUESTION: usize = 16 * 1024;

/// How long a question may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most questions that the hook is asked at once; beyond it the answer is 503.
const ASKING: usize = 128;

/// The most bytes of the hook's answer, whose status alone counts.
const MAX_ANSWER: usize = 64 * 1024;

/// The types of record that have documents.
const TYPES: [&str; 9] =
    ["comment", "discussion", "poll", "stance", "outcome", "pollTemplate", "discussionTemplate", "group", "user"];

/// What answers.
pub struct Documents {
    path: String,
    hook: Option<(http::Uri, Client)>,
    limits: Limits,
    asking: Semaphore,
    /// Whether the hook fails.
    failing: Incident,
    answers: DocumentAnswers,
}

/// What is asked. A member that is missing or `null` is empty, and of one that stands twice the last counts, as Go and JavaScript read
/// them: so a token is judged before the document.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    user_secret: String,
    document_name: String,
}

impl Question {
    /// Reads a question; `None`: it is no object, or one of its members is no text.
    fn parse(body: &[u8]) -> Option<Self> {
        let body = String::from_utf8_lossy(body);
        let body = with_whole_pairs(&body);
        let whole: &RawValue = serde_json::from_str(&body).ok()?;
        if !whole.get().starts_with('{') {
            return None;
        }
        let member = |name: &str| match Pointer::parse(name).ok()?.find(whole).ok()? {
            Some(value) => serde_json::from_str::<Option<String>>(value.get()).ok().map(Option::unwrap_or_default),
            None => Some(String::new()),
        };
        Some(Self { user_secret: member("/user_secret")?, document_name: member("/document_name")? })
    }
}

/// A document by what it belongs to.
#[derive(Debug, PartialEq, Eq)]
enum Document<'a> {
    /// Of a record that is there.
    Of { kind: &'a str, id: &'a str },
    /// Of one that a user is about to make.
    New { author: &'a str },
}

/// Whether a user may edit a document, as far as the pod knows.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    Unknown,
}

impl<'a> Document<'a> {
    /// Reads `type-id-field`, or `type-new-user-field`; the field may be missing.
    fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.split('-');
        let (kind, id) = (parts.next()?, parts.next()?);
        if !TYPES.contains(&kind) {
            return None;
        }
        if id == "new" {
            return parts.next().filter(|author| is_id(author)).map(|author| Self::New { author });
        }
        is_id(id).then_some(Self::Of { kind, id })
    }

    fn verdict(&self, user: &StoredUser) -> Verdict {
        let is = |known: bool| if known { Verdict::Yes } else { Verdict::No };
        match self {
            Self::New { author } => is(**author == *user.user),
            Self::Of { kind: "user", id } => is(**id == *user.user),
            Self::Of { kind: "group", id } => is(user.groups.iter().any(|group| group == id)),
            Self::Of { .. } => Verdict::Unknown,
        }
    }
}

/// Whether a text is a record's number, as databases count: from 1, in one spelling.
fn is_id(text: &str) -> bool {
    !text.starts_with('0') && (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

impl Documents {
    /// What answers; `None`: nothing is to be answered.
    ///
    /// # Errors
    /// The file of CA certificates cannot be used.
    pub fn of(settings: &HocuspocusSettings, answers: DocumentAnswers) -> Result<Option<Self>, FetchError> {
        let Some(path) = settings.path.clone() else { return Ok(None) };
        let hook = match &settings.hook {
            Some(hook) => Some((hook.uri().clone(), Client::new(settings.ca.as_deref())?)),
            None => None,
        };
        let limits = Limits { timeout: settings.timeout, max_bytes: MAX_ANSWER };
        Ok(Some(Self { path, hook, limits, asking: Semaphore::new(ASKING), failing: Incident::calm(CALM), answers }))
    }

    async fn answer_question(&self, services: &Services, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if *request.method() != Method::POST {
            let mut response = sentence(StatusCode::METHOD_NOT_ALLOWED, "ask with POST");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if is_encoded(request.headers()) {
            self.answers.malformed.increment(1);
            return sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, ENCODED);
        }
        let body = match timeout(PATIENCE, Limited::new(request.into_body(), MAX_QUESTION).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let status = self.judge(services, body).await;
        let (counter, why) = match status {
            StatusCode::OK => {
                self.answers.allowed.increment(1);
                return Response::new(Full::default());
            }
            StatusCode::BAD_REQUEST => {
                let what = "a question is {\"user_secret\": \"id,token\", \"document_name\": \"type-id-field\"}";
                (&self.answers.malformed, what)
            }
            StatusCode::UNAUTHORIZED => (&self.answers.unauthorized, "this token is not that user's"),
            StatusCode::FORBIDDEN => (&self.answers.forbidden, "this user may not edit that document"),
            _ => (&self.answers.unavailable, "it cannot be said now: ask again later"),
        };
        counter.increment(1);
        sentence(status, why)
    }

    async fn judge(&self, services: &Services, body: Bytes) -> StatusCode {
        let Some(Question { user_secret, document_name }) = Question::parse(&body) else {
            return StatusCode::BAD_REQUEST;
        };
        let Some((id, secret)) = user_secret.split_once(',').filter(|(id, secret)| is_id(id) && !secret.is_empty())
        else {
            return StatusCode::UNAUTHORIZED;
        };
        let user = match services.authority.stored_user(&Token::new(secret)).await {
            Ok(user) => user.filter(|user| user.user == id),
            Err(error) if error.is_outage() => return StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => None,
        };
        let Some(user) = user else { return self.ask(body, StatusCode::UNAUTHORIZED).await };
        match Document::parse(&document_name).map(|document| document.verdict(&user)) {
            None => StatusCode::BAD_REQUEST,
            Some(Verdict::Yes) => StatusCode::OK,
            Some(Verdict::No) => StatusCode::FORBIDDEN,
            Some(Verdict::Unknown) => self.ask(body, StatusCode::FORBIDDEN).await,
        }
    }

    /// Asks the hook; `otherwise`: there is none.
    async fn ask(&self, question: Bytes, otherwise: StatusCode) -> StatusCode {
        let Some((uri, client)) = &self.hook else { return otherwise };
        let Ok(_asking) = self.asking.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
        let request = Request::post(uri).header(header::CONTENT_TYPE, "application/json").body(question);
        let Ok(request) = request else { return StatusCode::SERVICE_UNAVAILABLE };
        let answer = client.fetch(request, &self.limits).await.map(|answer| answer.status());
        let why: &dyn fmt::Display = match &answer {
            Ok(status) => match *status {
                StatusCode::OK | StatusCode::NO_CONTENT => return self.decided(StatusCode::OK),
                StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return self.decided(*status);
                }
                _ => status,
            },
            Err(error) => error,
        };
        if self.failing.fails(Instant::now()) {
            tracing::warn!(%why, "hocuspocus.hook does not decide: its questions are answered with 503");
        }
        StatusCode::SERVICE_UNAVAILABLE
    }

    /// The hook decided.
    fn decided(&self, status: StatusCode) -> StatusCode {
        if let Some(over) = self.failing.succeeds(Instant::now()) {
            let (seconds, failures) = (over.seconds(), over.failures);
            tracing::info!(seconds, failures, "hocuspocus.hook decides again");
        }
        status
    }
}

impl Route for Documents {
    fn takes(&self, request: &Request<Incoming>) -> bool {
        request.uri().path() == self.path
    }

    fn answer<'a>(
        &'a self,
        services: &'a Services,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + 'a>> {
        Box::pin(self.answer_question(services, request))
    }
}

/// An answer in a sentence.
fn sentence(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{sentence}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_belongs_to_a_record() {
        let user = StoredUser { user: "12".to_owned(), groups: vec!["5".to_owned(), "70".to_owned()] };
        let verdict = |name| Document::parse(name).map(|document| document.verdict(&user));
        for (name, expected) in [
            ("user-12-short_bio", Some(Verdict::Yes)),
            ("user-13-short_bio", Some(Verdict::No)),
            ("user-1", Some(Verdict::No)),
            ("group-70-description", Some(Verdict::Yes)),
            ("group-7-description", Some(Verdict::No)),
            ("comment-new-12-body", Some(Verdict::Yes)),
            ("group-new-12", Some(Verdict::Yes)),
            ("pollTemplate-new-13", Some(Verdict::No)),
            ("comment-456-body", Some(Verdict::Unknown)),
            ("comment-456", Some(Verdict::Unknown)),
            ("discussionTemplate-1-process_introduction", Some(Verdict::Unknown)),
            ("comment-new", None),
            ("comment-new-", None),
            ("comment-new-x", None),
            ("comment", None),
            ("comment-", None),
            ("comment-x-body", None),
            ("comment-012-body", None),
            ("comment-0-body", None),
            ("Comment-1-body", None),
            ("event-1-body", None),
            ("", None),
        ] {
            assert_eq!(verdict(name), expected, "{name}");
        }
        assert!(TYPES.iter().all(|kind| Document::parse(&format!("{kind}-1-body")).is_some()));
    }
    #[test]
    fn a_question_may_lack_a_member() {
        let question =
            |secret: &str, name: &str| Some(Question { user_secret: secret.into(), document_name: name.into() });
        for (body, expected) in [
            (r#"{"user_secret":"1,a","document_name":"user-1"}"#, question("1,a", "user-1")),
            (r#"{"document_name":"user-1"}"#, question("", "user-1")),
            (r#"{"user_secret":null,"document_name":"user-1"}"#, question("", "user-1")),
            (r#"{"user_secret":"1,a"}"#, question("1,a", "")),
            (r#"{"user_secret":"1,b","user_secret":"1,a","x":[[1e999]]}"#, question("1,a", "")),
            (" {} ", question("", "")),
            (r#"{"user_secret":"1,a\udc00","document_name":"user-1","\ud83d":0}"#, question("1,a\u{fffd}", "user-1")),
            (r#"{"user_secret":1}"#, None),
            (r#"{"user_secret":"1,a","document_name":{}}"#, None),
            (r#"["1,a","user-1"]"#, None),
            ("null", None),
            ("", None),
            (r#"{"user_secret""#, None),
        ] {
            assert_eq!(Question::parse(body.as_bytes()), expected, "{body}");
        }
    }
}
