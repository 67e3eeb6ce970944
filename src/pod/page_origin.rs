//! Which page a request comes from, and whether it may connect: one judge for WebSockets, polls, event streams, Socket.IO and
//! WebTransport.
//!
//! Owns the headers that are asked, `config` owns the allow-list. Always holds: a request that names two origins is refused, whatever
//! they are; a request that names none does not come from a browser and passes.

use http::{HeaderMap, HeaderValue, header};

use crate::config::Config;

/// What a request says of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOrigin<'a> {
    /// Nothing.
    Unnamed,
    /// Its page may connect.
    Allowed(&'a HeaderValue),
    /// Its page may not, or it is not clear which page is meant.
    Foreign,
}

impl<'a> PageOrigin<'a> {
    /// Reads it. `host`: what the request is for, where no `Host` says it.
    #[must_use]
    pub fn of(headers: &'a HeaderMap, host: Option<&str>, config: &Config) -> Self {
        Self::judge(headers, host, true, config)
    }

    /// Reads that of a WebTransport session, whose request is for `authority`. A page may pin the hash of a certificate instead of
    /// believing its name.
    #[must_use]
    pub fn over_quic(headers: &'a HeaderMap, authority: &str, config: &Config) -> Self {
        Self::judge(headers, Some(authority), false, config)
    }

    fn judge(headers: &'a HeaderMap, host: Option<&str>, names_are_proved: bool, config: &Config) -> Self {
        let mut lines = headers.get_all(header::ORIGIN).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Unnamed,
            // Some libraries write the header without a value. No browser does.
            (Some(origin), None) if origin.is_empty() => Self::Unnamed,
            (Some(origin), None)
                if config.origins.allow(origin.as_bytes())
                    || is_own(origin, headers, host, names_are_proved, config) =>
            {
                Self::Allowed(origin)
            }
            _ => Self::Foreign,
        }
    }

    /// Whether the request may go on.
    #[must_use]
    pub fn may_connect(self) -> bool {
        self != Self::Foreign
    }
}

/// Whether the origin is the very host that is asked: React Native and Swift's Starscream send that, and a page of the pod's own host is
/// not a foreign one. Where no certificate proves it, a name can be pointed at any address, so that a page may call a foreign pod its own
/// host (DNS rebinding): there it counts only if a token is needed, which such a page does not have. The scheme of a WebSocket, which
/// Starscream names, is that of no page.
fn is_own(
    origin: &HeaderValue,
    headers: &HeaderMap,
    host: Option<&str>,
    names_are_proved: bool,
    config: &Config,
) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (None, _) => host,
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let Some((origin, host)) = origin.to_str().ok().zip(named) else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let needs_token = !config.anonymous && !config.dev;
    let usual = match scheme {
        "https" if names_are_proved || needs_token => ":443",
        "http" if needs_token => ":80",
        "wss" => ":443",
        "ws" => ":80",
        _ => return false,
    };
    let bare = |authority: &'_ str| authority.strip_suffix(usual).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && authority.bytes().all(is_of_a_host) && bare(authority) == bare(host)
}

/// A letter of a host name, an address or a port.
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{ApiKey, Machine, MemoryCeiling, OriginPattern, Settings, resolve};

    fn config(anonymous: bool) -> Config {
        let mut settings = Settings::default();
        settings.general.dev = Some(false);
        settings.general.plain_listen = Some(vec![crate::config::ListenAddress::Ip(([127, 0, 0, 1], 0).into())]);
        settings.general.anonymous = Some(true);
        settings.general.origins = vec![OriginPattern::parse("https://app.example").unwrap()];
        let machine = Machine {
            cores: 1,
            open_files: 10_000,
            memory: MemoryCeiling::detect(),
            state_dir: None,
            api_key: ApiKey::new("key".into()).unwrap(),
        };
        Config { anonymous, ..resolve(settings, &machine).unwrap() }
    }

    fn may_connect(lines: &[(&'static str, &str)], host: Option<&str>, anonymous: bool) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        PageOrigin::of(&headers, host, &config(anonymous)).may_connect()
    }

    #[test]
    fn one_allowed_origin_passes_and_two_never_do() {
        let (app, evil) = (("origin", "https://app.example"), ("origin", "https://evil.example"));
        assert!(may_connect(&[], None, true) && may_connect(&[app], None, true));
        assert!(may_connect(&[("origin", "")], None, true), "it names none");
        for lines in [vec![evil], vec![app, evil], vec![evil, app], vec![app, app]] {
            assert!(!may_connect(&lines, None, true), "{lines:?}");
        }
    }

    #[test]
    fn the_host_itself_is_not_foreign() {
        let host = ("host", "push.example");
        for (origin, host, expected) in [
            ("https://push.example", host, true),
            ("https://PUSH.example:443", host, true),
            ("https://push.example", ("host", "push.example:443"), true),
            ("https://push.example:8443", ("host", "Push.example:8443"), true),
            ("https://push.example:444", host, false),
            ("https://push.example", ("host", "push.example:444"), false),
            ("https://push.example.evil.example", host, false),
            ("https://evil-push.example", host, false),
            ("https://a@push.example", ("host", "a@push.example"), false),
            ("https://", ("host", ""), false),
            ("null", ("host", "null"), false),
            ("file://push.example", host, false),
        ] {
            assert_eq!(may_connect(&[("origin", origin), host], None, true), expected, "{origin} {host:?}");
        }
        let own = ("origin", "https://push.example");
        assert!(may_connect(&[own], Some("push.example"), true) && !may_connect(&[own], None, true));
        assert!(!may_connect(&[own, host, ("host", "other.example")], None, true), "two hosts");
    }

    #[test]
    fn the_host_itself_may_be_named_with_the_scheme_of_a_websocket() {
        let host = ("host", "push.example");
        for (origin, host, expected) in [
            ("wss://push.example", host, true),
            ("ws://push.example", host, true),
            ("ws://push.example:3000", ("host", "push.example:3000"), true),
            ("ws://push.example", ("host", "push.example:80"), true),
            ("wss://Push.example:443", host, true),
            ("wss://push.example:444", host, false),
            ("wss://push.example.evil.example", host, false),
            ("ws://evil.example", host, false),
        ] {
            for anonymous in [true, false] {
                assert_eq!(may_connect(&[("origin", origin), host], None, anonymous), expected, "{origin} {host:?}");
            }
        }
    }

    #[test]
    fn over_quic_the_host_itself_passes_where_a_token_is_needed() {
        let may = |origin: &str, authority: &str, anonymous: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("origin", origin.parse().unwrap());
            PageOrigin::over_quic(&headers, authority, &config(anonymous)).may_connect()
        };
        for (origin, authority, expected) in [
            ("https://push.example", "push.example", true),
            ("https://push.example", "push.example:443", true),
            ("https://push.example:8443", "push.example:8443", true),
            ("https://push.example", "push.example:8443", false),
            ("https://evil.example", "push.example", false),
        ] {
            assert_eq!(may(origin, authority, false), expected, "{origin} {authority}");
            assert!(!may(origin, authority, true), "its certificate may be pinned: {origin} {authority}");
        }
        assert!(may("https://app.example", "push.example", true), "it is allowed");
    }

    #[test]
    fn without_tls_a_name_proves_nothing() {
        let lines = [("origin", "http://push.example"), ("host", "push.example")];
        assert!(!may_connect(&lines, None, true) && may_connect(&lines, None, false));
    }
}
