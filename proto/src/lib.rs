//! The gRPC contracts of roomcast, and the code that is generated from them.
//!
//! The contracts are in `proto/`, for callers in any language. The code in `src/generated/` is checked in, so that no build
//! needs a compiler of protocol buffers; `tests/generated.rs` makes it anew and compares. The messages of traces (`otlp`) are a part of
//! another project's contract.

/// `roomcast.v1`: the HTTP API over gRPC.
pub mod roomcast {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
    include!("generated/roomcast.v1.rs");
}

/// `realtime`: what callers of a ticket shop's realtime service already speak.
pub mod realtime {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
    include!("generated/realtime.rs");
}

/// How traces are sent to a collector.
pub mod otlp;

/// Both contracts as a `google.protobuf.FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// How the messages become bytes, for senders that do not use the generated clients.
pub use prost::Message;
