//! roomcast: an edge-deployable, low-latency broadcast proxy.
//!
//! The layers, lowest first; a module imports only from its own row or below (a test walks the edges):
//!
//! 1. `model` · `dialect` · `config` · `metrics`
//! 2. `protocol` · `transport` · `broker` · `auth` · `hooks`
//! 3. `hub` · `session`
//! 4. `api`
//! 5. `compat`
//! 6. `pod`
//! 7. `cli` · `serve`, and `main`
//!
//! `docs/ARCHITECTURE.md` is the map.

pub mod api;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod compat;
pub mod config;
pub mod dialect;
pub mod hooks;
pub mod hub;
pub mod metrics;
pub mod model;
pub mod pod;
pub mod protocol;
pub mod serve;
pub mod session;
pub mod transport;
