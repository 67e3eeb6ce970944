//! The internal listener: what backends and operators call. Not for the open network.
//!
//! Runs beside the workers, on a thread of its own. Always holds: whatever changes something needs an API key, compared
//! in constant time; an empty list of keys lets nobody in.

mod answer;
mod ops;
mod publish;
mod server;

pub use answer::ApiError;
pub use ops::Readiness;
pub use server::Api;
