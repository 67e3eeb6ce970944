//! `POST /api/publish`: one event into one room.

use std::{borrow::Cow, collections::HashSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::answer::{Answer, ApiError, json};
use crate::{
    broker::Broker,
    model::{Payload, Position, Publication, Room},
};

/// The longest topic, key, id and idempotency key, in bytes.
const MAX_NAME: usize = 255;

/// The body of a publish.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    idempotency_key: Option<Cow<'a, str>>,
}

/// `"data": null` is data: absence alone counts.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Publishes the event that `body` describes.
///
/// # Errors
/// What is wrong with the body, or what the broker said.
pub async fn publish(broker: &dyn Broker, body: &[u8]) -> Result<Answer, ApiError> {
    let (room, publication) = parse(body)?;
    let Position { epoch, offset } = broker.publish(&room, publication).await?;
    Ok(json(StatusCode::OK, serde_json::json!({ "epoch": epoch.as_str(), "offset": offset }).to_string()))
}

fn parse(body: &[u8]) -> Result<(Room, Publication), ApiError> {
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|e| ApiError::bad_request(format!("the body is no publish: {e}; it takes `room`, `topic`, `data` (or `data64`), and optionally `key`, `id`, `idempotency_key`")))?;
    let room = Room::parse(&body.room)?;
    let payload = match (body.data, body.data64) {
        (Some(data), None) => Payload::json(data.to_owned()).map_err(|e| ApiError::bad_request(e.to_string()))?,
        (None, Some(text)) => Payload::Binary(
            BASE64_STANDARD
                .decode(text.as_bytes())
                .map_err(|e| ApiError::bad_request(format!("`data64` is no base64: {e}")))?
                .into(),
        ),
        (Some(_), Some(_)) => return Err(ApiError::bad_request("an event has either `data` or `data64`, not both")),
        (None, None) => return Err(ApiError::bad_request("`data` is missing (or `data64`, for bytes)")),
    };
    let publication = Publication {
        topic: name("topic", &body.topic)?,
        key: body.key.map(|key| name("key", &key)).transpose()?,
        payload,
        user: None,
        id: body.id.map(|id| name("id", &id)).transpose()?,
        idempotency_key: body.idempotency_key.map(|key| name("idempotency_key", &key)).transpose()?,
    };
    Ok((room, publication))
}

fn name(field: &str, text: &str) -> Result<Box<str>, ApiError> {
    if text.is_empty() || text.len() > MAX_NAME {
        return Err(ApiError::bad_request(format!("`{field}` has {} bytes, 1 to {MAX_NAME} are allowed", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(ApiError::bad_request(format!("`{field}` contains a control character")));
    }
    Ok(text.into())
}

/// The keys that may call, compared in constant time for each length.
#[derive(Debug, Clone, Default)]
pub struct Keys(HashSet<String>);

impl Keys {
    /// Keys; empty ones are left out, because they would let in whoever sends none.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().filter(|key| !key.is_empty()).map(str::to_owned).collect())
    }

    /// Whether an `Authorization` header carries one of them. Looks at every key, whichever fits.
    #[must_use]
    pub fn allow(&self, authorization: Option<&[u8]>) -> bool {
        use subtle::{Choice, ConstantTimeEq};
        let Some((scheme, given)) = authorization.and_then(|value| value.split_at_checked(7)) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") || given.is_empty() {
            return false;
        }
        self.0.iter().fold(Choice::from(0), |found, key| found | key.as_bytes().ct_eq(given)).into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_checked() {
        let (room, publication) = parse(br#"{"room":"a:1","topic":"t","data":{"x": [1, 2]},"key":"k"}"#).unwrap();
        assert_eq!(room.as_str(), "a:1");
        assert_eq!(publication.key.as_deref(), Some("k"));
        assert!(matches!(publication.payload, Payload::Json(raw) if raw.get() == r#"{"x": [1, 2]}"#));
        let (_, null) = parse(br#"{"room":"a","topic":"t","data":null}"#).unwrap();
        assert!(matches!(null.payload, Payload::Json(raw) if raw.get() == "null"));
        for (body, complaint) in [
            (&b"not json"[..], "no publish"),
            (br#"{"topic":"t","data":1}"#, "missing field `room`"),
            (br#"{"room":5,"topic":"t","data":1}"#, "invalid type"),
            (br#"{"room":"a","topic":"t"}"#, "`data` is missing"),
            (br#"{"room":"a","topic":"t","data":["\ud800"]}"#, "data holds what parsers refuse"),
            (br#"{"room":"a","topic":"","data":1}"#, "`topic` has 0 bytes"),
            (br#"{"room":"a{b}","topic":"t","data":1}"#, "room name"),
            (br#"{"room":"a","topic":"t","data64":"?"}"#, "`data64`"),
            (br#"{"room":"a","topic":"t","data":1,"data64":"AA=="}"#, "not both"),
            (br#"{"room":"a","topic":"t","data":1,"offset":3}"#, "unknown field `offset`"),
        ] {
            let error = parse(body).unwrap_err();
            assert!(error.message.contains(complaint), "{}: {}", String::from_utf8_lossy(body), error.message);
        }
    }

    #[test]
    fn only_keys_let_in() {
        let keys = Keys::new(["secret", "", "other"]);
        assert!(keys.allow(Some(b"Bearer secret")) && keys.allow(Some(b"bearer other")));
        for bad in [&b"Bearer "[..], b"Bearer secre", b"Bearer secrets", b"Basic secret", b"secret", b""] {
            assert!(!keys.allow(Some(bad)), "{}", String::from_utf8_lossy(bad));
        }
        assert!(!keys.allow(None));
        assert!(!Keys::new([""]).allow(Some(b"Bearer ")));
    }
}
