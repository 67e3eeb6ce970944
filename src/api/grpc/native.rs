//! `roomcast.v1.Roomcast`: from the contract's messages to the API's calls and back.

use std::sync::Arc;

use roomcast_proto::roomcast::{
    BroadcastRequest, BroadcastResponse, DisconnectRequest, DisconnectResponse, Error, Event, GetHistoryRequest,
    GetHistoryResponse, GetPresenceRequest, GetPresenceResponse, GetStatsRequest, GetStatsResponse, GetUnreadRequest,
    GetUnreadResponse, GetUserPresenceRequest, GetUserPresenceResponse, Member, Outcome, PastEvent, PodStats, Position,
    PublishRequest, PublishResponse, SetUserPresenceRequest, SetUserPresenceResponse, UnreadRoom, UserPresence,
    disconnect_request::Target, event, outcome, past_event, roomcast_server::Roomcast,
};
use serde_json::value::RawValue;
use tonic::{Request, Response, Status};

use crate::{
    api::{
        answer::ApiError,
        connections::{Affected, close, to_connection, to_user},
        publish::{self, check_count, several},
        rooms::{self, MAX_EVENTS, MAX_MEMBERS},
        unread, user_presence,
    },
    hub::{FleetStats, Services},
    model::{self, Payload, Publication, Room},
    traces::Publisher,
};

/// The service.
pub(super) struct RoomcastService(pub(super) Arc<Services>);

#[tonic::async_trait]
impl Roomcast for RoomcastService {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let (metadata, _, PublishRequest { room, event }) = request.into_parts();
        let room = Room::parse(&room).map_err(ApiError::from)?;
        let publisher = Publisher::Grpc(metadata.as_ref());
        let position = publish::put(&self.0, publisher, &room, publication(event)?).await?;
        Ok(Response::new(PublishResponse { position: Some(position.into()) }))
    }

    async fn broadcast(&self, request: Request<BroadcastRequest>) -> Result<Response<BroadcastResponse>, Status> {
        let mut count = 0;
        let mut publications = Vec::new();
        let (metadata, _, request) = request.into_parts();
        for (index, entry) in request.publications.into_iter().enumerate() {
            let within = |error: ApiError| error.within(format_args!("publications[{index}]"));
            let rooms = several(entry.rooms.iter().map(String::as_str)).map_err(within)?;
            count += rooms.len();
            check_count(count).map_err(within)?;
            publications.push((rooms, publication(entry.event).map_err(within)?));
        }
        let results = publish::put_all(&self.0, Publisher::Grpc(metadata.as_ref()), publications).await;
        let results = results.into_iter().map(|result| {
            let outcome = match result {
                Ok(position) => outcome::Outcome::Position(position.into()),
                Err(ApiError { code, message }) => {
                    outcome::Outcome::Error(Error { code: code.as_str().to_owned(), message })
                }
            };
            Outcome { outcome: Some(outcome) }
        });
        Ok(Response::new(BroadcastResponse { results: results.collect() }))
    }

    async fn get_presence(
        &self,
        request: Request<GetPresenceRequest>,
    ) -> Result<Response<GetPresenceResponse>, Status> {
        let GetPresenceRequest { room, limit } = request.into_inner();
        let room = Room::parse(&room).map_err(ApiError::from)?;
        let list = rooms::present(&self.0, &room, bounded("limit", limit, MAX_MEMBERS)?).await?;
        let member = |member: model::Member| Member {
            connection: member.connection.to_string(),
            user: member.user.map(|user| user.to_string()),
        };
        let members = list.members.into_iter().map(member).collect();
        Ok(Response::new(GetPresenceResponse { members, total: list.total as u64 }))
    }

    async fn get_history(&self, request: Request<GetHistoryRequest>) -> Result<Response<GetHistoryResponse>, Status> {
        let GetHistoryRequest { room, since, limit } = request.into_inner();
        let room = Room::parse(&room).map_err(ApiError::from)?;
        let limit = bounded("limit", limit, MAX_EVENTS)?;
        let epoch = since.as_ref().map(|since| since.epoch.as_str()).filter(|epoch| !epoch.is_empty());
        let offset = since.as_ref().map(|since| since.offset);
        if offset.is_some_and(|offset| offset > model::MAX_OFFSET) {
            let message = format!("`since.offset` must be at most {}", model::MAX_OFFSET);
            return Err(ApiError::bad_request(message).into());
        }
        let history = rooms::past(&self.0, &room, epoch, offset, limit).await?;
        Ok(Response::new(GetHistoryResponse {
            epoch: history.epoch.as_str().to_owned(),
            after: history.after,
            offset: history.offset,
            end: history.end,
            complete: history.complete,
            events: history.events.iter().map(|event| past(event)).collect(),
        }))
    }

    async fn disconnect(&self, request: Request<DisconnectRequest>) -> Result<Response<DisconnectResponse>, Status> {
        let DisconnectRequest { target, code } = request.into_inner();
        let (act, services) = (close(code)?, &self.0);
        let Affected { connections, pods, silent, .. } = match target {
            Some(Target::Connection(connection)) => to_connection(services, &connection, act).await?,
            Some(Target::User(user)) if !user.is_empty() => to_user(services, &user, act).await?,
            _ => return Err(ApiError::bad_request("`connection` or `user` is missing").into()),
        };
        Ok(Response::new(DisconnectResponse { connections: connections as u64, pods: pods as u64, silent }))
    }

    async fn get_stats(&self, request: Request<GetStatsRequest>) -> Result<Response<GetStatsResponse>, Status> {
        let services = &self.0;
        let (scope, FleetStats { pods, silent }) = if request.into_inner().fleet {
            ("fleet", services.fleet_stats().await.map_err(ApiError::from)?)
        } else {
            let own = services.stats().await.map_err(ApiError::from)?;
            ("pod", FleetStats { pods: vec![own], silent: Vec::new() })
        };
        Ok(Response::new(GetStatsResponse {
            scope: scope.to_owned(),
            connections: pods.iter().map(|pod| pod.connections as u64).sum(),
            max_connections: pods.iter().map(|pod| pod.max_connections as u64).sum(),
            pods: pods.into_iter().map(PodStats::from).collect(),
            silent,
        }))
    }

    async fn get_user_presence(
        &self,
        request: Request<GetUserPresenceRequest>,
    ) -> Result<Response<GetUserPresenceResponse>, Status> {
        let GetUserPresenceRequest { users } = request.into_inner();
        let states = user_presence::states(&self.0, &users).await?;
        let users = users.into_iter().zip(&states).map(|(user, state)| user_state(user, state)).collect();
        Ok(Response::new(GetUserPresenceResponse { users }))
    }

    async fn set_user_presence(
        &self,
        request: Request<SetUserPresenceRequest>,
    ) -> Result<Response<SetUserPresenceResponse>, Status> {
        let SetUserPresenceRequest { user, status, hidden } = request.into_inner();
        let state = user_presence::put(&self.0, &user, status.as_deref(), hidden).await?;
        Ok(Response::new(SetUserPresenceResponse { user: Some(user_state(user, &state)) }))
    }

    async fn get_unread(&self, request: Request<GetUnreadRequest>) -> Result<Response<GetUnreadResponse>, Status> {
        let GetUnreadRequest { user, rooms } = request.into_inner();
        if user.is_empty() {
            return Err(ApiError::bad_request("`user` is missing").into());
        }
        let parse = |(index, name): (usize, &String)| {
            Room::parse(name).map_err(|error| ApiError::from(error).within(format_args!("rooms[{index}]")))
        };
        let rooms = rooms.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        let unread = unread::count_unread(&self.0, &user, &rooms).await?;
        let rooms = unread.into_iter().map(|unread| UnreadRoom {
            room: unread.room.to_string(),
            end: unread.end,
            unread: unread.count(),
            read: Some(unread.read.into()),
        });
        Ok(Response::new(GetUnreadResponse { rooms: rooms.collect() }))
    }
}

