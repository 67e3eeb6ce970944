//! Metrics of Engine.IO and Socket.IO.

use metrics::{Counter, counter};

/// What each says, besides the pod's own.
pub const SOCKETIO_DESCRIPTIONS: &[(&str, &str)] = &[
    ("roomcast_engineio_opened_total", "Engine.IO sessions that were opened, by the transport of their first request."),
    (
        "roomcast_engineio_upgrades_total",
        "Sessions that polled and asked for a WebSocket, by result: ok, failed (it was not probed in time, or went).",
    ),
    (
        "roomcast_engineio_handed_total",
        "Requests of sessions that are on another pod (pod), or nowhere to be found (nowhere).",
    ),
    (
        "roomcast_socketio_recoveries_total",
        "Socket.IO sessions that wanted to come back, by outcome: recovered exactly, gone (events were lost), unknown.",
    ),
    ("roomcast_socketio_repeated_events_total", "Events of recovered sessions that the client may have had already."),
    ("roomcast_socketio_keep_failures_total", "Sessions that could not be written down for their coming back."),
];

/// The handles.
#[derive(Debug)]
pub struct SocketIo {
    /// Sessions that began with a request that waits.
    pub opened_polling: Counter,
    /// Sessions that began with a WebSocket.
    pub opened_websocket: Counter,
    /// WebSockets that took over.
    pub upgraded: Counter,
    /// WebSockets that did not.
    pub not_upgraded: Counter,
    /// Requests for another pod.
    pub to_pod: Counter,
    /// Requests for a pod that is gone or cannot be reached.
    pub to_nowhere: Counter,
    /// Sessions that came back.
    pub recovered: Counter,
    /// Sessions that were known, but not all that they missed.
    pub gone: Counter,
    /// Sessions that were not known.
    pub unknown: Counter,
    /// Events that a client may have had twice.
    pub twice: Counter,
    /// Writes of sessions that failed.
    pub keep_failures: Counter,
}

impl Default for SocketIo {
    fn default() -> Self {
        let opened = |transport: &'static str| counter!("roomcast_engineio_opened_total", "transport" => transport);
        let upgrade = |result: &'static str| counter!("roomcast_engineio_upgrades_total", "result" => result);
        let handed = |to: &'static str| counter!("roomcast_engineio_handed_total", "to" => to);
        let recovery = |outcome: &'static str| counter!("roomcast_socketio_recoveries_total", "outcome" => outcome);
        Self {
            opened_polling: opened("polling"),
            opened_websocket: opened("websocket"),
            upgraded: upgrade("ok"),
            not_upgraded: upgrade("failed"),
            to_pod: handed("pod"),
            to_nowhere: handed("nowhere"),
            recovered: recovery("recovered"),
            gone: recovery("gone"),
            unknown: recovery("unknown"),
            twice: counter!("roomcast_socketio_repeated_events_total"),
            keep_failures: counter!("roomcast_socketio_keep_failures_total"),
        }
    }
}
