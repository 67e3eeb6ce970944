//! Which web pages may connect (RFC 6454): the defence against cross-site WebSocket hijacking.
//!
//! A request without `Origin` does not come from a browser and passes. Always holds: an origin is compared by its
//! parsed scheme, host and port, never as text, so that no suffix, prefix or missing port slips through.

use globset::{GlobBuilder, GlobMatcher};
use http::Uri;

/// The origins that may connect.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    loopback: bool,
    allowed: Vec<Allowed>,
}

#[derive(Debug, Clone)]
struct Allowed {
    scheme: String,
    host: GlobMatcher,
    port: Option<u16>,
}

/// Why a configured origin is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin:?} is no origin: write `scheme://host` or `scheme://host:port`, `*` for one label of the host, or `*` alone for any origin")]
pub struct OriginError {
    origin: String,
}

impl Origins {
    /// Origins from their configured spellings; with `loopback` every origin of this machine besides.
    ///
    /// # Errors
    /// [`OriginError`] names the one that is none.
    pub fn new<'a>(spellings: impl IntoIterator<Item = &'a str>, loopback: bool) -> Result<Self, OriginError> {
        let mut origins = Self { any: false, loopback, allowed: Vec::new() };
        for spelling in spellings {
            if spelling == "*" {
                origins.any = true;
                continue;
            }
            let allowed = Allowed::parse(spelling).ok_or_else(|| OriginError { origin: spelling.to_owned() })?;
            origins.allowed.push(allowed);
        }
        Ok(origins)
    }

    /// Whether a request with this `Origin` header may connect.
    #[must_use]
    pub fn allow(&self, origin: Option<&[u8]>) -> bool {
        let Some(origin) = origin else { return true };
        if self.any {
            return true;
        }
        let Some((scheme, host, port)) = std::str::from_utf8(origin).ok().and_then(parse) else { return false };
        let on_loopback = self.loopback && matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        on_loopback || self.allowed.iter().any(|a| a.scheme == scheme && a.port == port && a.host.is_match(host.replace('.', "/")))
    }
}

impl Allowed {
    fn parse(spelling: &str) -> Option<Self> {
        // `*` is no host character: a stand-in lets the same parser check the rest of the spelling.
        let (scheme, host, port) = parse(&spelling.replace('*', "0star0"))?;
        let host = host.replace("0star0", "*");
        // Dots become the separator that `*` does not cross: `*.example.com` is one label, never `a.b.example.com`.
        let host = GlobBuilder::new(&host.replace('.', "/")).literal_separator(true).build().ok()?.compile_matcher();
        Some(Self { scheme, host, port })
    }
}

/// Scheme, host and explicit port of an ASCII origin without path, query or user. Default ports count as none.
fn parse(origin: &str) -> Option<(String, String, Option<u16>)> {
    let (_, rest) = origin.split_once("://")?;
    if rest.contains(['/', '@', '?', '#', '\\']) || !origin.is_ascii() {
        return None;
    }
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority()?;
    if authority.host().is_empty() || (authority.as_str().ends_with(':')) {
        return None;
    }
    let port = authority.port_u16().filter(|p| !matches!((scheme.as_str(), p), ("http", 80) | ("https", 443)));
    if authority.port().is_some() && authority.port_u16().is_none() {
        return None;
    }
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allows(list: &[&str], origin: &str) -> bool {
        Origins::new(list.iter().copied(), false).unwrap().allow(Some(origin.as_bytes()))
    }

    #[test]
    fn origins_are_compared_by_their_parts() {
        let list = ["https://example.com", "https://*.shop.example", "http://dev.example:8080"];
        for good in
            ["https://example.com", "https://example.com:443", "HTTPS://EXAMPLE.com", "https://a.shop.example"]
        {
            assert!(allows(&list, good), "{good}");
        }
        assert!(allows(&list, "http://dev.example:8080"));
        for bad in [
            "http://example.com",
            "https://evil-example.com",
            "https://example.com.evil",
            "https://example.com:8443",
            "https://a.b.shop.example",
            "https://shop.example",
            "http://dev.example",
            "http://dev.example:8081",
            "null",
            "file://",
            "",
            "https://",
            "https://example.com/",
            "https://user@example.com",
            "https://ex\u{430}mple.com",
            "https://example.com:",
            "https://example.com:99999",
        ] {
            assert!(!allows(&list, bad), "{bad}");
        }
        assert!(Origins::default().allow(None), "no browser");
        assert!(!Origins::default().allow(Some(b"https://example.com")));
        assert!(allows(&["*"], "null"));
        let loopback = Origins::new([], true).unwrap();
        assert!(loopback.allow(Some(b"http://localhost:8080")) && loopback.allow(Some(b"https://[::1]:1")));
        assert!(!loopback.allow(Some(b"http://localhost.evil:8080")));
        for mistake in ["example.com", "https://example.com/x", "https://"] {
            assert!(Origins::new([mistake], false).is_err(), "{mistake}");
        }
    }
}
