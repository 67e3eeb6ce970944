//! The internal listener: what backends and operators call. Not for the open network.
//!
//! Runs beside the workers, on a thread of its own. Always holds: whatever changes something, or shows rooms, users and connections, needs
//! an API key, compared in constant time; with an empty list of keys every caller is refused; a caller without a key does not learn what
//! there is. Probes, metrics and `/status` are figures of the pod alone, and open.
//!
//! `router` is the table of calls, `openapi.json` its description, `docs/API.md` the same for people. `public_document` describes what the
//! public listeners answer.

mod answer;
mod body;
mod callers;
mod connections;
mod delete;
mod document;
mod grpc;
mod keys;
pub mod ops;
mod patience;
mod public_document;
pub(crate) mod publish;
pub(crate) mod rooms;
mod router;
mod scope;
mod server;
mod session;
mod stats;
mod status;
mod target;
mod unread;
mod user_presence;

pub use crate::hub::Readiness;
pub use answer::ApiError;
pub(crate) use grpc::foreign_json_payload;
pub use grpc::{Grpc, GrpcAnswer, GrpcHandler, GrpcService, handler as grpc_handler};
pub(crate) use keys::Keys;
pub use public_document::public_document;
pub use router::is_probe;
pub use server::Api;
pub use session::{KEEPS_WINDOW, session_proof};
pub use status::{Servers, Tree};
