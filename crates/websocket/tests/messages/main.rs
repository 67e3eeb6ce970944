//! The message layer as its users see it: each rule of the reader, and properties of reader and writer together.
#![allow(clippy::unwrap_used)]

mod properties;
mod rules;
mod support;
