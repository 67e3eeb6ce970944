//! Rooms: who owns them, how events become batches, and how batches reach members.
//!
//! ```text
//!  broker ──deliver──▶ Owner (one a worker; a room's owner goes by its name's hash)
//!                        batches, conflates, fills holes from history
//!                          │ one message to each worker that has members
//!                          ▼
//!                      Worker (one thread, one event loop)
//!                        members ◀── fan-out: frame encoded once, offered to each connection
//! ```
//!
//! Never touches a broker's storage or a client's bytes. Always holds: a room's broadcasts pass through its one owner in
//! the order of the log, and each queue between the two halves, when full, leaves a hole that the receiving half sees
//! and fills from history.

mod account;
mod admission;
mod arrive;
mod asking;
mod batch;
mod beginning;
mod budget;
mod carrier;
mod census;
mod clock;
mod collector;
mod command;
mod connection;
mod directory;
mod drive;
mod engine;
mod enter;
mod errand;
mod fan_out;
mod fleet;
mod frame;
mod hear;
mod identity;
mod journal;
mod kept;
mod lane;
mod leave;
mod links;
mod mailbox;
mod members;
mod namespace;
mod newcomer;
mod outbox;
mod owed;
mod owner;
mod publish;
mod question;
mod readiness;
mod recoveries;
pub mod recovery;
mod repolicy;
mod resume;
mod room;
mod services;
mod shared_log;
mod slow;
mod streams;
mod subscription;
mod tails;
mod take_over;
mod timers;
mod wheel;
mod worker;

pub use account::Account;
pub use admission::{Applicant, NotAdmitted, Shows};
pub use asking::{AT_ONCE, Asker, Leave};
pub use batch::Batcher;
pub use budget::Budget;
pub use carrier::Carrier;
pub use census::{ConnectionDetail, ConnectionFilter, ConnectionsCensus, RoomCount, RoomDetail, RoomsCensus};
pub use clock::{millis, unix_millis};
pub use collector::Collector;
pub use connection::{Connection, State, Totals};
pub use drive::Drive;
pub use errand::{Probe, SessionPlace};
pub use fleet::{FleetStats, Ordered, Spokesman, Unheard};
pub use frame::{Broadcast, Content, Encoder, Frame};
pub use links::{Inboxes, Links, ToOwner, ToWorker};
pub use mailbox::Mailbox;
pub use members::Key;
pub use newcomer::Newcomer;
pub use owner::Owner;
pub use question::{NoAnswer, Question};
pub use readiness::Readiness;
pub use recoveries::Recoveries;
pub use services::{Full, Gate, Quic, Seat, Services};
pub use streams::Streams;
pub use tails::Tails;
pub use timers::{Deadline, TICK};
pub use worker::Worker;
