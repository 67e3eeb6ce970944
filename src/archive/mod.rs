//! Events of rooms in PostgreSQL, beyond their logs: written around each publish, repaired after a crash, read by members.
//!
//! Owns the connections to the database, the tables (`migrations/`) and what waits to be written. Never knows a client: it stands between
//! all publishers and the broker as one [`Broker`](crate::broker::Broker) more, which only rooms with `archive = "postgres"` pass
//! through. Always holds:
//!
//! - *An event is pending before it is published, and confirmed before its publish is answered.* (1) A row is pending, with the idempotency
//!   key; (2) the event is published under that key; (3) the row gets the event's position; (4) the publisher is answered. What fails at
//!   (1) is not published. So a crash between any two steps leaves a row that says what is to be asked, and no answer that is untrue.
//! - *A pending row is settled by the broker's own idempotency, or never.* Any pod publishes it once more under its key: what was
//!   published already gets the position that it has. That is right only as long as the key would be known, which is why a row
//!   older than half of that time, or of a log that began anew since, is `unknown` and is never published.
//! - *A position is never two events.* A generation is a life of the room's log; it comes from the log's own chain of epochs.
//! - *Members read a log without silent holes.* A page ends before the first event that may still come, and says what never will.
//!
//! Without `archive.url` nothing of this exists: no thread, no connection, no look at a policy.

mod archive_state;
mod archived_acks;
mod archived_broker;
mod archived_erasure;
mod book;
mod connection;
mod deleted;
mod desk;
mod erase;
mod error;
mod failure;
mod gaps;
mod generations;
mod history;
mod keeper;
mod levels;
mod lives_aged;
mod migrator;
mod pending_row;
mod readers;
mod reads;
mod repair;
mod seal;
mod statements;
mod stored_text;
mod thread;
mod tls;
mod writers;
mod written;

pub use archive_state::{Archive, ArchiveCondition};
pub use archived_acks::ArchivedAcks;
pub use archived_broker::ArchivedBroker;
pub use archived_erasure::ArchivedErasure;
pub use deleted::ArchivedEvent;
pub use error::{ArchiveError, ArchiveStartError};
pub use history::{ArchivedMessage, MessageCursor, MessagePage, MessageStatus, PageQuery};
pub use levels::{Level, MigrationError};
pub use migrator::Migrator;
pub use seal::Seals;
pub use thread::ArchiveThread;