fn user_state(user: String, state: &model::UserState) -> UserPresence {
    UserPresence {
        user,
        status: state.status.as_str().to_owned(),
        last_seen_ms: state.last_seen,
        chosen: state.chosen.as_str().to_owned(),
        hidden: state.hidden,
    }
}

impl From<model::PodStats> for PodStats {
    fn from(stats: model::PodStats) -> Self {
        Self {
            pod: stats.pod,
            version: stats.version,
            uptime_ms: stats.uptime_ms,
            readiness: stats.readiness,
            connections: stats.connections as u64,
            max_connections: stats.max_connections as u64,
            held_bytes: stats.queues.held_bytes as u64,
            owed_bytes: stats.queues.owed_bytes as u64,
            budget_bytes: stats.queues.budget_bytes as u64,
            memory_used_bytes: stats.memory.used_bytes as u64,
            memory_limit_bytes: stats.memory.limit_bytes as u64,
            memory_limit_from: stats.memory.from,
        }
    }
}

/// An event of a backend.
fn publication(event: Option<Event>) -> Result<Publication, ApiError> {
    let event = event.ok_or_else(|| ApiError::bad_request("`event` is missing"))?;
    let payload = match event.payload {
        Some(event::Payload::Json(json)) => json_payload("json", json)?,
        Some(event::Payload::Binary(bytes)) => Payload::Binary(bytes.into()),
        None => return Err(ApiError::bad_request("`json` is missing (or `binary`, for bytes)")),
    };
    publish::event(&event.topic, payload, event.key.as_deref(), event.id.as_deref(), event.idempotency_key.as_deref())
}

/// A text that must be JSON.
fn json_payload(field: &str, json: String) -> Result<Payload, ApiError> {
    Ok(Payload::json(raw_json(field, json)?)?)
}

/// The same, from a caller that was there before the pod: as deep as plain messages may be.
pub(crate) fn foreign_json_payload(field: &str, json: String) -> Result<Payload, ApiError> {
    Ok(Payload::foreign_json(raw_json(field, json)?)?)
}

fn raw_json(field: &str, json: String) -> Result<Box<RawValue>, ApiError> {
    RawValue::from_string(json).map_err(|error| ApiError::bad_request(format!("`{field}` is not JSON: {error}")))
}

fn bounded(field: &str, given: Option<u32>, most: usize) -> Result<usize, ApiError> {
    match given.map(|given| given as usize) {
        None => Ok(most),
        Some(given) if given <= most => Ok(given),
        Some(given) => Err(ApiError::bad_request(format!("`{field}` must be at most {most}, not {given}"))),
    }
}

fn past(event: &model::Event) -> PastEvent {
    let payload = match &event.payload {
        Payload::Json(data) => past_event::Payload::Json(data.get().to_owned()),
        Payload::Binary(bytes) => past_event::Payload::Binary(bytes.to_vec()),
    };
    let text = |text: &Option<Box<str>>| text.as_ref().map(|text| text.to_string());
    PastEvent {
        offset: event.offset,
        topic: event.topic.to_string(),
        payload: Some(payload),
        key: text(&event.key),
        id: text(&event.id),
        user: text(&event.user),
        time_ms: event.time,
    }
}

impl From<model::Position> for Position {
    fn from(position: model::Position) -> Self {
        Self { epoch: position.epoch.as_str().to_owned(), offset: position.offset }
    }
}
