//! Pieces of JSON text.

use std::io::Write;

/// A comma, unless nothing stands before.
pub(super) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// A number, or a switch.
pub(super) fn number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // A Vec takes every write.
    let _ = write!(out, "{number}");
}

/// A string, in its quotes.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    // A string is always JSON, and a Vec takes every write.
    let _ = serde_json::to_writer(out, text);
}
