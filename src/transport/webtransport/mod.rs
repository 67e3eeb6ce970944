//! WebTransport over HTTP/3 (draft-ietf-webtrans-http3, RFC 9114, RFC 9220) above quinn's QUIC.
//!
//! Owns the endpoint's settings, the handshake up to the accepted CONNECT, a session's streams and its close. Never knows
//! a room, and never spawns a task for a session: one handle is polled by who owns it. Always holds: what a peer opens
//! beyond its one stream of commands is never read, and bounded by the windows.
//!
//! `web-transport-proto` spells settings, requests and capsules. The session is ours and not `web-transport-quinn`'s,
//! which keeps a task, queues of futures and caches for each; `docs/ARCHITECTURE.md` has the figures.

mod deflate;
mod endpoint;
mod handshake;
mod messages;
mod ration;
mod session;

pub use deflate::{STREAM_END, write_compressed, write_stored};
pub use endpoint::{bind, server_config};
pub use handshake::{HandshakeError, Request};
pub use messages::{MessageReader, TooLong, write_message};
pub use ration::{Handshake, Proved, Rationed, Unproved};
pub use session::{DATAGRAM_PREFIX, SendState, Session, write_some};
