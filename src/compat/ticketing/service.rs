//! `realtime.RealtimeService`: what the callers of a ticket shop's realtime service send, as events in rooms.
//!
//! What is for one user goes to the user's own room (`grpc.user_room`), what is for a room to that room. Counts are of the
//! whole fleet; the answers to a notification where the room's policy knows presence, otherwise of this pod. Always holds: what is
//! answered as delivered is in the room's log, and the room had a member.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hyper::body::Incoming;
use roomcast_proto::realtime::{
    BroadcastEventRequest, BroadcastEventResponse, GetConnectionStatsRequest, GetConnectionStatsResponse,
    NotifyBookingResultRequest, NotifyBookingResultResponse, NotifyPaymentStatusRequest, NotifyPaymentStatusResponse,
    NotifyQueuePositionRequest, NotifyQueuePositionResponse, PaymentStatus, SendToUserRequest, SendToUserResponse,
    realtime_service_server::{RealtimeService, RealtimeServiceServer},
};
use serde::Serialize;
use tonic::{Request, Response, Status, codec::CompressionEncoding, metadata::MetadataMap};

use super::metrics::RealtimeMetrics;
use crate::{
    api::{ApiError, GrpcAnswer, GrpcHandler, GrpcService, foreign_json_payload, grpc_handler, publish, rooms},
    config::PersonalRoom,
    hub::{AckWatch, Services},
    model::{Payload, Position, Room},
    traces::Publisher,
};

/// The service's name, and its methods as they are counted.
const NAME: &str = "realtime.RealtimeService";
const METHODS: [&str; 6] = [
    "realtime.RealtimeService/NotifyBookingResult",
    "realtime.RealtimeService/NotifyQueuePosition",
    "realtime.RealtimeService/NotifyPaymentStatus",
    "realtime.RealtimeService/BroadcastEvent",
    "realtime.RealtimeService/SendToUser",
    "realtime.RealtimeService/GetConnectionStats",
];

/// Performs the service's calls.
pub(super) struct Realtime {
    services: Arc<Services>,
    user_room: PersonalRoom,
    /// The rooms that are counted only if one asks for them.
    everybody_in: Arc<[Box<str>]>,
    /// For how long an ack is waited for.
    ack_timeout: Duration,
    metrics: Option<Arc<RealtimeMetrics>>,
}

/// The service on the pod's gRPC listeners.
pub(super) struct RealtimeCalls {
    handler: GrpcHandler,
    metrics: Option<Arc<RealtimeMetrics>>,
}

impl RealtimeCalls {
    /// `largest`: the most bytes of a message, decompressed.
    pub(super) fn new(service: Realtime, largest: usize, metrics: Option<Arc<RealtimeMetrics>>) -> Self {
        let server = RealtimeServiceServer::new(service)
            .max_decoding_message_size(largest)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        Self { handler: grpc_handler(server), metrics }
    }
}

impl GrpcService for RealtimeCalls {
    fn name(&self) -> &'static str {
        NAME
    }

    fn methods(&self) -> &'static [&'static str] {
        &METHODS
    }

    fn call(&self, request: http::Request<Incoming>) -> GrpcAnswer {
        (self.handler)(request)
    }

    fn called(&self, method: &str, took: Duration, failed: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.called(method, took.as_secs_f64(), failed);
        }
    }
}

/// `booking:confirmed`, `booking:failed`. Texts that a caller left empty are left out.
#[derive(Serialize)]
struct Booking<'a> {
    booking_id: &'a str,
    booking_reference: &'a str,
    success: bool,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    event_id: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    seat_numbers: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    total_amount: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    currency: &'a str,
}

/// `booking:queue_position`
#[derive(Serialize)]
struct Queue<'a> {
    position: i32,
    estimated_wait: i32,
    event_id: &'a str,
    total_in_queue: i32,
}

/// `payment:processing` and its like.
#[derive(Serialize)]
struct Payment<'a> {
    payment_id: &'a str,
    booking_id: &'a str,
    status: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    amount: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    currency: &'a str,
}

