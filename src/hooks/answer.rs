//! What a backend may answer. Pure.
//!
//! Always holds: an answer that has anything in it that is not known, or not of its type, is no answer. Why not is said
//! without a value of it.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    auth::{self, MAX_USER_BYTES, Object, RoomRight, TokenError},
    model::{ErrorCode, Event, Payload, Room, UnixMillis, check_length, check_topic, whole_number},
};

/// The longest message of a denial, in bytes.
const MAX_MESSAGE_BYTES: usize = 1_024;

/// The longest that an answer is kept.
const MAX_CACHE: Duration = Duration::from_secs(86_400);

/// The most rooms that a connection is put into by an answer.
const MAX_ROOMS: usize = 1_000;

/// The most events of a snapshot.
const MAX_EVENTS: usize = 1_000;

/// The codes that a denial may have. Others would say something that the pod knows better.
const CODES: [ErrorCode; 6] = [
    ErrorCode::Forbidden,
    ErrorCode::Unauthorized,
    ErrorCode::BadRequest,
    ErrorCode::LimitExceeded,
    ErrorCode::RateLimited,
    ErrorCode::NotAvailable,
];

/// What the backend decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<A> {
    /// Yes, with this.
    Allow(A),
    /// No.
    Deny(Denial),
}

/// Why the backend says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The code on the wire.
    pub code: ErrorCode,
    /// What the client is told.
    pub message: String,
}

/// A verdict, and how long it also answers equal questions.
#[derive(Debug, PartialEq)]
pub struct Answered<A> {
    /// The verdict.
    pub verdict: Verdict<A>,
    /// At most a day; zero: it answers one question only.
    pub cache_for: Duration,
}

/// The fields that come with a verdict of yes.
pub trait Allowed: Sized + Send + Sync + 'static {
    /// The fields that it may have.
    const FIELDS: &[&str];
    /// Whether it may also serve equal questions, and for a while. If not, each question is a call of its own, and is given up when
    /// nothing waits for it any more.
    const SHARED: bool = true;

    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, without a value of the answer.
    fn read(answer: &Object<'_>) -> Result<Self, String>;

    /// Until when it is good at most; `None`: it does not end.
    fn until(&self) -> Option<UnixMillis> {
        None
    }
}

/// The identity with which a client connects. A field that is left out stays as the token says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectAnswer {
    /// The user.
    pub user: Option<Arc<str>>,
    /// The rooms that the connection joins without a command.
    pub rooms: Vec<Room>,
    /// The rooms that it may join or publish to, by pattern.
    pub rights: Vec<RoomRight>,
    /// When the connection is closed, unless it has presented a newer token.
    pub expires_at: Option<UnixMillis>,
    /// The methods of the backend that it may call, by pattern.
    pub methods: Vec<Box<str>>,
    /// The claims of the user, a JSON object.
    pub claims: Option<Box<str>>,
}

/// What a new member gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubscribeAnswer {
    /// The newest values of the room, if the room retains none. Their offsets are not set yet.
    pub events: Vec<Event>,
}

/// The event that is published instead. A field that is left out stays as the client sent it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PublishAnswer {
    /// The topic.
    pub topic: Option<Box<str>>,
    /// The key.
    pub key: Option<Box<str>>,
    /// The data.
    pub payload: Option<Payload>,
}

/// What the backend answers to a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RpcAnswer {
    /// What it says, if anything.
    pub data: Option<Payload>,
}

impl<A: Allowed> Answered<A> {
    /// Reads an answer's body.
    ///
    /// # Errors
    /// What is wrong with it, without a value of it.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let answer = Object::parse(body).ok_or("it is no JSON object with each name once")?;
        let allow: bool = field(&answer, "allow", "neither true nor false")?.ok_or("`allow` is missing")?;
        let known: &[&str] = if allow { A::FIELDS } else { &["code", "message"] };
        let is_known = |name: &str| match name {
            "allow" => true,
            "cache_for" => A::SHARED,
            name => known.contains(&name),
        };
        let unknown = answer.names().find(|name| !is_known(name));
        if let Some(name) = unknown {
            let name: String = name.chars().take(80).collect();
            let yes = if allow { "allows" } else { "denies" };
            return Err(format!("an answer that {yes} has no field {name:?}"));
        }
        let cache_for = whole(&answer, "cache_for", "not a whole number of milliseconds")?;
        let verdict = if allow { Verdict::Allow(A::read(&answer)?) } else { Verdict::Deny(denial(&answer)?) };
        Ok(Self { verdict, cache_for: Duration::from_millis(cache_for.unwrap_or_default()).min(MAX_CACHE) })
    }
}

