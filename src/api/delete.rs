//! `POST /api/rooms/{room}/delete`: deletes one event of a room.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    answer::{Answer, ApiCode, ApiError, ok},
    body::object,
    publish::At,
};
use crate::{
    hub::{DeleteError, EventAt, EventDeletion, Services},
    model::{ArchiveMode, Epoch, MAX_OFFSET, Offset, Position, Retain, Room, whole_number},
};

/// `POST /api/rooms/{room}/delete`.
pub(super) async fn delete(services: &Services, room: Room, body: &[u8]) -> Result<Answer, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        offset: &'a RawValue,
        #[serde(borrow)]
        epoch: Option<Cow<'a, str>>,
    }
    #[derive(Serialize)]
    struct Deleted<'a> {
        room: &'a Room,
        offset: Offset,
        /// Where the room's members are told.
        position: At<'a>,
    }
    let Body { offset, epoch } = object(body, "the body")?;
    let offset = whole_number(offset.get()).filter(|offset| (1..=MAX_OFFSET).contains(offset));
    let offset =
        offset.ok_or_else(|| ApiError::bad_request(format!("`offset` must be an integer from 1 to {MAX_OFFSET}")))?;
    if epoch.as_ref().is_some_and(|epoch| epoch.is_empty()) {
        return Err(ApiError::bad_request("`epoch` must not be empty: leave it out for the room's own"));
    }
    let epoch = epoch.map(|epoch| Epoch::new(&epoch));
    let position = one(services, room.clone(), epoch, offset).await?;
    Ok(ok(&Deleted { room: &room, offset, position: At::from(&position) }))
}

/// Deletes an event. Where that is told.
async fn one(services: &Services, room: Room, epoch: Option<Epoch>, offset: Offset) -> Result<Position, ApiError> {
    let policy = services.policy(&room);
    if policy.history_size == 0 && policy.retain == Retain::None && policy.archive == ArchiveMode::Off {
        return Err(ApiError::new(ApiCode::NotAvailable, format!("{room} keeps no events")));
    }
    EventDeletion(services).delete(EventAt { room, epoch, offset }, None).await.map_err(|error| match error {
        DeleteError::Broker(error) => error.into(),
        error => ApiError::new(ApiCode::NotFound, error.to_string()),
    })
}
