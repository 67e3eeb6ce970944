//! The page at `/` of the public listeners: its files, embedded, and what it may be told.
//!
//! Never knows a room, a token or an API key: the page is a client like any other and comes in through `/ws`. Always
//! holds: no file is named by the request, all are listed here; the browser is forbidden to load anything from anywhere
//! else and to run a script that is not one of these files (Content Security Policy Level 3).

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::page_file::{File, HTML, SCRIPT, SHARED, Source, answer, is_read, only_to_be_read, protect};
use crate::config::Config;

/// What only this page is made of.
const SOURCES: [Source; 12] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/page.js", SCRIPT, include_str!("page/page.js")),
    ("/page/client.js", SCRIPT, include_str!("page/client.js")),
    ("/page/transport.js", SCRIPT, include_str!("page/transport.js")),
    ("/page/close_codes.js", SCRIPT, include_str!("page/close_codes.js")),
    ("/page/fleet.js", SCRIPT, include_str!("page/fleet.js")),
    ("/page/json.js", SCRIPT, include_str!("page/json.js")),
    ("/page/measure.js", SCRIPT, include_str!("page/measure.js")),
    ("/page/header.js", SCRIPT, include_str!("page/header.js")),
    ("/page/rooms.js", SCRIPT, include_str!("page/rooms.js")),
    ("/page/stream.js", SCRIPT, include_str!("page/stream.js")),
    ("/page/publish.js", SCRIPT, include_str!("page/publish.js")),
];

/// Where the page asks what it cannot know by itself.
const ABOUT: &str = "/page/pod.json";

/// Compressed at the first request for any of them.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| SOURCES.into_iter().chain(SHARED).map(File::new).collect());

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
    let mut response = match file {
        Some(file) => file.answer_to(request.method(), request.headers()),
        None if is_read(request.method()) => about(config),
        None => only_to_be_read(),
    };
    protect(response.headers_mut(), &reaches(request.headers().get(header::HOST), quic_port));
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

/// What the page talks to beside its own origin.
fn reaches(host: Option<&HeaderValue>, quic_port: Option<u16>) -> String {
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
    format!("{sockets}{sessions}")
}

/// Whether a host can stand in a policy: a name or IPv4 address with or without a port, nothing that ends a directive.
fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

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
            protect(&mut headers, &reaches(Some(&HeaderValue::from_static(host)), None));
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
