#![doc = include_str!("../README.md")]
//!
//! # Invariants
//! - Each wanted channel is confirmed by the owner of its slot, or a moment is set at which it is asked for again.
//! - A fault of one node delays no channel of another.
//! - A channel that moves is heard at its new owner before it is dropped at the old one.

mod ask_schedule;
mod commander;
mod connect;
mod endpoints;
mod error;
mod frame;
mod greeting;
mod health;
mod layout;
mod node;
mod node_connection;
mod node_subscriptions;
mod order;
mod patterns;
mod plan;
mod server_count;
mod sink;
mod slot;
mod state;
mod subscriber;
mod wanted_channels;
mod watch;

pub use commander::{ServerInfo, discover};
pub use endpoints::{Endpoints, Password, Topology};
pub use error::NodeError;
pub use frame::{FrameError, MAX_DEPTH, MAX_ELEMENTS, MAX_FRAME, Reader, Value, command};
pub use health::{Health, NodeHealth, State};
pub use layout::{Address, Layout, NodeDescription, describe};
pub use patterns::{PatternListener, listen_to_patterns};
pub use sink::{Observer, Sink};
pub use slot::{SLOTS, slot};
pub use subscriber::Subscriber;
