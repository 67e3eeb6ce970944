//! Rooms: their members, their positions, their history.
//!
//! A room is its name: a room that was never used is an empty one, not an error.

use std::sync::Arc;

use serde::Serialize;

use super::{
    answer::{Answer, ApiCode, ApiError, ok},
    publish::At,
    scope::{AllPods, is_of_fleet},
    target::Query,
};
use crate::{
    broker::{History, HistoryQuery},
    hub::{ConnectionFilter, FleetList, FleetLists, Services, Worker},
    model::{
        Access, Conflate, DataFields, Delivery, Epoch, Event, MAX_OFFSET, Member, MemberCount, Policy, Position,
        PresenceList, PresenceMode, Retain, Room, RoomQuery, Since, SlowReceiver,
    },
};

/// The most events of one answer, and the default of `limit`.
pub(super) const MAX_EVENTS: usize = 1_000;

/// The most bytes of data of one answer.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The most members of one answer, and the default of `limit`.
pub(super) const MAX_MEMBERS: usize = 1_000;

/// The most rooms of one answer.
const MAX_ROOMS: usize = 1_000;

/// The default of `limit`.
const DEFAULT_ROOMS: usize = 100;

/// `GET /api/rooms`: the rooms with members on this pod or on all, by name.
pub(super) async fn list(services: &Services, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(flatten)]
        fleet: Option<AllPods>,
        rooms: &'a [MemberCount],
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a Room>,
    }
    let wanted = RoomQuery {
        named: None,
        prefix: query.text("prefix").unwrap_or_default().into(),
        after: query.text("after").map(Into::into),
        limit: query.number("limit", 1..=MAX_ROOMS)?.unwrap_or(DEFAULT_ROOMS),
    };
    let lists = FleetLists(services);
    let (fleet, list) = if is_of_fleet(query)? {
        let FleetList { list, pods, silent } = lists.fleet_rooms(&wanted).await?;
        (Some(AllPods::new(pods, silent)), list)
    } else {
        (None, lists.rooms(&wanted).await?)
    };
    let next = list.entries.last().filter(|_| list.more).map(|count| &count.room);
    Ok(ok(&Body { fleet, rooms: &list.entries, next }))
}

/// Where a room's log ends.
async fn end(services: &Services, room: &Room) -> Result<Position, ApiError> {
    let query = HistoryQuery { since: None, until: None, max_events: 0, max_bytes: 0 };
    let History { epoch, end, .. } = services.broker.history(room, query).await?;
    Ok(Position::new(epoch, end))
}

/// What of a policy says how to deal with a room.
#[derive(Serialize)]
struct Rules {
    batch_window_ms: u64,
    conflate: Conflate,
    retain: Retain,
    history_size: usize,
    presence: PresenceMode,
    join: Access,
    publish: Access,
    slow: SlowReceiver,
    delivery: Delivery,
}

impl From<&Policy> for Rules {
    fn from(policy: &Policy) -> Self {
        Self {
            batch_window_ms: u64::try_from(policy.batch_window.as_millis()).unwrap_or(u64::MAX),
            conflate: policy.conflate,
            retain: policy.retain,
            history_size: policy.history_size,
            presence: policy.presence,
            join: policy.join,
            publish: policy.publish,
            slow: policy.slow,
            delivery: policy.delivery,
        }
    }
}

/// `GET /api/rooms/{room}`: members on this pod or on all, the end of the log, the policy.
pub(super) async fn detail(services: &Services, room: &Room, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(flatten)]
        fleet: Option<AllPods>,
        room: &'a Room,
        members: usize,
        position: At<'a>,
        policy: Rules,
    }
    let lists = FleetLists(services);
    let wanted = RoomQuery { named: Some(room.clone()), limit: 1, ..RoomQuery::default() };
    let (fleet, list) = if is_of_fleet(query)? {
        let FleetList { list, pods, silent } = lists.fleet_rooms(&wanted).await?;
        (Some(AllPods::new(pods, silent)), list)
    } else {
        (None, lists.rooms(&wanted).await?)
    };
    let members = list.entries.iter().map(|count| count.members).sum();
    let position = end(services, room).await?;
    let policy = Rules::from(&*services.policy(room));
    Ok(ok(&Body { fleet, room, members, position: At::from(&position), policy }))
}

