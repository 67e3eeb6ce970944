//! The API over gRPC, on listeners of its own: `roomcast.v1.Roomcast`, and `realtime.RealtimeService` where it is switched on.
//!
//! The contracts are in `proto/`. Every rule of a call is that of the HTTP API: this only spells it differently. Always
//! holds: whoever has no key learns nothing but that the server is well; a message is no larger decompressed than
//! `limits.api_body`; a call ends by its deadline.

mod context;
mod native;
mod realtime;
mod server;
mod status;

pub use server::Grpc;