#[tonic::async_trait]
impl RealtimeService for Realtime {
    async fn notify_booking_result(
        &self,
        request: Request<NotifyBookingResultRequest>,
    ) -> Result<Response<NotifyBookingResultResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let data = Booking {
            booking_id: &asked.booking_id,
            booking_reference: &asked.booking_reference,
            success: asked.success,
            message: &asked.message,
            event_id: &asked.event_id,
            seat_numbers: &asked.seat_numbers,
            total_amount: &asked.total_amount,
            currency: &asked.currency,
        };
        let topic = if asked.success { "booking:confirmed" } else { "booking:failed" };
        let reached = self.tell_user(Publisher::Grpc(metadata.as_ref()), &asked.user_id, topic, json(&data)?).await?;
        Ok(Response::new(NotifyBookingResultResponse { delivered: reached > 0, active_connections: reached }))
    }

    async fn notify_queue_position(
        &self,
        request: Request<NotifyQueuePositionRequest>,
    ) -> Result<Response<NotifyQueuePositionResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let data = Queue {
            position: asked.position,
            estimated_wait: asked.estimated_wait_seconds,
            event_id: &asked.event_id,
            total_in_queue: asked.total_in_queue,
        };
        let reached = self
            .tell_user(Publisher::Grpc(metadata.as_ref()), &asked.user_id, "booking:queue_position", json(&data)?)
            .await?;
        Ok(Response::new(NotifyQueuePositionResponse { delivered: reached > 0 }))
    }

    async fn notify_payment_status(
        &self,
        request: Request<NotifyPaymentStatusRequest>,
    ) -> Result<Response<NotifyPaymentStatusResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let (topic, status) = match asked.status() {
            PaymentStatus::Processing => ("payment:processing", "processing"),
            PaymentStatus::Success => ("payment:success", "success"),
            PaymentStatus::Failed => ("payment:failed", "failed"),
            // As the old service has it: its clients know three types.
            PaymentStatus::Refunded => ("payment:processing", "refunded"),
            PaymentStatus::Unspecified => ("payment:processing", "unknown"),
        };
        let data = Payment {
            payment_id: &asked.payment_id,
            booking_id: &asked.booking_id,
            status,
            message: &asked.message,
            amount: &asked.amount,
            currency: &asked.currency,
        };
        let reached = self.tell_user(Publisher::Grpc(metadata.as_ref()), &asked.user_id, topic, json(&data)?).await?;
        Ok(Response::new(NotifyPaymentStatusResponse { delivered: reached > 0 }))
    }

    async fn broadcast_event(
        &self,
        request: Request<BroadcastEventRequest>,
    ) -> Result<Response<BroadcastEventResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        // As the old service has it: what is for everyone comes over Redis.
        for (name, value) in [("event_type", &asked.event_type), ("room", &asked.room)] {
            if value.is_empty() {
                return Err(ApiError::bad_request(format!("`{name}` is missing")).into());
            }
        }
        let room = Room::parse(&asked.room).map_err(ApiError::from)?;
        let data = payload(asked.payload)?;
        let sender = Some(asked.sender_user_id).filter(|sender| asked.exclude_sender && !sender.is_empty());
        let recipients = match sender {
            Some(sender) => self.tell_others(&room, &asked.event_type, data, sender).await?,
            None => self.tell(Publisher::Grpc(metadata.as_ref()), &room, &asked.event_type, data).await?.1,
        };
        Ok(Response::new(BroadcastEventResponse { recipients }))
    }

    async fn send_to_user(&self, request: Request<SendToUserRequest>) -> Result<Response<SendToUserResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let within = self.ack_timeout.min(time_left(&metadata));
        let data = payload(asked.payload)?;
        let publisher = Publisher::Grpc(metadata.as_ref());
        if asked.event_type.is_empty() {
            return Err(ApiError::bad_request("`event_type` is missing").into());
        }
        let (room, position, reached) = self.tell_user_at(publisher, &asked.user_id, &asked.event_type, data).await?;
        let delivered = if asked.require_ack {
            let acknowledged = AckWatch(&self.services).is_acknowledged(&asked.user_id, &room, &position, within).await;
            acknowledged.map_err(ApiError::from)?
        } else {
            reached > 0
        };
        Ok(Response::new(SendToUserResponse { delivered, connections_notified: reached }))
    }

    async fn get_connection_stats(
        &self,
        request: Request<GetConnectionStatsRequest>,
    ) -> Result<Response<GetConnectionStatsResponse>, Status> {
        let services = &self.services;
        let asked = request.into_inner().room;
        let room = if asked.is_empty() { None } else { Some(Room::parse(&asked).map_err(ApiError::from)?) };
        let mut per_room: HashMap<String, i32> = room.iter().map(|room| (room.to_string(), 0)).collect();
        let fleet = services.fleet_stats().await.map_err(ApiError::from)?.pods;
        let total: usize = fleet.iter().map(|pod| pod.connections).sum();
        let known: usize = fleet.iter().flat_map(|pod| &pod.workers).map(|worker| worker.identified).sum();
        let traffic = services.fleet_traffic(room).await.map_err(ApiError::from)?;
        let counted =
            |room: &Room| *room.as_str() == *asked || self.everybody_in.iter().all(|all| **all != *room.as_str());
        for (room, members) in traffic.iter().flat_map(|pod| &pod.rooms).filter(|(room, _)| counted(room)) {
            *per_room.entry(room.to_string()).or_default() += int(*members);
        }
        let uptime_ms = traffic.iter().map(|pod| pod.uptime_ms).max().unwrap_or_default();
        let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Response::new(GetConnectionStatsResponse {
            total_connections: int(total),
            authenticated_connections: int(known),
            anonymous_connections: int(total.saturating_sub(known)),
            connections_per_room: per_room,
            uptime_seconds: long(uptime_ms / 1_000),
            messages_sent_total: long(traffic.iter().map(|pod| pod.deliveries).sum()),
            messages_received_total: long(traffic.iter().map(|pod| pod.messages_in).sum()),
        }))
    }
}

