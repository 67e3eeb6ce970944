//! A pod from outside: in this process, from its listeners to its metrics, and as a program. One test program, so that it is linked
//! once.
//!
//! What must be alone in its process (a log) stands beside this folder, and so does what needs Redis servers to itself
//! (`tests/redis/`, `tests/chaos/`).

#![allow(clippy::unwrap_used, missing_docs)]

mod acks;
mod api;
mod archive;
mod bad_input;
mod ca;
mod cli;
mod commands;
mod deletion;
mod dialects;
mod edge_tree;
mod edge_users;
mod edge_windows;
mod edges;
mod erasure;
mod faults;
mod fetching;
mod fleet;
mod fleet_lists;
mod gate;
mod grpc;
mod harness;
mod hooks;
mod hostile_edge;
mod hostile_home;
mod identity;
mod legacy;
mod lost_rooms;
mod metrics;
mod policies;
mod presets;
mod privacy;
mod protocol_doc;
mod rates;
mod raw_link;
mod relay_bounds;
mod retries;
mod rooms;
mod serve;
mod shared_log;
mod signals;
mod slow;
mod status;
mod taken_edge;
mod tls;
mod token_lookup;
mod tokens;
mod traces;
mod user_places;
mod user_presence;
mod users;
mod webtransport;
mod windows;
