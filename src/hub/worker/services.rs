//! The services of a pod: what all its workers share.
//!
//! Never belongs to one worker. Always holds: whatever is replaced while the pod runs is replaced as a whole.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;

use crate::{
    archive::Archive,
    auth::Authority,
    broker::{Broker, Condition, Control, Erasure, KeyValue, Presence},
    config::{Config, Policies},
    hooks::Hooks,
    hub::{
        absent::desk::AbsentDesk,
        access::{client_addresses::ClientAddresses, senders::Senders},
        acks::ack_desk::AckDesk,
        connection::budget::Budget,
        engineio::session_pods::SessionPods,
        fanout::shared_windows::SharedWindows,
        places::place_desk::PlaceDesk,
        recovery::{cache::Recoveries, event_index::EventIndex},
        users::{author_notes::AuthorNotes, presence::UserPresence, user_writes::UserWrites},
        worker::{capacity::Gate, process_memory::ProcessMemory, queues::WorkerQueues, quic::Quic},
    },
    metrics::Metrics,
    model::{Policy, Room},
    protocol::{Dialects, engineio::SessionKey},
    traces::Tracer,
    transport::places::SocketPlaces,
};

/// What all workers of a pod share.
pub struct Services {
    /// What the operator decided; replaced as a whole on a reload.
    pub config: ArcSwap<Config>,
    /// How rooms behave; replaced with the configuration, and shared with the broker.
    pub policies: Arc<ArcSwap<Policies>>,
    /// The rooms' logs.
    pub broker: Arc<dyn Broker>,
    /// The members of rooms, in the whole fleet.
    pub presence: Arc<dyn Presence>,
    /// Whether users are online; `None`: they have no presence.
    pub user_presence: Option<Arc<UserPresence>>,
    /// What is being written under users' names.
    pub user_writes: Arc<UserWrites>,
    /// Which users were noted as authors of rooms.
    pub author_notes: AuthorNotes,
    /// The other pods.
    pub control: Arc<dyn Control>,
    /// What is left for whichever pod a client comes back to.
    pub values: Arc<dyn KeyValue>,
    /// Forgets what the broker keeps.
    pub erasure: Arc<dyn Erasure>,
    /// What rooms keep beyond their logs; `None`: nothing.
    pub archive: Option<Arc<Archive>>,
    /// What users have read.
    pub acks: AckDesk,
    /// Which connections are counted among those of their users.
    pub places: PlaceDesk,
    /// How the broker is.
    pub condition: Box<dyn Fn() -> Condition + Send + Sync>,
    /// How a page reaches WebTransport, if it can.
    pub quic: Option<Quic>,
    /// The queues between sequencers and workers.
    pub queues: Arc<WorkerQueues>,
    /// The account of bytes that queues hold.
    pub budget: Arc<Budget>,
    /// The windows that rooms' frames refer to.
    pub windows: Arc<SharedWindows>,
    /// What the whole process uses.
    pub memory: ProcessMemory,
    /// What each client address does.
    pub addresses: Arc<ClientAddresses>,
    /// What clients without a connection may still ask for.
    pub senders: Senders,
    /// The files that sockets of the public listeners may take.
    pub sockets: Arc<SocketPlaces>,
    /// What clients missed.
    pub recoveries: Recoveries,
    /// The newest events of rooms, by their ids.
    pub event_index: EventIndex,
    /// Says which tokens are good.
    pub authority: Arc<Authority>,
    /// The backend that decides; `None`: there is none.
    pub hooks: Option<Hooks>,
    /// What a backend may be told of users that are away; `None`: it is not told.
    pub absent: Option<Arc<AbsentDesk>>,
    /// What publishes and fan-outs are told to; `None`: nothing is traced.
    pub traces: Option<Arc<Tracer>>,
    /// By which the names of Engine.IO sessions are known to be ours.
    pub session_key: SessionKey,
    /// Where sessions of other pods are.
    pub session_pods: SessionPods,
    /// This pod's name as a number.
    pub pod: u64,
    /// The wire formats.
    pub dialects: Arc<Dialects>,
    /// The metrics.
    pub metrics: Metrics,
    /// The metrics' text.
    pub render_metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Whether and how many connections are taken in.
    pub gate: Gate,
    /// When the pod started.
    pub began: Instant,
}

impl Services {
    /// A room's policy now.
    #[must_use]
    pub fn policy(&self, room: &Room) -> Arc<Policy> {
        self.policies.load().of(room)
    }
}