fn denial(answer: &Object<'_>) -> Result<Denial, String> {
    let code = match text(answer, "code")? {
        None => ErrorCode::Forbidden,
        Some(code) => CODES
            .into_iter()
            .find(|known| known.as_str() == code)
            .ok_or_else(|| format!("`code` is none of {}", CODES.map(ErrorCode::as_str).join(", ")))?,
    };
    let message = text(answer, "message")?.unwrap_or_else(|| "the backend does not allow this".to_owned());
    if message.len() > MAX_MESSAGE_BYTES || message.chars().any(char::is_control) {
        return Err(format!("`message` has more than {MAX_MESSAGE_BYTES} bytes, or a control character"));
    }
    Ok(Denial { code, message })
}

impl Allowed for ConnectAnswer {
    const FIELDS: &[&str] = &["user", "rooms", "rights", "methods", "expires_at", "claims"];

    fn read(answer: &Object<'_>) -> Result<Self, String> {
        let user = text(answer, "user")?;
        if user
            .as_ref()
            .is_some_and(|user| user.is_empty() || user.len() > MAX_USER_BYTES || user.chars().any(char::is_control))
        {
            return Err(format!("`user` is empty, longer than {MAX_USER_BYTES} bytes, or has a control character"));
        }
        let rooms: Vec<String> = field(answer, "rooms", "not a list of texts")?.unwrap_or_default();
        if rooms.len() > MAX_ROOMS {
            return Err(format!("`rooms` has more than {MAX_ROOMS} entries"));
        }
        let rooms: Result<_, _> = rooms.iter().map(|room| Room::parse(room)).collect();
        let wrong = |error| match error {
            TokenError::Claim { claim, why } => format!("`{claim}` {why}"),
            other => other.to_string(),
        };
        let rights = auth::room_rights(answer, "rights").map_err(wrong)?;
        let methods = auth::method_patterns(answer, "methods").map_err(wrong)?;
        let expires_at: Option<UnixMillis> = whole(answer, "expires_at", "not a time in milliseconds since 1970")?;
        // 2001 in milliseconds is the year 33,658 in seconds: a smaller number is in seconds.
        if expires_at.is_some_and(|at| at < 1_000_000_000_000) {
            return Err("`expires_at` is in seconds, or long over: it is a time in milliseconds since 1970".to_owned());
        }
        let claims = match answer.get("claims") {
            None => None,
            Some(claims) if claims.get().starts_with('{') => Some(claims.get().into()),
            Some(_) => return Err("`claims` is no object".to_owned()),
        };
        let rooms = rooms.map_err(|_| "`rooms` has an entry that is no room's name".to_owned())?;
        Ok(Self { user: user.map(Into::into), rooms, rights, methods, expires_at, claims })
    }

    fn until(&self) -> Option<UnixMillis> {
        self.expires_at
    }
}

impl Allowed for SubscribeAnswer {
    const FIELDS: &[&str] = &["events"];

    fn read(answer: &Object<'_>) -> Result<Self, String> {
        let events: Vec<&RawValue> = field(answer, "events", "not a list")?.unwrap_or_default();
        if events.len() > MAX_EVENTS {
            return Err(format!("`events` has more than {MAX_EVENTS} entries"));
        }
        let read = |event: &RawValue| {
            let event = Object::parse(event.get().as_bytes()).ok_or("it is no object with each name once")?;
            if let Some(name) =
                event.names().find(|name| !matches!(*name, "topic" | "key" | "data" | "data64" | "time"))
            {
                return Err(format!("it has no field {:?}", name.chars().take(80).collect::<String>()));
            }
            let topic = topic(&event)?.ok_or("`topic` is missing")?;
            let payload = payload(&event)?.ok_or("`data` is missing")?;
            let time = field(&event, "time", "not a time in milliseconds since 1970")?.unwrap_or_default();
            Ok(Event { offset: 0, time, room: None, topic, key: key(&event)?, payload, user: None, id: None })
        };
        let events = events
            .into_iter()
            .enumerate()
            .map(|(at, event)| read(event).map_err(|why: String| format!("`events`, entry {at}: {why}")));
        Ok(Self { events: events.collect::<Result<_, _>>()? })
    }
}

impl Allowed for PublishAnswer {
    const FIELDS: &[&str] = &["topic", "key", "data", "data64"];

    fn read(answer: &Object<'_>) -> Result<Self, String> {
        Ok(Self { topic: topic(answer)?, key: key(answer)?, payload: payload(answer)? })
    }
}

