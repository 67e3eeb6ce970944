//! A pod in this process, from its listeners to its metrics: one program, so that it is linked once.
//!
//! What must be alone in its process (a log, a timing) stands beside this folder.

#![allow(clippy::unwrap_used, missing_docs)]

mod api;
mod ca;
mod commands;
mod dialects;
mod faults;
mod fetching;
mod fleet;
mod gate;
mod grpc;
mod harness;
mod hooks;
mod identity;
mod legacy;
mod metrics;
mod policies;
mod presets;
#[path = "../redis/mod.rs"]
mod redis;
mod rooms;
mod shared_log;
mod token_lookup;
mod webtransport;
