//! roomcast: an edge-deployable, low-latency broadcast proxy.
//!
//! The layers, lowest first; a module imports only from its own row or below (a test walks the edges):
//!
//! 1. `model` · `dialect` · `config` · `metrics`
//! 2. `protocol` · `transport` · `broker` · `auth` · `hooks` · `archive` · `traces`
//! 3. `hub` · `session`
//! 4. `api`
//! 5. `compat`
//! 6. `pod`
//! 7. `cli` · `serve`, and `main`
//!
//! All of them are private: the program is [`run`]. `docs/ARCHITECTURE.md` is the map.

mod api;
mod archive;
mod auth;
mod broker;
mod cli;
mod compat;
mod config;
mod dialect;
mod hooks;
mod hub;
mod metrics;
mod model;
mod pod;
mod protocol;
mod serve;
mod session;
#[doc(hidden)]
pub mod testing;
mod traces;
mod transport;

/// Gives back what a wave of clients took, which the system's allocator keeps: docs/BENCHMARKS.md, "Allocator", has the figures. Tests
/// and the load generator run on it as well, so that a floor is measured beside its like.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The program: does what its command line says, and answers with its exit code.
#[must_use]
pub fn run() -> std::process::ExitCode {
    cli::main(|loader| serve::run(&loader))
}