impl Allowed for RpcAnswer {
    const FIELDS: &[&str] = &["data", "data64"];
    const SHARED: bool = false;

    fn read(answer: &Object<'_>) -> Result<Self, String> {
        Ok(Self { data: payload(answer)? })
    }
}

/// A field's value, if it is there; `why_not` says what it is when it is not of its type.
fn field<'a, T: Deserialize<'a>>(object: &Object<'a>, name: &str, why_not: &str) -> Result<Option<T>, String> {
    let Some(value) = object.get(name) else { return Ok(None) };
    serde_json::from_str(value.get()).map(Some).map_err(|_| format!("`{name}` is {why_not}"))
}

fn whole(object: &Object<'_>, name: &str, why_not: &str) -> Result<Option<u64>, String> {
    let Some(value) = object.get(name) else { return Ok(None) };
    whole_number(value.get()).map(Some).ok_or_else(|| format!("`{name}` is {why_not}"))
}

fn text(object: &Object<'_>, name: &str) -> Result<Option<String>, String> {
    field(object, name, "not a text")
}

fn topic(object: &Object<'_>) -> Result<Option<Box<str>>, String> {
    let Some(topic) = text(object, "topic")? else { return Ok(None) };
    check_topic(&topic).map_err(|error| error.to_string())?;
    Ok(Some(topic.into()))
}

fn key(object: &Object<'_>) -> Result<Option<Box<str>>, String> {
    let Some(key) = text(object, "key")? else { return Ok(None) };
    check_length("key", &key).map_err(|error| error.to_string())?;
    Ok(Some(key.into()))
}

