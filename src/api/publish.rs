//! `POST /api/publish`: one event into one room. `POST /api/broadcast`: many events into many rooms.
//!
//! Always holds: a body that breaks a rule is refused as a whole before anything of it is published. The rules of an
//! event are the model's, the same as for events of clients.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{
    answer::{Answer, ApiCode, ApiError, Failed, ok},
    body::object,
};
use crate::{
    hub::Services,
    model::{Payload, Position, Publication, RawArray, Room, check_length, check_topic, given_id},
    traces::Publisher,
};

/// The most publications times rooms of one broadcast.
const MAX_PUBLICATIONS: usize = 1_000;

/// An event and where it goes. As in the WebSocket protocol, `null` is absent, but `"data":null` is data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    room: Option<Text<'a>>,
    /// Broadcast only.
    #[serde(borrow)]
    rooms: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    topic: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data64: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    idempotency_key: Option<Text<'a>>,
}

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The body of a broadcast.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    publications: RawArray<'a, MAX_PUBLICATIONS>,
}

/// Where an event stands in its room's log.
#[derive(Serialize)]
pub(super) struct At<'a> {
    epoch: &'a str,
    offset: u64,
}

impl<'a> From<&'a Position> for At<'a> {
    fn from(position: &'a Position) -> Self {
        Self { epoch: position.epoch.as_str(), offset: position.offset }
    }
}

/// What became of one event in one room.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Published(At<'a>),
    Failed(Failed<'a>),
}

/// Publishes the event that `body` describes.
///
/// # Errors
/// What is wrong with the body, or what the broker said.
pub(super) async fn publish(services: &Services, publisher: Publisher<'_>, body: &[u8]) -> Result<Answer, ApiError> {
    let (room, publication) = one(body)?;
    Ok(ok(&At::from(&put(services, publisher, &room, publication).await?)))
}

/// Publishes one event.
pub(crate) async fn put(
    services: &Services,
    publisher: Publisher<'_>,
    room: &Room,
    publication: Publication,
) -> Result<Position, ApiError> {
    let traces = services.traces.as_ref();
    let span = traces.and_then(|traces| traces.begin(publisher, room, publication.payload.len()));
    let published = services.broker.publish(room, publication).await;
    if let Some(span) = span {
        span.answered(&published);
    }
    let position = published?;
    services.metrics.events_in.api.increment(1);
    Ok(position)
}

/// Publishes the events that `body` describes, those of one room one after the other, and answers what became of each in each room.
///
/// # Errors
/// What is wrong with the body; nothing is published then.
pub(super) async fn broadcast(services: &Services, publisher: Publisher<'_>, body: &[u8]) -> Result<Answer, ApiError> {
    let results = put_all(services, publisher, many(body)?).await;
    let results: Vec<_> = results
        .iter()
        .map(|result| match result {
            Ok(position) => Outcome::Published(At::from(position)),
            Err(error) => Outcome::Failed(Failed { error }),
        })
        .collect();
    #[derive(Serialize)]
    struct Results<'a> {
        results: Vec<Outcome<'a>>,
    }
    Ok(ok(&Results { results }))
}

/// Publishes events, those of one room one after the other; what became of each in each room.
pub(super) async fn put_all(
    services: &Services,
    publisher: Publisher<'_>,
    publications: Vec<(Vec<Room>, Publication)>,
) -> Vec<Result<Position, ApiError>> {
    let mut each = Vec::new();
    for (mut rooms, publication) in publications {
        let last = rooms.pop();
        each.extend(rooms.into_iter().map(|room| (room, publication.clone())));
        each.extend(last.map(|room| (room, publication)));
    }
    let spans: Vec<_> = services
        .traces
        .iter()
        .flat_map(|traces| {
            each.iter().map(move |(room, publication)| traces.begin(publisher, room, publication.payload.len()))
        })
        .collect();
    let results = services.broker.publish_all(each).await;
    for (span, result) in spans.into_iter().zip(&results) {
        if let Some(span) = span {
            span.answered(result);
        }
    }
    let published = results.iter().filter(|result| result.is_ok()).count();
    services.metrics.events_in.api.increment(published as u64);
    results.into_iter().map(|result| result.map_err(ApiError::from)).collect()
}

fn one(body: &[u8]) -> Result<(Room, Publication), ApiError> {
    let entry: Entry<'_> = object(body, "the body")?;
    if entry.rooms.is_some() {
        return Err(ApiError::bad_request("publish takes one `room`; for several there is /api/broadcast"));
    }
    let room = entry.room.as_ref().ok_or_else(|| ApiError::bad_request("`room` is missing"))?;
    Ok((Room::parse(&room.0)?, entry.publication()?))
}

