//! The ticket shop's keys, in tables that the core has too.

use std::time::Duration;

use crate::config::{
    Changes, CustomerSettings, PersonalRoom, PersonalRoomKind,
    section::{Section, Settle, section},
    value::{Switch, Time},
};

section! {
    /// The metrics of a ticket shop.
    pub struct MetricsKeys in "" {
        /// Whether `/metrics` shows the names of a ticket shop's realtime service too (`realtime_websocket_connections_total` …):
        /// `docs/PRESETS.md`.
        realtime_metrics: bool = false, Switch, restart;
    }
}

section! {
    /// The gRPC service of a ticket shop.
    pub struct ServiceKeys in "grpc" {
        /// Whether `realtime.RealtimeService` is served beside `roomcast.v1.Roomcast`.
        realtime: bool = false, Switch, restart;
        /// The room to which `realtime.RealtimeService` sends what is for one user.
        user_room: PersonalRoom = PersonalRoom::default(), PersonalRoomKind, restart;
        /// For how long `SendToUser` with `require_ack` waits until a device of the user has acknowledged the event (`ack`). Less where the
        /// caller's own deadline is earlier.
        ack_timeout: Duration = Duration::from_secs(5), Time(Duration::from_millis(50)..=Duration::from_secs(60)), restart;
    }
}

/// What a ticket shop sets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TicketingSettings {
    /// At the top of the file.
    pub metrics: MetricsKeys,
    /// In `[grpc]`.
    pub service: ServiceKeys,
}

impl CustomerSettings for TicketingSettings {
    fn sections(&self) -> Vec<&dyn Section> {
        vec![&self.metrics, &self.service]
    }

    fn sections_mut(&mut self) -> Vec<&mut dyn Section> {
        vec![&mut self.metrics, &mut self.service]
    }

    fn settle(&mut self, running: &Self, changes: &mut Changes) {
        self.metrics.settle(&running.metrics, changes);
        self.service.settle(&running.service, changes);
    }
}
