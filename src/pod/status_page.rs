//! The page at `/status` of the internal listener: one pod and its fleet, for an operator. Its files; the look is that of the page at `/`.
//!
//! Never has a figure of its own: its script polls `/status.json`. Always holds: what `page_file` says of every page.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::Full;

use super::page_file::{CSS, File, HTML, SCRIPT, SHARED, Source, protect};

/// What only this page is made of.
const SOURCES: [Source; 5] = [
    ("/status", HTML, include_str!("status/index.html")),
    ("/status/status.css", CSS, include_str!("status/status.css")),
    ("/status/status.js", SCRIPT, include_str!("status/status.js")),
    ("/status/plots.js", SCRIPT, include_str!("status/plots.js")),
    ("/status/tables.js", SCRIPT, include_str!("status/tables.js")),
];

/// Compressed at the first request for any of them.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| SOURCES.into_iter().chain(SHARED).map(File::new).collect());

/// The answer to a request for a part of the page; `None`: it is for something else.
pub(super) fn answer_to(request: &Parts) -> Option<Response<Full<Bytes>>> {
    let path = request.uri.path();
    let file = FILES.iter().find(|file| file.path == path)?;
    let mut response = file.answer_to(&request.method, &request.headers);
    protect(response.headers_mut(), "");
    Some(response)
}
