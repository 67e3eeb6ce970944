//! Which connections and subscribers are let in, and with which identity.
//!
//! Never looks into a token or an answer of the backend: those are `auth`'s and `hooks`'. Always holds: what could not be decided is refused as
//! such, so that the client may try again.

pub mod accept;
pub mod authenticate;
pub mod client_addresses;
pub mod first_room;
pub mod greeting;
pub mod hook_gate;
pub mod identity;
pub mod opening;
pub mod opening_request;
pub mod permit;
pub mod senders;
