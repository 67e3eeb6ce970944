//! What tests start and talk to, once for all of them: Redis and PostgreSQL servers, pods as processes, clients, a terminal, free ports; and
//! what is looked at afterwards where things broke: what was published against what each client saw.
//!
//! Never: an assertion about what a pod does; that is a test's own. Always holds: whatever was started ends with its value, also
//! when a test panics. A failure here is the test's failure, so everything panics with what it found instead of returning errors.
#![allow(clippy::unwrap_used, missing_docs)]

pub mod checker;
pub mod client;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod terminal;
pub mod watcher;
