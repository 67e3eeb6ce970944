//! The API over gRPC, on listeners of its own: `roomcast.v1.Roomcast`, and the services that other parts of the pod bring.
//!
//! The contracts are in `proto/`. Every rule of a call is that of the HTTP API: this only spells it differently. Always
//! holds: a caller without a key learns nothing but that the server is well; a message is no larger decompressed than
//! `limits.api_body`; a call ends by its deadline.

mod native;
mod server;
mod service;
mod status;

pub(crate) use native::foreign_json_payload;
pub use server::Grpc;
pub use service::{GrpcAnswer, GrpcHandler, GrpcService, handler};