impl Realtime {
    /// `user_room`: where what is for one user goes. `everybody_in`: the rooms that are counted only if one asks for them.
    pub(super) fn new(
        services: Arc<Services>,
        user_room: PersonalRoom,
        everybody_in: Arc<[Box<str>]>,
        ack_timeout: Duration,
        metrics: Option<Arc<RealtimeMetrics>>,
    ) -> Self {
        Self { services, user_room, everybody_in, ack_timeout, metrics }
    }

    /// Sends an event to a user's own room; how many connections are in it.
    async fn tell_user(
        &self,
        publisher: Publisher<'_>,
        user: &str,
        topic: &str,
        payload: Payload,
    ) -> Result<i32, ApiError> {
        self.tell_user_at(publisher, user, topic, payload).await.map(|(_, _, reached)| reached)
    }

    /// Sends an event to a user's own room; that room, where the event is, and how many connections are in it.
    async fn tell_user_at(
        &self,
        publisher: Publisher<'_>,
        user: &str,
        topic: &str,
        payload: Payload,
    ) -> Result<(Room, Position, i32), ApiError> {
        if user.is_empty() {
            return Err(ApiError::bad_request("`user_id` is missing"));
        }
        let room = self.user_room.of(user).ok_or_else(|| {
            ApiError::bad_request(format!(
                "`user_id` {user:?} makes no room: no white space, control characters or braces"
            ))
        })?;
        let (position, reached) = self.tell(publisher, &room, topic, payload).await?;
        if let Some(metrics) = self.metrics.as_ref().filter(|_| reached > 0) {
            metrics.delivered(topic);
        }
        Ok((room, position, reached))
    }

    /// Sends an event to a room, but not to a user in it; to how many connections it goes. It enters no log, where the user
    /// could read it.
    async fn tell_others(&self, room: &Room, topic: &str, payload: Payload, sender: String) -> Result<i32, ApiError> {
        let services = &self.services;
        if services.policy(room).log_of(room).is_some() {
            let why = format!("`exclude_sender`: {room} shares its log with other rooms, and has nothing beside it");
            return Err(ApiError::bad_request(why));
        }
        let publication = publish::event(topic, payload, None, None, None)?;
        services.broker.publish_unlogged(room, publication, sender.as_str().into()).await?;
        services.metrics.events_in.api.increment(1);
        Ok(int(rooms::count_others(services, room, &sender).await?))
    }

    /// Sends an event to a room; where it is, and how many connections are in the room.
    async fn tell(
        &self,
        publisher: Publisher<'_>,
        room: &Room,
        topic: &str,
        payload: Payload,
    ) -> Result<(Position, i32), ApiError> {
        let publication = publish::event(topic, payload, None, None, None)?;
        let services = &self.services;
        let position = publish::put(services, publisher, room, publication).await?;
        Ok((position, int(rooms::count(services, room).await?)))
    }
}

/// What a caller sends; one that left it out means an event without data.
fn payload(json: String) -> Result<Payload, ApiError> {
    foreign_json_payload("payload", if json.is_empty() { "null".to_owned() } else { json })
}

/// How long a call may still take, less a tenth: its answer is to come before its caller gives up.
fn time_left(metadata: &MetadataMap) -> Duration {
    let timeout = metadata.get("grpc-timeout").and_then(|timeout| timeout.to_str().ok());
    let read = |timeout: &str| {
        let (digits, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
        let count: u64 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(count.checked_mul(3_600)?),
            "M" => Duration::from_secs(count.checked_mul(60)?),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    timeout.and_then(read).map_or(Duration::MAX, |timeout| timeout - timeout / 10)
}

fn json(data: &impl Serialize) -> Result<Payload, ApiError> {
    let text = serde_json::to_string(data).map_err(|error| ApiError::bad_request(error.to_string()))?;
    foreign_json_payload("the request", text)
}

fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