/// `data` as it is written, `null` included, or `data64`.
fn payload(object: &Object<'_>) -> Result<Option<Payload>, String> {
    match (object.value("data"), text(object, "data64")?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("`data` and `data64` are both there".to_owned()),
        (Some(data), None) => Payload::json(data.to_owned()).map(Some).map_err(|error| error.to_string()),
        (None, Some(data)) => match BASE64_STANDARD.decode(data) {
            Ok(bytes) => Ok(Some(Payload::Binary(bytes.into()))),
            Err(_) => Err("`data64` is not base64 with padding".to_owned()),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn connect(body: &str) -> Result<Answered<ConnectAnswer>, String> {
        Answered::read(body.as_bytes())
    }

    #[test]
    fn verdicts_are_read() {
        let plain = connect(r#"{"allow":true}"#).unwrap();
        assert_eq!(plain, Answered { verdict: Verdict::Allow(ConnectAnswer::default()), cache_for: Duration::ZERO });
        let full = r#"{"allow":true,"user":"ann","rooms":["news"],"rights":["a:*",{"room":"b","rights":["publish"]}],
            "expires_at":1790000000000,"claims":{"role":"presenter"},"cache_for":5000}"#;
        let Answered { verdict: Verdict::Allow(answer), cache_for } = connect(full).unwrap() else { panic!("denied") };
        assert_eq!((answer.user.as_deref(), answer.expires_at), (Some("ann"), Some(1_790_000_000_000)));
        assert_eq!((answer.rooms[0].as_str(), answer.rights.len()), ("news", 2));
        assert!(!answer.rights[1].join && answer.rights[1].publish);
        assert_eq!((answer.claims.as_deref(), cache_for), (Some(r#"{"role":"presenter"}"#), Duration::from_secs(5)));
        let pointed = connect(r#"{"allow":true,"expires_at":1.79e12,"cache_for":5000.0}"#).unwrap();
        assert_eq!(pointed.cache_for, Duration::from_secs(5), "a whole number, however it is written");
        let Verdict::Allow(until) = pointed.verdict else { panic!("denied") };
        assert_eq!(until.expires_at, Some(1_790_000_000_000));
        let denied =
            connect(r#"{"allow":false,"code":"rate_limited","message":"later","cache_for":99999999999}"#).unwrap();
        let denial = Denial { code: ErrorCode::RateLimited, message: "later".to_owned() };
        assert_eq!((denied.verdict, denied.cache_for), (Verdict::Deny(denial), MAX_CACHE));
        let Verdict::Deny(plain) = connect(r#"{"allow":false}"#).unwrap().verdict else { panic!("allowed") };
        assert_eq!((plain.code, plain.message.is_empty()), (ErrorCode::Forbidden, false));
    }

    #[test]
    fn what_is_not_known_is_no_answer_and_is_said_without_its_values() {
        for (body, complaint) in [
            ("", "no JSON object"),
            ("true", "no JSON object"),
            (r#"{"allow":true,"allow":false}"#, "each name once"),
            ("{}", "`allow` is missing"),
            (r#"{"allow":"s3cret"}"#, "`allow` is neither true nor false"),
            (r#"{"allow":true,"expire_at":1}"#, r#"an answer that allows has no field "expire_at""#),
            (r#"{"allow":true,"code":"forbidden"}"#, r#"no field "code""#),
            (r#"{"allow":false,"user":"s3cret"}"#, r#"an answer that denies has no field "user""#),
            (r#"{"allow":false,"code":"s3cret"}"#, "`code` is none of forbidden, unauthorized"),
            (r#"{"allow":false,"message":"s3cret\n"}"#, "control character"),
            (r#"{"allow":true,"user":7}"#, "`user` is not a text"),
            (r#"{"allow":true,"user":""}"#, "`user` is empty"),
            (r#"{"allow":true,"rooms":["s3cret room"]}"#, "no room's name"),
            (r#"{"allow":true,"rights":["a b"]}"#, "`rights` has an entry"),
            (r#"{"allow":true,"expires_at":1790000000}"#, "milliseconds"),
            (r#"{"allow":true,"claims":"s3cret"}"#, "`claims` is no object"),
            (r#"{"allow":true,"cache_for":"30s"}"#, "`cache_for` is not a whole number of milliseconds"),
            (r#"{"allow":true,"cache_for":-1}"#, "`cache_for`"),
            (r#"{"allow":true,"cache_for":1.5}"#, "`cache_for`"),
        ] {
            let why = connect(body).unwrap_err();
            assert!(why.contains(complaint) && !why.contains("s3cret"), "{body}: {why}");
        }
    }

    #[test]
    fn the_answer_to_a_call_is_never_kept() {
        let read = |body: &str| Answered::<RpcAnswer>::read(body.as_bytes());
        let Verdict::Allow(answer) = read(r#"{"allow":true,"data":[ 1 ]}"#).unwrap().verdict else { panic!("denied") };
        assert!(matches!(&answer.data, Some(Payload::Json(raw)) if raw.get() == "[ 1 ]"));
        let plain = Answered { verdict: Verdict::Allow(RpcAnswer::default()), cache_for: Duration::ZERO };
        assert_eq!(read(r#"{"allow":true}"#), Ok(plain));
        assert!(read(r#"{"allow":true,"cache_for":5}"#).unwrap_err().contains("no field \"cache_for\""));
    }

    #[test]
    fn events_are_a_publishers_own_bytes() {
        let read = |body: &str| Answered::<SubscribeAnswer>::read(body.as_bytes());
        let body = r#"{"allow":true,"events":[{"topic":"poll","key":"9","data":{ "n": 1.0 },"time":5},{"topic":"b","data64":"AQI="}]}"#;
        let Verdict::Allow(answer) = read(body).unwrap().verdict else { panic!("denied") };
        let [first, second] = &answer.events[..] else { panic!("{answer:?}") };
        assert!(matches!(&first.payload, Payload::Json(raw) if raw.get() == r#"{ "n": 1.0 }"#));
        assert_eq!((first.key.as_deref(), first.time), (Some("9"), 5));
        assert_eq!(second.payload, Payload::Binary(vec![1, 2].into()));
        for (event, complaint) in [
            (r#"{"data":1}"#, "entry 0: `topic` is missing"),
            (r#"{"topic":"a"}"#, "`data` is missing"),
            (r#"{"topic":"","data":1}"#, "topic must not be empty"),
            (r#"{"topic":"a","data":1,"data64":""}"#, "both"),
            (r#"{"topic":"a","data64":"?"}"#, "base64"),
            (r#"{"topic":"a","data":1,"offset":1}"#, "offset"),
            ("7", "no object"),
        ] {
            let why = read(&format!(r#"{{"allow":true,"events":[{event}]}}"#)).unwrap_err();
            assert!(why.contains(complaint), "{event}: {why}");
        }
    }

    #[test]
    fn what_is_published_instead_may_be_a_part() {
        let read = |body: &str| Answered::<PublishAnswer>::read(body.as_bytes()).map(|answered| answered.verdict);
        assert_eq!(read(r#"{"allow":true}"#), Ok(Verdict::Allow(PublishAnswer::default())));
        let Ok(Verdict::Allow(answer)) = read(r#"{"allow":true,"topic":"clean","data":null}"#) else { panic!() };
        assert_eq!(answer.topic.as_deref(), Some("clean"));
        assert!(matches!(answer.payload, Some(Payload::Json(raw)) if raw.get() == "null"), "null is data, too");
        assert!(read(&format!(r#"{{"allow":true,"topic":"{}"}}"#, "x".repeat(256))).is_err());
    }
}
