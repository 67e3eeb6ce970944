//! `[traces]`: where spans of publishes go.

use std::{fmt, path::PathBuf, time::Duration};

use http::Uri;

use super::{
    hooks::HookUrl,
    section::section,
    value::{Count, File, List, Maybe, SHORTEST, Switch, Text, TextKind, Time},
};

section! {
    /// Traces of publishes, for an OpenTelemetry collector (OTLP over HTTP). Without its address there are none. A span has no token, payload, user or client's address.
    pub struct TraceSettings in "traces" {
        /// Where the trace collector takes spans. Without a path in the address they go to `/v1/traces` there.
        otlp_endpoint: Option<OtlpUrl> = None, Maybe(OtlpUrlKind), restart,
            unset("nothing is traced", "\"http://otel-collector:4318/v1/traces\"");
        /// The share of publishes that are traced, where the caller does not decide: a `traceparent` with an API call says whether that one is.
        sample: Share = Share(10_000), ShareKind, restart;
        /// The name of the service (`service.name`).
        service_name: String = "roomcast".to_owned(), Text, restart;
        /// What else is said of this pod with its spans (attributes of the resource), its region for example.
        attributes: Vec<ResourceAttribute> = Vec::new(), List(ResourceAttributeKind), restart;
        /// Whether a span names its room. If not, it has the pattern of the room's policy: names of rooms may be those of people.
        room_names: bool = false, Switch, restart;
        /// Headers for the trace collector, its token for example: a line each, `name: value`. The file is read again before each request.
        headers_file: Option<PathBuf> = None, Maybe(File("file with headers")), restart,
            unset("none", "\"/etc/roomcast/otlp-headers\"");
        /// CA certificates that the trace collector is trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/collector-ca.pem\"");
        /// How long spans wait for others. 512 go at once.
        every: Duration = Duration::from_secs(5), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// For an answer of the trace collector.
        timeout: Duration = Duration::from_secs(10), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// The most spans that wait to be sent. When it is full the newest is dropped.
        queue: usize = 4_096, Count(1..=1_000_000), restart;
    }
}

impl TraceSettings {
    /// What is allowed, but probably not meant.
    pub(super) fn warning(&self) -> Option<String> {
        let url = self.otlp_endpoint.as_ref()?;
        (self.headers_file.is_some() && !url.0.is_safe()).then(|| {
            format!("`traces.otlp_endpoint` is {url}: over http, anything on the path can read the headers of `traces.headers_file`")
        })
    }
}

/// The address of a trace collector. Always holds: it is http or https, has a path, and no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpUrl(HookUrl);

impl OtlpUrl {
    /// Where the specification of OTLP has traces below a trace collector's address.
    const PATH: &'static str = "/v1/traces";

    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Err("it has a user or a password in it: `traces.headers_file` is for them".to_owned());
        }
        HookUrl::parse(text).map(|url| Self(url.with_default_path(Self::PATH)))
    }

    /// The address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.0.uri()
    }
}

impl fmt::Display for OtlpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// [`OtlpUrl`] as a value of a key.
struct OtlpUrlKind;

impl TextKind for OtlpUrlKind {
    type Value = OtlpUrl;
    const NAME: &'static str = "URL";
    const ALLOWED: &'static str = "an https URL, or an http one";

    fn read(&self, text: &str) -> Result<OtlpUrl, String> {
        OtlpUrl::parse(text)
    }

    fn write(&self, value: &OtlpUrl) -> String {
        value.to_string()
    }
}

/// A share of a whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// Reads a percentage with up to four decimals, `0.1%`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || "it is no percentage".to_owned();
        let number = text.trim().strip_suffix('%').ok_or_else(bad)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || whole.len() > 3 {
            return Err(bad());
        }
        if part.len() > 4 {
            return Err("it has more than four decimals".to_owned());
        }
        let millionths = format!("{whole}{part:0<4}").parse().map_err(|_| bad())?;
        if millionths > 1_000_000 {
            return Err("it is more than 100%".to_owned());
        }
        Ok(Self(millionths))
    }

    /// It, in millionths.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// [`Share`] as a value of a key.
