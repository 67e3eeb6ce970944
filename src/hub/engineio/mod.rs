//! Engine.IO sessions and the Socket.IO namespaces on them.

pub mod namespaces;
pub mod polling;
pub mod recovery;
pub mod session;
pub mod session_record;
pub mod upgrade;
