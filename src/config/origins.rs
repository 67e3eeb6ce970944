//! Which web pages may connect: an allow-list on the `Origin` that a browser sends (RFC 6454).
//!
//! Works on the parsed scheme, host and port, never on text: `https://example.com` must not let in
//! `https://example.com.evil.net`. A request without an `Origin` does not come from a page; whether it may connect is
//! not decided here.

use std::net::Ipv6Addr;

use super::value::TextKind;

/// The allow-list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<OriginPattern>);

/// One entry of the allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    text: String,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// `*`
    Any,
    Parts {
        scheme: String,
        host: HostPattern,
        /// `None`: `*`.
        port: Option<u16>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    V6(Ipv6Addr),
    Name {
        /// Any number of further labels, but at least one, may stand before `labels`: a leading `*.`
        below: bool,
        /// Each may contain `*` for any characters but dots.
        labels: Vec<String>,
    },
}

/// A serialised origin, RFC 6454 section 6.2.
#[derive(Debug, PartialEq, Eq)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: &'a str,
}

impl Origins {
    /// An allow-list. Empty, it refuses every page.
    #[must_use]
    pub fn new(patterns: Vec<OriginPattern>) -> Self {
        Self(patterns)
    }

    /// Whether pages of the origin in this header may connect. Anything but exactly one well-formed origin is refused:
    /// `null`, a list, a path, an address with a user, letters that are not ASCII.
    #[must_use]
    pub fn allow(&self, header: &[u8]) -> bool {
        if self.0.iter().any(|pattern| pattern.shape == Shape::Any) {
            return true;
        }
        let Some(origin) = std::str::from_utf8(header).ok().and_then(Origin::parse) else { return false };
        if origin.host.contains('*') {
            return false;
        }
        self.0.iter().any(|pattern| pattern.matches(&origin))
    }
}

impl OriginPattern {
    /// Reads `https://app.example.com`, `https://*.example.com`, `http://localhost:*` or `*`.
    ///
    /// # Errors
    /// What is wrong with the pattern, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        // As an address of a page is copied. No browser sends one.
        let text = text.strip_suffix('/').filter(|text| text.contains("://") && !text.ends_with('/')).unwrap_or(text);
        let shape = match text {
            "*" => Shape::Any,
            "null" => return Err("`null` is the origin of every sandboxed page, whatever its site".to_owned()),
            _ => Self::parts(text)?,
        };
        Ok(Self { text: text.to_owned(), shape })
    }

    /// Pages of this machine, on any port: what development mode lets in.
    pub(crate) fn loopback() -> Vec<Self> {
        let hosts = ["localhost", "127.0.0.1", "[::1]"];
        let texts = hosts.iter().flat_map(|host| [format!("http://{host}:*"), format!("https://{host}:*")]);
        texts.filter_map(|text| Self::parse(&text).ok()).collect()
    }

    fn parts(text: &str) -> Result<Shape, String> {
        let origin = Origin::parse(text).ok_or_else(|| match text.split_once("://") {
            None => "it has no scheme".to_owned(),
            Some((_, rest)) if rest.contains('/') => "an origin ends after the host or port, without a path".to_owned(),
            Some(_) => "it is not an origin".to_owned(),
        })?;
        if origin.scheme.eq_ignore_ascii_case("file") {
            return Err("`file:` pages have no origin of their own".to_owned());
        }
        if origin.scheme.contains('*') {
            return Err("a scheme must be written out".to_owned());
        }
        let port = match origin.port {
            "*" => None,
            _ => Some(origin.port().ok_or("its port is not one of 1 to 65535, or `*`")?),
        };
        let host = match origin.v6() {
            Some(address) => HostPattern::V6(address),
            None => {
                let name = origin.host.to_ascii_lowercase();
                let (below, name) = name.strip_prefix("*.").map_or((false, name.as_str()), |rest| (true, rest));
                let labels: Vec<String> = name.split('.').map(str::to_owned).collect();
                // `*example.com` would match `evil-example.com`, and `*.com` nearly every site.
                let own = labels.len().saturating_sub(2);
                if labels.iter().skip(own).any(|label| label.contains('*')) || (below && labels.len() < 2) {
                    return Err("a `*` so far right in the host would match foreign domains".to_owned());
                }
                HostPattern::Name { below, labels }
            }
        };
        Ok(Shape::Parts { scheme: origin.scheme.to_ascii_lowercase(), host, port })
    }

    fn matches(&self, origin: &Origin<'_>) -> bool {
        match &self.shape {
            Shape::Any => true,
            Shape::Parts { scheme, host, port } => {
                origin.scheme.eq_ignore_ascii_case(scheme)
                    && origin.port().is_some_and(|given| port.is_none_or(|port| port == given))
                    && host.matches(origin)
            }
        }
    }
}