struct ShareKind;

impl TextKind for ShareKind {
    type Value = Share;
    const NAME: &'static str = "share";
    const ALLOWED: &'static str = "0% to 100%, with up to four decimals";

    fn read(&self, text: &str) -> Result<Share, String> {
        Share::parse(text)
    }

    fn write(&self, value: &Share) -> String {
        value.to_string()
    }
}

/// One thing that is said of a pod with its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceAttribute {
    /// Its name in the conventions of OpenTelemetry, `cloud.region`.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl ResourceAttribute {
    /// Reads `key=value`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("it is not a name, `=` and a value".to_owned()),
        }
    }
}

/// [`ResourceAttribute`] as a value of a key.
struct ResourceAttributeKind;

impl TextKind for ResourceAttributeKind {
    type Value = ResourceAttribute;
    const NAME: &'static str = "attribute";
    const ALLOWED: &'static str = "`name=value`, `cloud.region=eu-west-1` for example";

    fn read(&self, text: &str) -> Result<ResourceAttribute, String> {
        ResourceAttribute::parse(text)
    }

    fn write(&self, value: &ResourceAttribute) -> String {
        format!("{}={}", value.key, value.value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_to_the_path_of_the_specification_or_to_another_one() {
        for (text, uri, safe) in [
            ("http://collector:4318", "http://collector:4318/v1/traces", false),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces", true),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces", true),
            ("https://otlp.example.com/otlp/v1/traces?key=1", "https://otlp.example.com/otlp/v1/traces?key=1", true),
        ] {
            let url = OtlpUrl::parse(text).unwrap();
            assert_eq!((url.uri().to_string(), url.0.is_safe()), (uri.to_owned(), safe));
        }
        for bad in ["", "collector:4318", "/v1/traces", "grpc://a:4317", "http://me:pass@collector"] {
            assert!(OtlpUrl::parse(bad).is_err(), "{bad}");
        }
        let shown = OtlpUrl::parse("https://a.example/b?secret=1").unwrap().to_string();
        assert_eq!(shown, "https://a.example/b");
    }

    #[test]
    fn headers_over_plain_http_are_worth_a_warning() {
        let settings = |url: &str, headers: bool| TraceSettings {
            otlp_endpoint: Some(OtlpUrl::parse(url).unwrap()),
            headers_file: headers.then(|| "/headers".into()),
            ..TraceSettings::default()
        };
        assert!(settings("http://collector:4318", true).warning().is_some());
        assert_eq!(settings("http://collector:4318", false).warning(), None);
        assert_eq!(settings("https://collector:4318", true).warning(), None);
        assert_eq!(TraceSettings::default().warning(), None);
    }

    #[test]
    fn shares_are_percentages() {
        for (text, millionths, shown) in [
            ("0%", 0, "0%"),
            ("0.0001%", 1, "0.0001%"),
            ("1%", 10_000, "1%"),
            ("12.50%", 125_000, "12.5%"),
            ("100%", 1_000_000, "100%"),
        ] {
            let share = Share::parse(text).unwrap();
            assert_eq!((share.millionths(), share.to_string()), (millionths, shown.to_owned()));
        }
        for bad in ["", "%", "1", "0.1", "-1%", "1.%", ".5%", "101%", "1000%", "0.00001%", "1e1%", "a%"] {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attributes_have_a_name_and_a_value() {
        let read = ResourceAttribute::parse("cloud.region = eu=west").unwrap();
        assert_eq!((&*read.key, &*read.value), ("cloud.region", "eu=west"));
        for bad in ["", "a", "=b", "a="] {
            assert!(ResourceAttribute::parse(bad).is_err(), "{bad}");
        }
    }
}
