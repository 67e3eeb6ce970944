//! Tokens from outside: who is let in, who is not, and where keys come from.

mod attacks;
mod claims;
mod key_files;
mod remote;
mod server;
pub mod support;
mod vectors;
