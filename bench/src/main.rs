//! The load generator of roomcast: memory per connection, CPU per delivery, latency, beside a physical floor.
//!
//! One binary in several roles. The parent runs a scenario: it starts the pod, the floor and the receivers (this binary
//! again, in hidden roles), publishes, and reports. `bench/README.md` says what each figure means.
//!
//! The map: `cli` → `scenario/*` (what is measured) → `pod`, `peer`, `floor`, `ocean`, `audience` (what takes part) → `receiver`, `callers` (what
//! each connection does) → `foreign` (what servers of others say), `content`, `trip`, `verify`, `stats`, `process` (what is published,
//! checked, counted, observed) →
//! `report`, `plot` (what is written). `sizing` is pure: from points that `scenario/size` had measured to the size of a fleet.

use std::process::ExitCode;

mod arguments;
mod audience;
mod callers;
mod child;
mod cli;
mod clock;
mod content;
mod corpus;
mod dialect;
mod edge;
mod error;
mod floor;
mod foreign;
mod guests;
mod ocean;
mod peer;
mod plain_websocket;
mod plot;
mod pod;
mod process;
mod publisher;
mod receiver;
mod redis_server;
mod report;
mod resp;
mod scenario;
mod sizing;
mod stats;
mod transport;
mod trip;
mod verify;

fn main() -> ExitCode {
    cli::main()
}
