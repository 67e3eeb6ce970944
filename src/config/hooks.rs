//! `[hooks]`: a backend that decides and is told, over HTTP.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use http::{HeaderName, Uri, uri::PathAndQuery};

use super::{
    section::section,
    settings_error::SettingsError,
    value::{Bytes, Choice, Count, File, GIB, KIB, List, MIB, Maybe, Switch, TextKind, Time},
};
use crate::model::{Access, Policy};

section! {
    /// A backend that decides over HTTP which clients connect, join and publish, and that clients call. Its questions and its answers: `docs/HOOKS.md`.
    pub struct HookSettings in "hooks" {
        /// The URL that decides whether a client may connect, and as which user.
        connect: Option<HookUrl> = None, Maybe(HookUrlKind), restart,
            unset("no backend is asked", "\"https://backend.example.com/hooks/connect\"");
        /// The URL that decides whether a client may join a room whose policy has `subscribe_hook`.
        subscribe: Option<HookUrl> = None, Maybe(HookUrlKind), restart,
            unset("no backend is asked", "\"https://backend.example.com/hooks/subscribe\"");
        /// The URL that decides whether a client may publish to a room whose policy has `publish_hook`, and that may change the event.
        publish: Option<HookUrl> = None, Maybe(HookUrlKind), restart,
            unset("no backend is asked", "\"https://backend.example.com/hooks/publish\"");
        /// The URL that answers what clients ask of the backend itself (`rpc`).
        rpc: Option<HookUrl> = None, Maybe(HookUrlKind), restart,
            unset("clients cannot call the backend", "\"https://backend.example.com/hooks/rpc\"");
        /// The URL that is told of events in personal rooms whose policy has `absent_hook`, if their users have no connection to any pod:
        /// so that the backend reaches them otherwise.
        absent: Option<HookUrl> = None, Maybe(HookUrlKind), restart,
            unset("no backend is told", "\"https://backend.example.com/hooks/absent\"");
        /// How long after an event it is looked whether its user is there. One that comes back in this time is not counted as away.
        absent_after: Duration = Duration::from_secs(5), Time(Duration::ZERO..=Duration::from_secs(300)), restart;
        /// Whether an event's data is told to `absent`, if it has no more than 2 KiB.
        absent_data: bool = false, Switch, restart;
        /// The most events that wait to be told. When it is full the oldest is dropped.
        absent_queue: usize = 10_000, Count(1..=1_000_000), restart;
        /// The secret that proves to the backend that a pod asks: sent as `Authorization: Bearer`.
        secret: Option<HookSecret> = None, Maybe(HookSecretKind), restart, secret(), unset("none is sent", "\"${HOOK_SECRET}\"");
        /// CA certificates that the backend is trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/backend-ca.pem\"");
        /// The time for an answer, the retries included. After it the client is refused with `unavailable`.
        timeout: Duration = Duration::from_secs(2), Time(Duration::from_millis(50)..=Duration::from_secs(10)), restart;
        /// How often a question is asked again, within `timeout`, after a transport error or a status 502, 503 or 504.
        retries: u32 = 2, Count(0..=10), restart;
        /// The most questions under way at once, those of one user a quarter of what is left, 8 at least. Above it clients are refused with
        /// `unavailable` at once.
        in_flight: usize = 256, Count(1..=65_536), restart;
        /// The clients that may call `rpc`: all, those with a token, those whose token names the method (`tokens.methods_claim`), or none.
        rpc_access: Access = Access::User, Choice(RPC_ACCESS), restart;
        /// The time for an answer to a call, the retries included. After it the client is told `deadline`.
        rpc_timeout: Duration = Duration::from_secs(5), Time(Duration::from_millis(50)..=Duration::from_secs(60)), restart;
        /// The most calls of this pod's clients under way at once, those of one user a quarter of what is left, 8 at least. Above it clients are refused with
        /// `unavailable` at once.
        rpc_in_flight: usize = 256, Count(1..=65_536), restart;
        /// The most calls of one connection under way at once. Above it they are refused with `limit_exceeded`.
        rpc_per_connection: usize = 8, Count(1..=1_000), restart;
        /// How many calls a second one client may make for long. Further ones are refused with `rate_limited`; a client that does not stop
        /// is closed with 4029.
        rpc_per_second: u32 = 10, Count(1..=100_000), restart;
        /// How many calls one client may make at once.
        rpc_burst: u32 = 50, Count(1..=100_000), restart;
        /// The most bytes of an answer. A larger one counts as none.
        max_answer: usize = 256 * KIB, Bytes(KIB..=16 * MIB), restart;
        /// The most bytes of cached answers. An answer says how long it may be cached. 0 caches none.
        cache: usize = 16 * MIB, Bytes(0..=GIB), restart;
        /// The headers of a client's request that are sent to the connect hook, by name.
        headers: Vec<HeaderName> = Vec::new(), List(ForwardedHeader), restart;
        /// Whether the client's token is sent to the connect hook. If `[tokens]` and `[token_lookup]` have no keys, the backend alone
        /// then verifies the token.
        token: bool = false, Switch, restart;
    }
}