/// `DELETE /api/rooms/{room}`: its log, its retained values, its position.
pub(super) async fn forget(services: &Services, room: &Room) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        room: &'a Room,
        deleted: bool,
    }
    if let Some(log) = services.policy(room).log_of(room) {
        let message =
            format!("{room} has no log of its own: its events are in that of {log}, with those of other rooms");
        return Err(ApiError::new(ApiCode::NotAvailable, message));
    }
    Ok(ok(&Body { room, deleted: services.erasure.forget_room(room).await? }))
}

/// An event as the WebSocket protocol spells it.
#[derive(Serialize)]
struct Past<'a> {
    offset: u64,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(flatten)]
    data: DataFields<'a>,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> From<&'a Event> for Past<'a> {
    fn from(event: &'a Event) -> Self {
        let Event { offset, time, room: _, topic, key, payload, user, id } = event;
        Self {
            offset: *offset,
            topic,
            key: key.as_deref(),
            data: payload.into(),
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
    let (epoch, offset) = (query.text("epoch"), query.number("offset", 0..=MAX_OFFSET)?);
    let max_events = query.number("limit", 0..=MAX_EVENTS)?.unwrap_or(MAX_EVENTS);
    let History { epoch, after, offset, end, complete, events } =
        past(services, room, epoch, offset, max_events).await?;
    let events = events.iter().map(|event| Past::from(&**event)).collect();
    Ok(ok(&Body { room, epoch: epoch.as_str(), after, offset, end, complete, events }))
}

/// Past events of a room: what followed a position, whose epoch is the log's own if none is given, or the newest.
pub(super) async fn past(
    services: &Services,
    room: &Room,
    epoch: Option<&str>,
    offset: Option<u64>,
    max_events: usize,
) -> Result<History, ApiError> {
    if services.policy(room).history_size == 0 {
        return Err(ApiError::new(ApiCode::NotAvailable, format!("{room} keeps no history")));
    }
    let since = match (epoch, offset) {
        (None, None) => None,
        (None, Some(offset)) => Some(Since { epoch: end(services, room).await?.epoch, offset }),
        (Some(epoch), offset) => Some(Since { epoch: Epoch::new(epoch), offset: offset.unwrap_or(0) }),
    };
    let query = HistoryQuery { since, until: None, max_events, max_bytes: MAX_EVENT_BYTES };
    Ok(services.broker.history(room, query).await?)
}

/// `GET /api/rooms/{room}/presence`: some or all of the members, and how many there are.
pub(super) async fn presence(services: &Services, room: &Room, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        room: &'a Room,
        members: &'a [Member],
        total: usize,
    }
    let limit = query.number("limit", 0..=MAX_MEMBERS)?.unwrap_or(MAX_MEMBERS);
    let list = present(services, room, limit).await?;
    Ok(ok(&Body { room, members: &list.members, total: list.total }))
}

/// At most `limit` members of a room, and how many there are.
pub(super) async fn present(services: &Services, room: &Room, limit: usize) -> Result<PresenceList, ApiError> {
    if services.policy(room).presence == PresenceMode::Off {
        return Err(ApiError::new(ApiCode::NotAvailable, format!("presence is switched off for {room}")));
    }
    Ok(services.presence.list(room, limit).await?)
}

/// As [`count`], but without the connections of a user; of a room that knows presence, those among its first [`MAX_MEMBERS`].
pub(crate) async fn count_others(services: &Services, room: &Room, user: &str) -> Result<usize, ApiError> {
    if services.policy(room).presence != PresenceMode::Off {
        let list = services.presence.list(room, MAX_MEMBERS).await?;
        let own = list.members.iter().filter(|member| member.user.as_deref() == Some(user)).count();
        return Ok(list.total.saturating_sub(own));
    }
    let (asked, user) = (room.clone(), Arc::from(user));
    let filter = ConnectionFilter { room: Some(room.clone()), user: Some(user), after: None, limit: 0 };
    let others = move |worker: &mut Worker| {
        let members = worker.inspect_room(&asked).map_or(0, |detail| detail.members);
        members.saturating_sub(worker.list_connections(&filter).total)
    };
    Ok(services.queues.ask_all(others).await?.into_iter().sum())
}

/// How many are in a room: on every pod where its policy knows presence, otherwise on this one.
pub(crate) async fn count(services: &Services, room: &Room) -> Result<usize, ApiError> {
    if services.policy(room).presence != PresenceMode::Off {
        return Ok(services.presence.list(room, 0).await?.total);
    }
    let asked = room.clone();
    let details = services.queues.ask_all(move |worker| worker.inspect_room(&asked)).await?;
    Ok(details.into_iter().flatten().map(|detail| detail.members).sum())
}
