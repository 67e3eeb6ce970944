//! The page at `/` of the public listeners: its files, embedded, and what it may be told.
//!
//! Never knows a room, a token or an API key: the page is a client like any other and comes in through `/ws`. Always
//! holds: no file is named by the request, all are listed here; the browser is forbidden to load anything from anywhere
//! else and to run a script that is not one of these files (Content Security Policy Level 3).

use std::{io::Write, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use crate::config::Config;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What the page is made of: path, type, text.
const SOURCES: [(&str, &str, &str); 16] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/page.css", CSS, include_str!("page/page.css")),
    ("/page/page.js", SCRIPT, include_str!("page/page.js")),
    ("/page/client.js", SCRIPT, include_str!("page/client.js")),
    ("/page/transport.js", SCRIPT, include_str!("page/transport.js")),
    ("/page/close_codes.js", SCRIPT, include_str!("page/close_codes.js")),
    ("/page/element.js", SCRIPT, include_str!("page/element.js")),
    ("/page/fleet.js", SCRIPT, include_str!("page/fleet.js")),
    ("/page/json.js", SCRIPT, include_str!("page/json.js")),
    ("/page/measure.js", SCRIPT, include_str!("page/measure.js")),
    ("/page/plot.js", SCRIPT, include_str!("page/plot.js")),
    ("/page/header.js", SCRIPT, include_str!("page/header.js")),
    ("/page/rooms.js", SCRIPT, include_str!("page/rooms.js")),
    ("/page/stream.js", SCRIPT, include_str!("page/stream.js")),
    ("/page/publish.js", SCRIPT, include_str!("page/publish.js")),
    ("/page/mark.svg", SVG, include_str!("page/mark.svg")),
];

/// Where the page asks what it cannot know by itself.
const ABOUT: &str = "/page/pod.json";

/// A file, ready to be sent.
struct File {
    path: &'static str,
    content_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
    /// Weak, because it stands for the file in both encodings (RFC 9110 section 8.8.1).
    etag: HeaderValue,
}

/// Compressed at the first request for any of them.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| SOURCES.into_iter().map(File::new).collect());

impl File {
    fn new((path, content_type, text): (&'static str, &'static str, &'static str)) -> Self {
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

/// The answer to a request for a part of the page; `None`: it is for something else, or there is no page.
pub fn answer_to<T>(config: &Config, quic_port: Option<u16>, request: &Request<T>) -> Option<Response<Full<Bytes>>> {
    if !config.page {
        return None;
    }
    let path = request.uri().path();
    let file = FILES.iter().find(|file| file.path == path);
    if file.is_none() && path != ABOUT {
        return None;
    }
    let mut response = match (request.method(), file) {
        (&Method::GET | &Method::HEAD, Some(file)) => file.answer(request.headers()),
        (&Method::GET | &Method::HEAD, None) => about(config),
        _ => {
            let mut response =
                answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "this is only to be read\n".into());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    };
    protect(response.headers_mut(), request.headers().get(header::HOST), quic_port);
    Some(response)
}

/// What the page cannot know by itself. In development mode also where backends publish, for its `curl` line; otherwise
/// that address is not shown to the public.
fn about(config: &Config) -> Response<Full<Bytes>> {
    let api_port =
        config.internal_listen.first().map(|bind| bind.address.port()).filter(|port| config.dev && *port != 0);
    let about = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "development": config.dev,
        "api_port": api_port,
    });
    let mut response = answer(StatusCode::OK, "application/json", about.to_string().into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
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

/// What the browser is forbidden to do with the page.
fn protect(headers: &mut HeaderMap, host: Option<&HeaderValue>, quic_port: Option<u16>) {
    // `'self'` covers the WebSocket in today's browsers; older ones want it named.
    let sockets = match host.and_then(|host| host.to_str().ok()).filter(|host| is_plain(host)) {
        Some(host) => format!(" ws://{host} wss://{host}"),
        None => String::new(),
    };
    // Another port is another origin: WebTransport is named, on the address that the page uses for `localhost` too.
    let name = host.and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
    let name = name.map(|host| host.split_once(':').map_or(host, |(name, _)| name)).unwrap_or("localhost");
    let sessions = match quic_port {
        Some(port) if name == "localhost" => format!(" https://127.0.0.1:{port}"),
        Some(port) => format!(" https://{name}:{port}"),
        None => String::new(),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{sockets}{sessions}; \
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

/// Whether a host can stand in a policy: a name or IPv4 address with or without a port, nothing that ends a directive.
fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'))
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

    #[test]
    fn a_host_cannot_widen_the_policy() {
        for (host, sockets) in [
            ("localhost:8080", " ws://localhost:8080 wss://localhost:8080;"),
            ("push.example.com", " ws://push.example.com wss://push.example.com;"),
            ("a; script-src *", ";"),
            ("a 'unsafe-inline'", ";"),
            ("*", ";"),
            ("[::1]:8080", ";"),
            ("", ";"),
        ] {
            let mut headers = HeaderMap::new();
            protect(&mut headers, Some(&HeaderValue::from_static(host)), None);
            let policy = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
            let policy = policy.unwrap_or_default();
            assert!(policy.contains(&format!("connect-src 'self'{sockets}")), "{host}: {policy}");
            assert_eq!(policy.matches("script-src").count(), 1, "{host}: {policy}");
        }
    }

    #[test]
    fn every_file_has_a_name_of_its_own_and_a_tag_of_its_own() {
        for (at, file) in FILES.iter().enumerate() {
            assert!(file.plain.len() > file.gzip.len() && !file.gzip.is_empty(), "{} grows when compressed", file.path);
            for other in FILES.iter().skip(at + 1) {
                assert!(file.path != other.path && file.etag != other.etag, "{} and {}", file.path, other.path);
            }
        }
    }
}