/// The clients that may call the backend. A method is no room, so that none owns it.
const RPC_ACCESS: &[(&str, Access)] =
    &[("anyone", Access::Anyone), ("user", Access::User), ("claim", Access::Claim), ("nobody", Access::Nobody)];

impl HookSettings {
    /// The clients that may call the backend: none without a URL.
    #[must_use]
    pub fn rpc_access(&self) -> Access {
        if self.rpc.is_some() { self.rpc_access } else { Access::Nobody }
    }

    /// Checks the hooks against the policies: a policy without its hook, a hook without a policy, an address that is not safe.
    pub(super) fn check<'a>(
        &self,
        policies: impl Iterator<Item = &'a Policy>,
        errors: &mut Vec<SettingsError>,
        warnings: &mut Vec<String>,
    ) {
        let (mut subscribe, mut publish, mut absent) = (false, false, false);
        for policy in policies {
            subscribe |= policy.subscribe_hook;
            publish |= policy.publish_hook;
            absent |= policy.absent_hook;
        }
        let wanted = [
            ("subscribe", subscribe, &self.subscribe),
            ("publish", publish, &self.publish),
            ("absent", absent, &self.absent),
        ];
        for (name, wanted, url) in wanted {
            match (wanted, url) {
                (true, None) => errors.push(SettingsError::Hook(name)),
                (false, Some(_)) => warnings
                    .push(format!("`hooks.{name}` is set, but no policy has `{name}_hook = true`: it is never asked")),
                _ => {}
            }
        }
        let urls = [
            ("connect", &self.connect),
            ("subscribe", &self.subscribe),
            ("publish", &self.publish),
            ("rpc", &self.rpc),
            ("absent", &self.absent),
        ];
        for (name, url) in urls.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?))) {
            if !url.is_safe() {
                warnings.push(format!(
                    "`hooks.{name}` is {url}: over http, anything on the path can read the secret and answer instead of the backend"
                ));
            }
        }
        if self.token && self.connect.is_none() {
            warnings.push("`hooks.token` is on, but `hooks.connect` is not set: no token is sent".to_owned());
        }
    }
}

/// The URL of a hook. Always holds: it is http or https, and it has no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookUrl(Uri);

impl HookUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("it is not a URL: {error}"))?;
        let (Some(scheme), Some(_)) = (uri.scheme_str(), uri.authority()) else {
            return Err("it is not a URL with a scheme and a host".to_owned());
        };
        // In the path too: behind a `/` or `?` in a password that was not encoded, the rest of it stands there.
        if text.contains('@') {
            return Err("it has a user or a password in it (an `@` of another part is written `%40`); `hooks.secret` proves that a pod asks".to_owned());
        }
        match scheme {
            "https" | "http" => Ok(Self(uri)),
            _ => Err("it is neither https nor http".to_owned()),
        }
    }

    /// The address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// This address, with a path where it has none.
    pub(super) fn with_default_path(self, path: &'static str) -> Self {
        let mut parts = self.0.clone().into_parts();
        if parts.path_and_query.as_ref().is_none_or(|given| given == "/") {
            parts.path_and_query = Some(PathAndQuery::from_static(path));
        }
        Uri::from_parts(parts).map_or(self, Self)
    }

    /// Whether nothing on the path can read what is said or change an answer: https, or this machine.
    pub(super) fn is_safe(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        self.0.scheme_str() == Some("https")
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// For people and logs: without the query, in which some servers want a secret.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }
}

