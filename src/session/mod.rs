//! One connection's state machine, apart from its socket: messages and the time in, actions out.
//!
//! Never does I/O and never reads a clock, so that tests step it through time. A session outlives the transport that
//! carries it where a dialect needs that.

mod action;
mod bucket;
mod command_rates;
mod connection_id;
mod free_share;
mod link;
mod record;
mod record_value;
mod sent_signals;
#[allow(clippy::module_inception, reason = "one noun a file")]
mod session;
mod unused;

pub use action::Action;
pub use bucket::{Bucket, Verdict};
pub use command_rates::{CommandRates, SessionLimits};
pub use connection_id::ConnectionId;
pub use link::{Beat, Link, Space};
pub use record::{JoinRequest, RecordEffect, RecordWrite, Resumed, RoomView, SessionRecord, SessionView, WriteOutcome};
pub use record_value::{RecordValue, RecordedRoom};
pub use sent_signals::{SentSignals, SignalVerdict};
pub use session::Session;
pub use unused::{UnusedSession, UnusedSessions};
