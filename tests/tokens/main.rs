//! Tokens from outside: who is let in, who is not, and where keys come from.
#![allow(clippy::unwrap_used, missing_docs)]

mod attacks;
mod claims;
mod key_files;
mod remote;
mod server;
mod support;
mod vectors;
