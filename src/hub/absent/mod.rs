//! Events of personal rooms whose users have no connection: the backend is told of them.
//!
//! Never delivers anything. Always holds: what waits is bounded; an event is told by the pod that published it, and by no other.

pub mod desk;
mod drops_oldest;
pub mod teller;
pub mod watched_broker;
pub mod whereabouts;
