//! What users have not read.
//!
//! A user is its name: one that has never acknowledged anything has nothing, which is no error.

use serde::Serialize;

use super::{
    answer::{Answer, ApiCode, ApiError, ok},
    target::Query,
};
use crate::{
    hub::Services,
    model::{AckMode, Room, Unread},
};

/// The most rooms that a call may name.
const MAX_ROOMS: usize = 1_024;

/// `GET /api/users/{user}/unread`: the rooms in which a user has acknowledged, and those that are named.
pub(super) async fn unread(services: &Services, user: &str, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        user: &'a str,
        rooms: Vec<ReadRoom<'a>>,
    }
    #[derive(Serialize)]
    struct ReadRoom<'a> {
        room: &'a Room,
        epoch: &'a str,
        offset: u64,
        end: u64,
        unread: u64,
    }
    let count = count_unread(services, user, &named(query)?).await?;
    let rooms = count.iter().map(|unread| ReadRoom {
        room: &unread.room,
        epoch: unread.read.epoch.as_str(),
        offset: unread.read.offset,
        end: unread.end,
        unread: unread.count(),
    });
    Ok(ok(&Body { user, rooms: rooms.collect() }))
}

/// How much a user has not read, of these rooms too.
pub(super) async fn count_unread(services: &Services, user: &str, rooms: &[Room]) -> Result<Vec<Unread>, ApiError> {
    if rooms.len() > MAX_ROOMS {
        return Err(ApiError::new(ApiCode::LimitExceeded, format!("`rooms` has at most {MAX_ROOMS} names")));
    }
    if let Some(room) = rooms.iter().find(|room| services.policy(room).acks == AckMode::Off) {
        let message = format!("it is not kept what users have read in {room}: `acks` of its policy is off");
        return Err(ApiError::new(ApiCode::NotAvailable, message));
    }
    Ok(services.unread(user, rooms.to_vec(), |_, _| true).await?)
}

/// The rooms of the query, with spaces between them, which no room's name has.
fn named(query: &Query) -> Result<Vec<Room>, ApiError> {
    let names = query.text("rooms").unwrap_or_default().split(' ').filter(|name| !name.is_empty());
    names
        .map(|name| Room::parse(name).map_err(|error| ApiError::from(error).within(format_args!("`rooms`: {name}"))))
        .collect()
}