fn many(body: &[u8]) -> Result<Vec<(Vec<Room>, Publication)>, ApiError> {
    let batch: Batch<'_> = object(body, "the body")?;
    let mut count = 0;
    let mut publications = Vec::with_capacity(batch.publications.0.len());
    for (index, raw) in batch.publications.0.into_iter().enumerate() {
        let place = format_args!("publications[{index}]");
        let within = |error: ApiError| error.within(place);
        let entry: Entry<'_> = object(raw.get().as_bytes(), "an entry").map_err(within)?;
        let rooms = entry.rooms().map_err(within)?;
        count += rooms.len();
        check_count(count).map_err(within)?;
        publications.push((rooms, entry.publication().map_err(within)?));
    }
    Ok(publications)
}

/// Whether a broadcast may have so many events, counted for each room.
pub(super) fn check_count(count: usize) -> Result<(), ApiError> {
    if count <= MAX_PUBLICATIONS {
        return Ok(());
    }
    let message = format!("one broadcast has at most {MAX_PUBLICATIONS} publications, counted for each room");
    Err(ApiError::new(ApiCode::LimitExceeded, message))
}

/// The rooms of an entry that names several.
pub(super) fn several<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Result<Vec<Room>, ApiError> {
    if names.len() == 0 {
        return Err(ApiError::bad_request("`rooms` must not be empty"));
    }
    let parse = |(index, name): (usize, &str)| {
        Room::parse(name).map_err(|error| ApiError::from(error).within(format_args!("rooms[{index}]")))
    };
    names.take(MAX_PUBLICATIONS + 1).enumerate().map(parse).collect()
}

/// An event whose fields keep the rules.
pub(crate) fn event(
    topic: &str,
    payload: Payload,
    key: Option<&str>,
    id: Option<&str>,
    idempotency_key: Option<&str>,
) -> Result<Publication, ApiError> {
    check_topic(topic)?;
    Ok(Publication {
        topic: topic.into(),
        key: bounded("key", key)?,
        payload,
        user: None,
        id: given_id("id", id)?,
        idempotency_key: given_id("idempotency_key", idempotency_key)?.map(Into::into),
    })
}

impl Entry<'_> {
    fn rooms(&self) -> Result<Vec<Room>, ApiError> {
        match (&self.room, &self.rooms) {
            (Some(room), None) => Ok(vec![Room::parse(&room.0)?]),
            (None, Some(rooms)) => several(rooms.iter().map(|room| &*room.0)),
            (Some(_), Some(_)) => Err(ApiError::bad_request("an entry has `room` or `rooms`, not both")),
            (None, None) => Err(ApiError::bad_request("`room` is missing (or `rooms`, for several)")),
        }
    }

    fn publication(self) -> Result<Publication, ApiError> {
        let topic = self.topic.ok_or_else(|| ApiError::bad_request("`topic` is missing"))?;
        let payload = match (self.data, self.data64) {
            (Some(data), None) => Payload::json(data.to_owned())?,
            (None, Some(text)) => {
                let bytes = BASE64_STANDARD.decode(text.0.as_bytes()).map_err(|error| {
                    let rule = "standard alphabet, with padding; RFC 4648 section 4";
                    ApiError::bad_request(format!("`data64` is not base64 ({rule}): {error}"))
                })?;
                Payload::Binary(bytes.into())
            }
            (Some(_), Some(_)) => return Err(ApiError::bad_request("an event has `data` or `data64`, not both")),
            (None, None) => return Err(ApiError::bad_request("`data` is missing (or `data64`, for bytes)")),
        };
        let [key, id, idempotency_key] =
            [&self.key, &self.id, &self.idempotency_key].map(|field| field.as_ref().map(|text| &*text.0));
        event(&topic.0, payload, key, id, idempotency_key)
    }
}

