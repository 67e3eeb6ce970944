//! Metrics under the names that a ticket shop's realtime service has (preset `ticketing`), beside the pod's own.
//!
//! Always holds: what a client or a publisher writes becomes no series: message types and namespaces that are not known are
//! `other`.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::{
    metrics::{Alias, ClientMessage, DeliveryObserver},
    model::{Batch, ErrorCode, Reply},
};

/// What each says.
pub const REALTIME_DESCRIPTIONS: &[(&str, &str)] = &[
    ("realtime_websocket_connections_total", "Open connections."),
    ("realtime_websocket_connections_authenticated", "Open connections with a user."),
    ("realtime_websocket_connections_anonymous", "Open connections without a user."),
    (
        "realtime_websocket_connections_per_room",
        "Connections in rooms, each for every room that it is in, by the rooms' namespace.",
    ),
    ("realtime_messages_sent_total", "Messages to clients by type; other: types that the document does not have."),
    ("realtime_messages_received_total", "Messages of clients by type."),
    ("realtime_message_broadcast_total", "Events that left for a room's members on this pod."),
    ("realtime_notifications_delivered_total", "Notifications over gRPC that reached their user, by type."),
    ("realtime_grpc_requests_total", "Calls of realtime.RealtimeService by method."),
    ("realtime_grpc_request_duration_seconds", "How long they took, by method."),
    ("realtime_errors_total", "Errors by type: those that clients are told, by their code; grpc: calls that failed."),
];

/// What counters of Redis are called besides.
pub(super) const ALIASES: [Alias; 2] = [
    Alias {
        name: "realtime_pubsub_messages_received_total",
        says: "Messages that came over subscriptions in Redis.",
        series: "roomcast_redis_messages_total",
    },
    Alias {
        name: "realtime_pubsub_messages_published_total",
        says: "Events that this pod published in Redis.",
        series: "roomcast_redis_commands_total{command=\"publish\",result=\"ok\"}",
    },
];

/// The types of messages that clients are sent.
const SENT: [&str; 13] = [
    "system:connected",
    "system:pong",
    "system:error",
    "booking:queue_position",
    "booking:processing",
    "booking:confirmed",
    "booking:failed",
    "payment:processing",
    "payment:success",
    "payment:failed",
    "payment:refunded",
    "ticket:availability",
    OTHER,
];

/// The types of messages that clients send.
const RECEIVED: [&str; 4] = ["system:ping", "room:join", "room:leave", OTHER];

/// The calls of the service.
const METHODS: [&str; 7] = [
    "NotifyBookingResult",
    "NotifyQueuePosition",
    "NotifyPaymentStatus",
    "BroadcastEvent",
    "SendToUser",
    "GetConnectionStats",
    OTHER,
];

const OTHER: &str = "other";

/// How long calls took.
const CALL_SECONDS: &str = "realtime_grpc_request_duration_seconds";

/// Some gauges are called like counters: their names are the shop's.
fn describe() {
    for (name, says) in REALTIME_DESCRIPTIONS {
        match *name {
            CALL_SECONDS => describe_histogram!(CALL_SECONDS, Unit::Seconds, *says),
            name if name.starts_with("realtime_websocket_connections") => describe_gauge!(name, Unit::Count, *says),
            name => describe_counter!(name, Unit::Count, *says),
        }
    }
}

/// The handles.
#[derive(Debug)]
pub struct RealtimeMetrics {
    connections: Gauge,
    authenticated: Gauge,
    anonymous: Gauge,
    broadcasts: Counter,
    grpc_errors: Counter,
    rooms: Named<Gauge>,
    sent: Named<Counter>,
    received: Named<Counter>,
    notifications: Named<Counter>,
    calls: Named<(Counter, Histogram)>,
    errors: Vec<(ErrorCode, Counter)>,
}

/// Handles by name, the last one for every other name.
#[derive(Debug)]
struct Named<T>(Vec<(Box<str>, T)>);

