//! Engine.IO sessions and the Socket.IO namespaces on them.

pub mod namespaces;
pub mod polling;
pub mod recovery;
pub mod resume_plan;
pub mod session;
mod sessions;
mod unused;
pub mod upgrade;
