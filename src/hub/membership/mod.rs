//! How a connection becomes a member of a room, and stops being one.
//!
//! Never decides whether a room may be joined: that is `access`'s and the policy's. Always holds: a connection that has a place in a room has the
//! room among its subscriptions until it has left, whether it is a member already, has fallen behind, or is still on its way.

pub mod behind;
pub mod event;
pub mod join;
pub mod leave;
pub mod pending_join;
pub mod subscribe;
pub mod subscribe_request;