/// [`HookUrl`] as a value of a key.
struct HookUrlKind;

impl TextKind for HookUrlKind {
    type Value = HookUrl;
    const NAME: &'static str = "URL";
    const ALLOWED: &'static str = "an https URL, or an http one";

    fn read(&self, text: &str) -> Result<HookUrl, String> {
        HookUrl::parse(text)
    }

    fn write(&self, value: &HookUrl) -> String {
        value.to_string()
    }
}

/// The secret that proves to the backend that a pod asks. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(Box<str>);

impl HookSecret {
    /// A secret of printable ASCII; `None` if it is shorter than 16 bytes, or no header could carry it.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        (secret.len() >= 16 && secret.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(secret.into()))
    }

    /// The secret itself, to be sent and never shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecret(…)")
    }
}

/// [`HookSecret`] as a value of a key.
struct HookSecretKind;

impl TextKind for HookSecretKind {
    type Value = HookSecret;
    const NAME: &'static str = "secret";
    const ALLOWED: &'static str = "printable ASCII without spaces, 16 bytes or more";

    fn read(&self, text: &str) -> Result<HookSecret, String> {
        HookSecret::new(text)
            .ok_or_else(|| "it has fewer than 16 bytes, or characters that no header can carry".to_owned())
    }

    fn write(&self, _: &HookSecret) -> String {
        "…".to_owned()
    }
}

/// The name of a header that is sent to the backend.
struct ForwardedHeader;

impl TextKind for ForwardedHeader {
    type Value = HeaderName;
    const NAME: &'static str = "header";
    const ALLOWED: &'static str =
        "a header's name, `cookie` for example, but not `authorization` and `sec-websocket-protocol`";

    fn read(&self, text: &str) -> Result<HeaderName, String> {
        let name: HeaderName = text.parse().map_err(|_| "it is not a header's name".to_owned())?;
        if name == http::header::AUTHORIZATION || name == http::header::SEC_WEBSOCKET_PROTOCOL {
            return Err("it holds the client's token, which `hooks.token` is for".to_owned());
        }
        Ok(name)
    }

    fn write(&self, value: &HeaderName) -> String {
        value.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{raw::Raw, value::Kind};

    #[test]
    fn addresses_are_http_without_passwords() {
        for (text, safe) in [
            ("https://backend.example.com/hooks?key=1", true),
            ("http://localhost:8000/", true),
            ("http://[::1]:8000/", true),
            ("http://127.0.0.1/", true),
            ("http://backend.svc:8080/connect", false),
        ] {
            assert_eq!(HookUrl::parse(text).map(|url| url.is_safe()), Ok(safe), "{text}");
        }
        for bad in ["", "backend", "/connect", "ftp://a/b", "http://me:pass@backend/", "https://"] {
            assert!(HookUrl::parse(bad).is_err(), "{bad}");
        }
        let shown = HookUrl::parse("https://a.example/b?secret=1").map(|url| url.to_string());
        assert_eq!(shown.as_deref(), Ok("https://a.example/b"));
    }

    #[test]
    fn secrets_and_headers_are_checked() {
        let text = |text: &str| Raw::Text(text.to_owned());
        for bad in ["", "short", "with space in the middle", "gr\u{fc}\u{df}e-an-alle-welt"] {
            assert!(HookSecretKind.parse(&text(bad)).is_err(), "{bad}");
        }
        let secret = HookSecret::new("sixteen-bytes-or-more");
        assert!(secret.is_some() && !format!("{secret:?}").contains("sixteen"));
        assert!(ForwardedHeader.parse(&text("X-Forwarded-For")).is_ok_and(|name| name == "x-forwarded-for"));
        for bad in ["", "a b", "Authorization", "Sec-WebSocket-Protocol"] {
            assert!(ForwardedHeader.parse(&text(bad)).is_err(), "{bad}");
        }
    }
}
