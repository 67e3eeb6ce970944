//! Whole messages over sockets: bytes in, messages out, and back. Knows no rooms and no users.

pub mod content_encoding;
pub mod fetch;
pub mod head;
pub mod http_io;
pub mod listen;
mod own_authority;
pub mod places;
pub mod proxy_protocol;
pub mod scratch;
pub mod socket;
pub mod tls;
pub mod tls_words;
pub mod trust;
pub mod unproven_sockets;
pub mod websocket;
pub mod webtransport;
