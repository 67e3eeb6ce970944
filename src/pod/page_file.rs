//! The files of the pod's pages, embedded: how one is sent, and what the browser is forbidden to do with it.
//!
//! Never reads a file of the machine. Always holds: no file is named by the request, all are listed; the browser is forbidden to load
//! anything from anywhere else and to run a script that is not one of these files (Content Security Policy Level 3).

use std::io::Write;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What a file is made of: path, type, text.
pub(super) type Source = (&'static str, &'static str, &'static str);

/// Files that more than one page has.
pub(super) const SHARED: [Source; 4] = [
    ("/page/page.css", CSS, include_str!("page/page.css")),
    ("/page/element.js", SCRIPT, include_str!("page/element.js")),
    ("/page/plot.js", SCRIPT, include_str!("page/plot.js")),
    ("/page/mark.svg", SVG, include_str!("page/mark.svg")),
];

/// A file, ready to be sent.
pub(super) struct File {
    pub(super) path: &'static str,
    content_type: &'static str,
    pub(super) plain: Bytes,
    pub(super) gzip: Bytes,
    /// Weak, because it stands for the file in both encodings (RFC 9110 section 8.8.1).
    pub(super) etag: HeaderValue,
}

impl File {
    /// Compresses it.
    pub(super) fn new((path, content_type, text): Source) -> Self {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()));
        let etag = HeaderValue::try_from(format!("W/\"{}\"", hash.get(..16).unwrap_or_default()));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail; an empty result would only mean that the file is sent as it is.
        let gzip = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        Self {
            path,
            content_type,
            plain: Bytes::from_static(text.as_bytes()),
            gzip: gzip.into(),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("W/\"\"")),
        }
    }

    /// The answer to a request with this method.
    pub(super) fn answer_to(&self, method: &Method, asked: &HeaderMap) -> Response<Full<Bytes>> {
        if is_read(method) { self.answer(asked) } else { only_to_be_read() }
    }

    fn answer(&self, asked: &HeaderMap) -> Response<Full<Bytes>> {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        if known.flat_map(|list| list.split(',')).any(|tag| tag.trim().as_bytes() == self.etag.as_bytes()) {
            let mut response = answer(StatusCode::NOT_MODIFIED, self.content_type, Bytes::new());
            response.headers_mut().remove(header::CONTENT_TYPE);
            self.validators(response.headers_mut());
            return response;
        }
        let gzip = !self.gzip.is_empty() && takes_gzip(asked);
        let body = if gzip { &self.gzip } else { &self.plain };
        let mut response = answer(StatusCode::OK, self.content_type, body.clone());
        let headers = response.headers_mut();
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        self.validators(headers);
        response
    }

    /// The browser keeps the file and asks each time whether it is still the one.
    fn validators(&self, headers: &mut HeaderMap) {
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// An answer of any type.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Whether a request wants to read.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The answer to a request that wants anything else.
pub(super) fn only_to_be_read() -> Response<Full<Bytes>> {
    let mut response =
        answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "this is only to be read\n".into());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Whether `Accept-Encoding` takes gzip (RFC 9110 section 12.5.3).
fn takes_gzip(asked: &HeaderMap) -> bool {
    let lists = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// What the browser is forbidden to do with a page. `reaches`: what its scripts may talk to beside their own origin, each with a space
/// before it.
pub(super) fn protect(headers: &mut HeaderMap, reaches: &str) {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{reaches}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("deflate", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0, br", false),
            ("x-gzip", false),
        ] {
            let asked = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&asked), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
