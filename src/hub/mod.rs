//! Rooms: their order, how events become batches, and how batches reach members.
//!
//! ```text
//!  broker ──deliver──▶ Sequencer (one a worker thread; which one a room has goes by its name's hash)
//!                        batches, conflates, fills holes from history
//!                          │ one message to each worker that has members
//!                          ▼
//!                      Worker (one thread, one event loop)
//!                        members ◀── fan-out: frame encoded once, offered to each connection
//! ```
//!
//! Never touches a broker's storage or a client's bytes. Always holds: a room's broadcasts pass through its one sequencer in
//! the order of the log, and each queue between the two halves, when full, leaves a hole that the receiving half sees
//! and fills from history.

mod absent;
mod access;
mod acks;
mod commands;
mod connection;
mod core;
mod engineio;
mod fanout;
mod membership;
mod places;
mod planted;
pub mod recovery;
mod sequencer;
#[cfg(test)]
mod simulation;
mod users;
mod worker;

pub use absent::{desk::AbsentDesk, teller::AbsentTeller, watched_broker::WatchedBroker};
pub use access::{
    accept::AcceptedConnection,
    authenticate::{AdmissionError, Applicant, Shows},
    client_addresses::ClientAddresses,
    hook_gate::AT_ONCE,
    permit::Principal,
    senders::{Sender, Senders},
};
pub use acks::{ack_desk::AckDesk, awaited::AckWatch, telling::AuthorTeller};
pub use commands::{
    delete::{DeleteError, EventAt, EventDeletion},
    sent::CarriedOut,
};
pub use connection::{
    budget::Budget, mailbox::Mailbox, streams::Streams, task::ConnectionTask, transport::ClientTransport,
};
pub use engineio::{polling::PollingSession, probe::Probe, session_pods::SessionPods};
pub use fanout::shared_windows::SharedWindows;
pub use places::{place_desk::PlaceDesk, rounds::PlaceRounds};
pub use recovery::{cache::Recoveries, event_index::EventIndex};
pub use sequencer::driver::Sequencer;
pub use users::{
    author_notes::AuthorNotes,
    erase::{ErasureError, UserErasure},
    presence::{StatusError, UserPresence},
};
#[cfg(test)]
pub use worker::worker_call::WorkerCall;
pub use worker::{
    Worker,
    call::CallError,
    capacity::{CapacityError, Gate},
    clock::{millis, unix_millis},
    event_loop::start as start_worker,
    fleet::{FleetError, FleetStats, Ordered},
    fleet_lists::{FleetList, FleetLists},
    inspect::ConnectionFilter,
    process_memory::ProcessMemory,
    queues::{Inboxes, ToWorker, WorkerQueues},
    quic::Quic,
    readiness::{Readiness, Reason},
    seat::Seat,
    services::Services,
    spokesman::Spokesman,
    timers::Deadline,
};
