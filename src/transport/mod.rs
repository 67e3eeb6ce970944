//! Whole messages over sockets: bytes in, messages out, and back. Knows no rooms and no users.

pub mod websocket;
