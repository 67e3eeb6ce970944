//! Which connections and which subscribers are let in, and as whom.

pub mod accept;
pub mod authenticate;
pub mod hook_gate;
pub mod identity;
pub mod opening;