impl<T> Named<T> {
    fn new<'a>(names: impl IntoIterator<Item = &'a str>, make: impl Fn(&str) -> T) -> Self {
        let mut all: Vec<(Box<str>, T)> = names.into_iter().map(|name| (name.into(), make(name))).collect();
        if all.last().is_none_or(|(name, _)| **name != *OTHER) {
            all.push((OTHER.into(), make(OTHER)));
        }
        Self(all)
    }

    fn of(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| **known == *name).or(self.0.last()).map(|(_, handle)| handle)
    }
}

impl RealtimeMetrics {
    /// Handles of the recorder that is current. `namespaces`: those of rooms that are known.
    #[must_use]
    pub fn new(namespaces: &[String]) -> Self {
        describe();
        let by_type = |metric: &'static str| move |name: &str| counter!(metric, "type" => name.to_owned());
        let errors = |kind: &str| counter!("realtime_errors_total", "type" => kind.to_owned());
        let call = |method: &str| {
            let counted = counter!("realtime_grpc_requests_total", "method" => method.to_owned());
            (counted, histogram!(CALL_SECONDS, "method" => method.to_owned()))
        };
        let room = |name: &str| {
            let gauge = gauge!("realtime_websocket_connections_per_room", "room" => name.to_owned());
            gauge.set(0.0);
            gauge
        };
        Self {
            connections: gauge!("realtime_websocket_connections_total"),
            authenticated: gauge!("realtime_websocket_connections_authenticated"),
            anonymous: gauge!("realtime_websocket_connections_anonymous"),
            broadcasts: counter!("realtime_message_broadcast_total"),
            grpc_errors: errors("grpc"),
            rooms: Named::new(namespaces.iter().map(String::as_str), room),
            sent: Named::new(SENT, by_type("realtime_messages_sent_total")),
            received: Named::new(RECEIVED, by_type("realtime_messages_received_total")),
            notifications: Named::new(SENT, by_type("realtime_notifications_delivered_total")),
            calls: Named::new(METHODS, call),
            errors: ErrorCode::ALL.into_iter().map(|code| (code, errors(code.as_str()))).collect(),
        }
    }

    fn sent(&self, kind: &str, count: u64) {
        if let Some(counter) = self.sent.of(kind) {
            counter.increment(count);
        }
    }

    /// Counts a notification that reached its user.
    pub fn delivered(&self, kind: &str) {
        if let Some(counter) = self.notifications.of(kind) {
            counter.increment(1);
        }
    }

    /// Counts a call, and how long it took, in seconds.
    pub fn called(&self, method: &str, seconds: f64, failed: bool) {
        if let Some((counter, histogram)) = self.calls.of(method) {
            counter.increment(1);
            histogram.record(seconds);
        }
        if failed {
            self.grpc_errors.increment(1);
        }
    }
}

impl DeliveryObserver for RealtimeMetrics {
    fn message_received(&self, kind: ClientMessage) {
        let name = match kind {
            ClientMessage::Ping => "system:ping",
            ClientMessage::Subscribe => "room:join",
            ClientMessage::Unsubscribe => "room:leave",
            ClientMessage::Other => OTHER,
        };
        if let Some(counter) = self.received.of(name) {
            counter.increment(1);
        }
    }

    fn connection_greeted(&self) {
        self.sent("system:connected", 1);
    }

    fn reply_sent(&self, reply: &Reply) {
        match reply {
            Reply::Pong => self.sent("system:pong", 1),
            Reply::Error { code, .. } => {
                self.sent("system:error", 1);
                if let Some((_, counter)) = self.errors.iter().find(|(known, _)| known == code) {
                    counter.increment(1);
                }
            }
            _ => {}
        }
    }

    fn batch_flushed(&self, events: usize) {
        self.broadcasts.increment(events as u64);
    }

    fn batch_delivered(&self, batch: &Batch, receivers: u64) {
        batch.events.iter().for_each(|event| self.sent(&event.topic, receivers));
    }

    fn connections_changed(&self, all: f64, with_user: f64) {
        self.connections.increment(all);
        self.authenticated.increment(with_user);
        self.anonymous.increment(all - with_user);
    }

    fn members_gauge(&self, namespace: &str) -> Gauge {
        self.rooms.of(namespace).cloned().unwrap_or(Gauge::noop())
    }
}
