//! How a connection becomes a member of a room, and stops being one.

pub mod behind;
pub mod event;
pub mod join;
pub mod leave;
pub mod pending_join;
pub mod subscribe;
pub mod subscribe_request;