fn bounded(field: &'static str, text: Option<&str>) -> Result<Option<Box<str>>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    check_length(field, text)?;
    Ok(Some(text.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_checked() {
        let (room, publication) =
            one(br#"{"room":"a:\u0031","topic":"t","data":{"x": [1, 2]},"key":"k","id":null}"#).unwrap();
        assert_eq!(room.as_str(), "a:1");
        assert_eq!((publication.key.as_deref(), publication.id), (Some("k"), None));
        assert!(matches!(publication.payload, Payload::Json(raw) if raw.get() == r#"{"x": [1, 2]}"#));
        let (_, null) = one(br#"{"room":"a","topic":"t","data":null,"data64":null}"#).unwrap();
        assert!(matches!(null.payload, Payload::Json(raw) if raw.get() == "null"));
        let (_, empty) = one(br#"{"room":"a","topic":"t","data":"\ud83d","id":"","idempotency_key":""}"#).unwrap();
        assert_eq!((empty.id, empty.idempotency_key), (None, None), "an empty one would swallow all that follow");
        assert!(matches!(empty.payload, Payload::Json(raw) if raw.get() == r#""\ufffd""#));
        for (body, complaint) in [
            (&b"not json"[..], "one JSON object"),
            (br#"["a",null,"t",1]"#, "one JSON object"),
            (br#"{"room":"a","topic":"t","data":1"#, "not understood"),
            (br#"{"room":"a","topic":"t","data":1}{}"#, "trailing characters"),
            (br#"{"topic":"t","data":1}"#, "`room` is missing"),
            (br#"{"rooms":["a"],"topic":"t","data":1}"#, "/api/broadcast"),
            (br#"{"room":5,"topic":"t","data":1}"#, "invalid type"),
            (br#"{"room":"a","room":"b","topic":"t","data":1}"#, "duplicate field"),
            (br#"{"room":"a","data":1}"#, "`topic` is missing"),
            (br#"{"room":"a","topic":"t"}"#, "`data` is missing"),
            (br#"{"room":"a","topic":"t","data":[1e999]}"#, "data holds what parsers refuse"),
            (br#"{"room":"a","topic":"","data":1}"#, "topic must not be empty"),
            (br#"{"room":"a{b}","topic":"t","data":1}"#, "room name"),
            (br#"{"room":"a","topic":"t","data64":"?"}"#, "`data64`"),
            (br#"{"room":"a","topic":"t","data":1,"data64":"AA=="}"#, "not both"),
            (br#"{"room":"a","topic":"t","data":1,"offset":3}"#, "unknown field `offset`"),
        ] {
            let error = one(body).unwrap_err();
            assert!(error.message.contains(complaint), "{}: {}", String::from_utf8_lossy(body), error.message);
        }
    }

    #[test]
    fn a_broadcast_names_what_is_wrong_in_it() {
        let good = r#"{"room":"a","topic":"t","data":1}"#;
        let body = format!(r#"{{"publications":[{good},{{"rooms":["b","c"],"topic":"u","data64":"AA=="}}]}}"#);
        let publications = many(body.as_bytes()).unwrap();
        let shape: Vec<_> = publications.iter().map(|(rooms, p)| (rooms.len(), &*p.topic)).collect();
        assert_eq!(shape, [(1, "t"), (2, "u")]);
        assert!(many(br#"{"publications":[]}"#).unwrap().is_empty());
        for (second, complaint) in [
            ("5", "publications[1]: an entry must be one JSON object"),
            (r#"{"topic":"t","data":1}"#, "publications[1]: `room` is missing"),
            (r#"{"rooms":[],"topic":"t","data":1}"#, "publications[1]: `rooms` must not be empty"),
            (r#"{"rooms":["a","b c"],"topic":"t","data":1}"#, "publications[1]: rooms[1]: a room name"),
            (r#"{"room":"a","rooms":["b"],"topic":"t","data":1}"#, "publications[1]: an entry has `room` or `rooms`"),
        ] {
            let body = format!(r#"{{"publications":[{good},{second}]}}"#);
            let error = many(body.as_bytes()).err().unwrap();
            assert!(error.message.starts_with(complaint), "{second}: {}", error.message);
        }
        let of = |count: usize| format!(r#"{{"publications":[{}]}}"#, vec![good; count].join(","));
        assert_eq!(many(of(1_000).as_bytes()).unwrap().len(), 1_000);
        assert_eq!(many(of(1_001).as_bytes()).err().unwrap().code, ApiCode::LimitExceeded);
        assert_eq!(many(of(3_000).as_bytes()).err().unwrap().code, ApiCode::LimitExceeded);
        let rooms = vec![r#""a""#; 999].join(",");
        let body = format!(r#"{{"publications":[{good},{good},{{"rooms":[{rooms}],"topic":"t","data":1}}]}}"#);
        let error = many(body.as_bytes()).err().unwrap();
        assert!(error.message.starts_with("publications[2]: one broadcast"), "{}", error.message);
    }
}