impl HostPattern {
    fn matches(&self, origin: &Origin<'_>) -> bool {
        match self {
            Self::V6(address) => origin.v6().as_ref() == Some(address),
            Self::Name { below, labels } => {
                let given: Vec<&str> = origin.host.split('.').collect();
                let Some(more) = given.len().checked_sub(labels.len()) else { return false };
                let depth = if *below { more >= 1 } else { more == 0 };
                depth && given.iter().skip(more).zip(labels).all(|(given, label)| label_matches(label, given))
            }
        }
    }
}

impl<'a> Origin<'a> {
    /// Splits `scheme://host[:port]`; `None` for anything else. A `*` passes, for patterns: no browser sends one.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => {
                address.parse::<Ipv6Addr>().ok()?;
                (rest.get(..address.len() + 2)?, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
            }
            None => {
                let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
                let host_ok = host.split('.').all(|label| {
                    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b))
                });
                host_ok.then_some((host, port))?
            }
        };
        let port_ok = port == "*" || (port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()));
        let ended = !rest.ends_with(':');
        (scheme_ok && port_ok && ended).then_some(Self { scheme, host, port })
    }

    /// The port, that of the scheme if none is written.
    fn port(&self) -> Option<u16> {
        match self.port {
            "" if self.scheme.eq_ignore_ascii_case("https") || self.scheme.eq_ignore_ascii_case("wss") => Some(443),
            "" if self.scheme.eq_ignore_ascii_case("http") || self.scheme.eq_ignore_ascii_case("ws") => Some(80),
            // A scheme without ports, such as an app's own.
            "" => Some(0),
            port => port.parse().ok().filter(|port| *port != 0),
        }
    }

    fn v6(&self) -> Option<Ipv6Addr> {
        self.host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }
}

/// Whether a label fits one with `*` for any characters.
fn label_matches(pattern: &str, label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == label };
    let Some(mut left) = label.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or("");
    for piece in pieces {
        // The earliest place leaves the most for the later pieces.
        let Some(at) = left.find(piece) else { return false };
        left = left.get(at + piece.len()..).unwrap_or("");
    }
    left.ends_with(last)
}

/// [`OriginPattern`] as a value of a key.
pub(crate) struct OriginKind;

impl TextKind for OriginKind {
    type Value = OriginPattern;
    const NAME: &'static str = "origin";
    const ALLOWED: &'static str = "`https://app.example.com`, `https://*.example.com` (every name below it), `https://pr-*.example.com`, \
         `http://localhost:*` (any port), `*` (every page)";

    fn read(&self, text: &str) -> Result<OriginPattern, String> {
        OriginPattern::parse(text)
    }

