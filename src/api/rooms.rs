//! Rooms: who is in them, where they stand, what happened in them.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    answer::{Answer, ApiCode, ApiError, ok},
    target::Query,
};
use crate::{
    broker::{History, HistoryQuery},
    hub::Services,
    model::{Epoch, Event, MAX_OFFSET, Member, Payload, PresenceMode, Room, Since},
};

/// The most events of one answer, and as many as are sent if nobody says.
const MAX_EVENTS: usize = 1_000;

/// The most bytes of data of one answer.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The most members of one answer, and as many as are sent if nobody says.
const MAX_MEMBERS: usize = 1_000;

/// An event as the WebSocket protocol spells it.
#[derive(Serialize)]
struct Past<'a> {
    offset: u64,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data64: Option<String>,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> From<&'a Event> for Past<'a> {
    fn from(event: &'a Event) -> Self {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let (data, data64) = match &event.payload {
            Payload::Json(data) => (Some(&**data), None),
            Payload::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
        };
        let Event { offset, time, topic, key, payload: _, user, id } = event;
        Self {
            offset: *offset,
            topic,
            key: key.as_deref(),
            data,
            data64,
            time: *time,
            user: user.as_deref(),
            id: id.as_deref(),
        }
    }
}

/// `GET /api/rooms/{room}/history`: what followed a position, or the newest events.
pub(super) async fn history(services: &Services, room: &Room, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        room: &'a Room,
        epoch: &'a str,
        after: u64,
        offset: u64,
        end: u64,
        complete: bool,
        events: Vec<Past<'a>>,
    }
    if services.policy(room).history_size == 0 {
        return Err(ApiError::new(ApiCode::NotAvailable, format!("{room} keeps no history")));
    }
    let since = match (query.text("epoch"), query.number("offset", 0..=MAX_OFFSET)?) {
        (Some(epoch), Some(offset)) => Some(Since { epoch: Epoch::new(epoch), offset }),
        (None, None) => None,
        _ => {
            return Err(ApiError::bad_request(
                "a position is `epoch` and `offset`, both; without it the newest events come",
            ));
        }
    };
    let max_events = query.number("limit", 0..=MAX_EVENTS)?.unwrap_or(MAX_EVENTS);
    let query = HistoryQuery { since, until: None, max_events, max_bytes: MAX_EVENT_BYTES };
    let History { epoch, after, offset, end, complete, events } = services.broker.history(room, query).await?;
    let events = events.iter().map(|event| Past::from(&**event)).collect();
    Ok(ok(&Body { room, epoch: epoch.as_str(), after, offset, end, complete, events }))
}

/// `GET /api/rooms/{room}/presence`: some or all of the members, and how many there are.
pub(super) async fn presence(services: &Services, room: &Room, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        room: &'a Room,
        members: &'a [Member],
        total: usize,
    }
    if services.policy(room).presence == PresenceMode::Off {
        return Err(ApiError::new(ApiCode::NotAvailable, format!("presence is switched off for {room}")));
    }
    let limit = query.number("limit", 0..=MAX_MEMBERS)?.unwrap_or(MAX_MEMBERS);
    let list = services.presence.list(room, limit).await?;
    Ok(ok(&Body { room, members: &list.members, total: list.total }))
}
