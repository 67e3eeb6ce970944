//! Connections, one by one or all of a user: what they are, and what a backend may do to them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    answer::{Answer, ApiCode, ApiError, ok},
    body::object,
    scope::{AllPods, is_of_fleet},
    target::Query,
};
use crate::{
    hub::{FleetList, FleetLists, Ordered, Services, UserErasure},
    model::{Act, ConnectionQuery, Disconnect, ListedConnection, Order, PodList, Room, Target, whole_number},
    session::ConnectionId,
};

/// The most connections of one answer.
const MAX_CONNECTIONS: usize = 1_000;

/// The default of `limit`.
const DEFAULT_CONNECTIONS: usize = 100;

/// The closes that a backend may ask for: one for each thing that a client can do next.
const CLOSES: [Disconnect; 3] = [Disconnect::Restart, Disconnect::Unauthorized, Disconnect::Disconnected];

/// How long a client may be given to present a newer token, in milliseconds; and the default.
const REFRESH_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
const DEFAULT_REFRESH_MS: u64 = 30_000;

/// A page of connections.
#[derive(Serialize)]
struct Page {
    #[serde(flatten)]
    fleet: Option<AllPods>,
    connections: Vec<ListedConnection>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /api/connections`, and `GET /api/users/{user}` with that user.
pub(super) async fn list(services: &Services, user: Option<&str>, query: &Query) -> Result<Answer, ApiError> {
    let after = query.text("after").map(|text| text.parse::<ConnectionId>()).transpose();
    let after = after.map_err(|error| ApiError::bad_request(error.to_string()).within("`after`"))?;
    let wanted = ConnectionQuery {
        named: None,
        user: user.or(query.text("user")).map(Into::into),
        room: query.text("room").map(Room::parse).transpose()?,
        after: after.map(|id| id.0),
        limit: query.number("limit", 1..=MAX_CONNECTIONS)?.unwrap_or(DEFAULT_CONNECTIONS),
    };
    let lists = FleetLists(services);
    let (fleet, PodList { entries: connections, total, more }) = if is_of_fleet(query)? {
        let FleetList { list, pods, silent } = lists.fleet_connections(&wanted).await?;
        (Some(AllPods::new(pods, silent)), list)
    } else {
        (None, lists.connections(&wanted).await?)
    };
    let next = connections.last().filter(|_| more).map(|connection| connection.id.clone());
    Ok(ok(&Page { fleet, connections, total, next }))
}

/// `GET /api/connections/{id}`.
pub(super) async fn detail(services: &Services, id: &str, query: &Query) -> Result<Answer, ApiError> {
    let wanted = ConnectionQuery { named: Some(id.into()), limit: 1, ..ConnectionQuery::default() };
    let lists = FleetLists(services);
    let found = if is_of_fleet(query)? {
        // A name that no connection can have is on no other pod either.
        check(id).map_err(|()| nowhere(id))?;
        let FleetList { list, pods, silent } = lists.fleet_connections(&wanted).await?;
        list.entries.into_iter().next().ok_or_else(|| missing(id, pods, silent.len()))?
    } else {
        let unknown = || ApiError::new(ApiCode::NotFound, format!("this pod has no connection {id:?}"));
        check(id).map_err(|()| unknown())?;
        lists.connections(&wanted).await?.entries.into_iter().next().ok_or_else(unknown)?
    };
    Ok(ok(&found))
}

/// The close that a body asks for.
pub(super) fn disconnect(body: &[u8]) -> Result<Act, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        code: Option<&'a RawValue>,
    }
    let Body { code } = object(body, "the body")?;
    let whole = |code: &RawValue| {
        let code = whole_number(code.get()).and_then(|code| u32::try_from(code).ok());
        code.ok_or_else(|| ApiError::bad_request("`code` must be a close code, a whole number"))
    };
    close(code.map(whole).transpose()?)
}

/// The close of that code; [`Disconnect::Disconnected`] if none is named.
pub(super) fn close(code: Option<u32>) -> Result<Act, ApiError> {
    let Some(code) = code else { return Ok(Act::Disconnect(Disconnect::Disconnected)) };
    let close = CLOSES.into_iter().find(|close| u32::from(close.code()) == code);
    let allowed = CLOSES.map(|close| close.code().to_string()).join(", ");
    close
        .map(Act::Disconnect)
        .ok_or_else(|| ApiError::bad_request(format!("`code` must be one of {allowed}, not {code}")))
}

/// The time for a newer token that a body asks for.
pub(super) fn refresh(body: &[u8]) -> Result<Act, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        within_ms: Option<&'a RawValue>,
    }
    let Body { within_ms } = object(body, "the body")?;
    let Some(within_ms) = within_ms else { return Ok(Act::Refresh(DEFAULT_REFRESH_MS)) };
    let whole = whole_number(within_ms.get()).filter(|within_ms| REFRESH_MS.contains(within_ms));
    let (least, most) = (REFRESH_MS.start(), REFRESH_MS.end());
    let message = || format!("`within_ms` must be a whole number from {least} to {most}");
    whole.map(Act::Refresh).ok_or_else(|| ApiError::bad_request(message()))
}

pub(super) fn subscribe(body: &[u8]) -> Result<Act, ApiError> {
    room(body).map(Act::Subscribe)
}

pub(super) fn unsubscribe(body: &[u8]) -> Result<Act, ApiError> {
    room(body).map(Act::Unsubscribe)
}

fn room(body: &[u8]) -> Result<Room, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        room: Cow<'a, str>,
    }
    let body: Body<'_> = object(body, "the body")?;
    Ok(Room::parse(&body.room)?)
}

/// To how many connections something was done.
#[derive(Serialize)]
pub(super) struct Affected {
    scope: &'static str,
    /// Of all pods that answered.
    pub(super) connections: usize,
    /// How many pods answered.
    pub(super) pods: usize,
    /// The pods that did not answer in time: whether it was done there is not known.
    pub(super) silent: Vec<String>,
}

impl From<Ordered> for Affected {
    fn from(ordered: Ordered) -> Self {
        let Ordered { connections, pods, silent } = ordered;
        Self { scope: "fleet", connections: connections.unwrap_or_default(), pods, silent }
    }
}

/// Does something to one connection, wherever in the fleet it is.
pub(super) async fn to_connection(services: &Services, id: &str, act: Act) -> Result<Affected, ApiError> {
    // A name that no connection can have is on no other pod either.
    check(id).map_err(|()| nowhere(id))?;
    let ordered = services.order(Order { target: Target::Connection(id.into()), act }).await?;
    match ordered.connections {
        None => Err(missing(id, ordered.pods, ordered.silent.len())),
        Some(_) => Ok(Affected::from(ordered)),
    }
}

/// Does something to all connections that a user has, on every pod.
pub(super) async fn to_user(services: &Services, user: &str, act: Act) -> Result<Affected, ApiError> {
    let ordered = services.order(Order { target: Target::User(user.into()), act }).await?;
    Ok(Affected::from(ordered))
}

/// `DELETE /api/users/{user}`: all that is kept under the user's name.
pub(super) async fn erase(services: &Services, user: &str) -> Result<Affected, ApiError> {
    Ok(Affected::from(UserErasure(services).erase(user).await?))
}

/// Whether a connection can have that name, or a Socket.IO client that `socket.id`.
fn check(id: &str) -> Result<(), ()> {
    let socket_id =
        id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if socket_id || id.parse::<ConnectionId>().is_ok() { Ok(()) } else { Err(()) }
}

fn nowhere(id: &str) -> ApiError {
    ApiError::new(ApiCode::NotFound, format!("no pod has a connection {id:?}"))
}

/// A connection that is on none of the pods that answered.
fn missing(id: &str, answered: usize, silent: usize) -> ApiError {
    if silent == 0 {
        return nowhere(id);
    }
    let message = format!("none of the {answered} pods that answered has it, and {silent} did not answer in time");
    ApiError::new(ApiCode::Unknown, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        for body in [r#"{"code":4001}"#, r#"{"code":4001.0}"#, r#"{"code":4.001e3}"#] {
            assert!(matches!(disconnect(body.as_bytes()), Ok(Act::Disconnect(Disconnect::Unauthorized))), "{body}");
        }
        for body in [r#"{"within_ms":2000}"#, r#"{"within_ms":2000.0}"#, r#"{"within_ms":2e3}"#] {
            assert!(matches!(refresh(body.as_bytes()), Ok(Act::Refresh(2_000))), "{body}");
        }
        assert!(matches!(refresh(br#"{"within_ms":null}"#), Ok(Act::Refresh(DEFAULT_REFRESH_MS))));
        for body in [r#"{"code":4001.5}"#, r#"{"code":"4001"}"#, r#"{"code":-4001.0}"#, r#"{"code":4294971297}"#] {
            assert!(disconnect(body.as_bytes()).is_err(), "{body}");
        }
        for body in [r#"{"within_ms":1500.5}"#, r#"{"within_ms":"2000"}"#, r#"{"within_ms":1e99}"#] {
            assert!(refresh(body.as_bytes()).is_err(), "{body}");
        }
    }
}
