//! Which connections and subscribers are let in, and with which identity.

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
