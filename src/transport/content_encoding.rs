//! Whether the body of a request is as it stands. No body is decompressed: a few bytes could become very many.

use http::{HeaderMap, header};

/// What is said of a body that is not.
pub const ENCODED: &str = "the body is compressed: send it without Content-Encoding";

/// Whether a body was encoded, as its request says.
#[must_use]
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut encodings = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    encodings.any(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity"))
}
