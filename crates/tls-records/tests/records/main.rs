//! The record layer as its users see it: the vectors of RFC 8448, rustls at the other end, and what is refused.
#![allow(clippy::unwrap_used)]

mod against_rustls;
mod limits;
mod refusals;
mod rfc8448;
mod support;
mod takeover;
