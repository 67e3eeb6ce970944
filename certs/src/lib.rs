//! How roomcast's certificates are made, loaded and rotated; `README.md` beside this crate is for people.
//!
//! Owns everything between a file (or nothing) and the `rustls::ServerConfig` that a listener needs. Never opens a
//! socket, never starts a thread, never reads a clock: callers pass the time. Always holds: once a [`Rotation`] has
//! started it has a certificate to serve, whatever happens to the files.

mod certificate;
pub mod insecure;
mod load;
mod make;
mod rotate;
mod server;
mod tickets;

pub use certificate::{Certificate, CertificateError, expires_at};
pub use load::{LoadError, MAX_FILE_BYTES, load};
pub use make::{
    DEVELOPMENT_NAMES, DEVELOPMENT_VALIDITY, Development, Kept, MakeError, RENEW_BEFORE, development, make,
};
pub use rotate::{POLL_INTERVAL, Reloaded, Rotation, RotationError, Source};
pub use server::{provider, quic_server_config, server_config};
pub use tickets::{MOST_TICKET_KEYS, TicketKeyError, TicketKeys};
