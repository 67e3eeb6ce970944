//! The brokers: what each must do, whatever servers do to them. One program, so that its tests share servers.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod broker;
mod contract;
mod servers;
mod wire;