    fn write(&self, value: &OriginPattern) -> String {
        value.text.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origins(patterns: &[&str]) -> Origins {
        Origins::new(patterns.iter().map(|text| OriginPattern::parse(text).unwrap()).collect())
    }

    #[test]
    fn the_listed_ones_may_connect() {
        for (pattern, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com", "https://app.example.com:443"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("HTTPS://App.Example.Com", "https://app.example.com"),
            ("http://example.com", "http://example.com:80"),
            ("http://example.com:8080", "http://example.com:8080"),
            ("http://localhost:*", "http://localhost:5173"),
            ("http://localhost:*", "http://localhost"),
            ("https://*.example.com", "https://app.example.com"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("https://*.example.com:*", "https://app.example.com:8443"),
            ("https://pr-*.example.com", "https://pr-17.example.com"),
            ("https://pr-*.example.com", "https://pr-.example.com"),
            ("https://*-a-*-b.example.com", "https://1-a-2-a-3-b.example.com"),
            ("https://*.pr-*.example.com", "https://x.y.pr-1.example.com"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://192.168.1.7:3000", "http://192.168.1.7:3000"),
            ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "https://anything.example"),
            ("*", "null"),
        ] {
            assert!(origins(&[pattern]).allow(origin.as_bytes()), "{pattern} {origin}");
        }
        assert!(origins(&["https://a.example", "https://b.example"]).allow(b"https://b.example"));
    }

    #[test]
    fn what_only_looks_like_a_listed_one_may_not() {
        let listed =
            ["https://example.com", "https://*.example.com", "https://pr-*.example.org", "http://localhost:3000"];
        for origin in [
            "null",
            "",
            "file://",
            "file:///etc/passwd",
            "https://evil-example.com",
            "https://example.com.evil.net",
            "https://app.example.com.evil.net",
            "https://example.comevil.net",
            "https://evil.net/https://example.com",
            "https://evil.net#https://example.com",
            "https://example.com@evil.net",
            "https://user:password@example.com",
            "https://example.com:8443",
            "https://example.com:0",
            "https://example.com:",
            "https://example.com:443x",
            "https://example.com:99999",
            "https://example.com/",
            "https://example.com.",
            "https://.example.com",
            "https://a..example.com",
            "http://example.com",
            "wss://example.com",
            "https:example.com",
            "https:/example.com",
            "example.com",
            "https://ex\u{430}mple.com",
            "https://example\u{3002}com",
            "https://example.com https://evil.net",
            "https://example.com,https://evil.net",
            " https://example.com",
            "https://example.com\n",
            "https://*.example.com",
            "https://pr-1.x.example.org",
            "https://pr-1.evil.org",
            "https://xpr-1.example.org",
            "http://localhost",
            "http://localhost:3001",
            "http://localhost:*",
            "http://localhost.evil.net:3000",
            "http://[::1]:3000",
            "http://[::1",
            "http://[zz]:3000",
            "http://[::1]x:3000",
            "http://127.0.0.1:3000",
        ] {
            assert!(!origins(&listed).allow(origin.as_bytes()), "{origin:?}");
        }
        assert!(!origins(&listed).allow(b"https://example.com\xff"));
        assert!(!origins(&[]).allow(b"https://example.com"));
        assert!(!origins(&["http://localhost:*"]).allow(b"http://localhost:0"));
    }

    #[test]
    fn a_pattern_that_would_let_in_others_is_refused() {
        let right = "a `*` so far right in the host would match foreign domains";
        for (pattern, why) in [
            ("null", "`null` is the origin of every sandboxed page, whatever its site"),
            ("file://x", "`file:` pages have no origin of their own"),
            ("app.example.com", "it has no scheme"),
            ("", "it has no scheme"),
            ("https://app.example.com/app", "an origin ends after the host or port, without a path"),
            ("https://app.example.com//", "an origin ends after the host or port, without a path"),
            ("https://", "it is not an origin"),
            ("https://exämple.com", "it is not an origin"),
            ("https://example.com:70000", "its port is not one of 1 to 65535, or `*`"),
            ("https://example.com:0", "its port is not one of 1 to 65535, or `*`"),
            ("https://*example.com", right),
            ("https://*.com", right),
            ("https://example.*", right),
            ("https://*", right),
            ("https://a.*.com", right),
            ("*://example.com", "it is not an origin"),
        ] {
            assert_eq!(OriginPattern::parse(pattern).unwrap_err(), why, "{pattern}");
        }
    }

    #[test]
    fn loopback_is_this_machine_on_every_port() {
        let loopback = Origins::new(OriginPattern::loopback());
        for origin in ["http://localhost:8080", "https://localhost", "http://127.0.0.1:5173", "https://[::1]:8443"] {
            assert!(loopback.allow(origin.as_bytes()), "{origin}");
        }
        for origin in ["http://localhost.evil.net:8080", "http://127.0.0.2:8080", "http://[::2]:8080", "null"] {
            assert!(!loopback.allow(origin.as_bytes()), "{origin}");
        }
    }

    proptest::proptest! {
        #[test]
        fn only_names_below_the_domain_pass_its_pattern(
            origin in "(https?|HTTPS|file|x)(://|:/|:)[a-z.@/*:#\\[\\]%\u{430}-]{0,6}(example\\.com|EXAMPLE.com|\\.)[a-z0-9.:@/#]{0,6}"
        ) {
            if origins(&["https://*.example.com:*"]).allow(origin.as_bytes()) {
                let rest = origin.to_ascii_lowercase();
                let rest = rest.strip_prefix("https://").unwrap();
                let host = rest.split(':').next().unwrap();
                proptest::prop_assert!(host.ends_with(".example.com"), "{}", origin);
                proptest::prop_assert!(!rest.contains(['/', '@', '#', '*', '[']), "{}", origin);
            }
        }
    }
}
