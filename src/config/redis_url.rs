//! The address and the password of Redis, and the other kinds of value in `[redis]`.

use std::fmt;

use super::{host::host_and_port, value::TextKind};

/// A password of Redis. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPassword(Box<str>);

impl RedisPassword {
    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RedisPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisPassword(…)")
    }
}

/// [`RedisPassword`] as a value of a key.
pub(crate) struct RedisPasswordKind;

impl TextKind for RedisPasswordKind {
    type Value = RedisPassword;
    const NAME: &'static str = "secret";
    const ALLOWED: &'static str = "text without control characters";

    fn read(&self, text: &str) -> Result<RedisPassword, String> {
        if text.is_empty() {
            Err("it is empty".to_owned())
        } else if text.chars().any(char::is_control) {
            Err("it has control characters".to_owned())
        } else {
            Ok(RedisPassword(text.into()))
        }
    }

    fn write(&self, _: &RedisPassword) -> String {
        "…".to_owned()
    }
}

/// What the servers of a [`RedisUrl`] are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisKind {
    /// One server, or a node of a cluster if `redis.cluster` says so or is `auto`.
    Server,
    /// A node of a cluster.
    Cluster,
    /// A sentinel.
    Sentinel {
        /// What the sentinels call the master.
        master: String,
        /// The sentinels' own user.
        user: Option<String>,
        /// The sentinels' own password.
        password: Option<RedisPassword>,
    },
}

/// Where Redis is, and how to get in: `redis://user:password@host:port`. Shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// With TLS.
    pub tls: bool,
    /// What is there.
    pub kind: RedisKind,
    /// The ACL user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<RedisPassword>,
    /// The database; only a server that is no part of a cluster has others than 0.
    pub database: u8,
    /// Hosts, without brackets, and ports.
    pub nodes: Vec<(String, u16)>,
    /// The names of its parameters that say nothing here: an application's library knows them.
    pub passed_by: Vec<String>,
}

impl RedisUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words, none of them a part of the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A secret that was written with a line's end has one.
        let (scheme, rest) = text.trim_ascii().split_once("://").ok_or("it has no scheme")?;
        let (tls, kind) = match &*scheme.to_ascii_lowercase() {
            "redis" | "valkey" => (false, RedisKind::Server),
            "rediss" | "valkeys" => (true, RedisKind::Server),
            "redis-cluster" => (false, RedisKind::Cluster),
            "rediss-cluster" => (true, RedisKind::Cluster),
            kind @ ("redis-sentinel" | "rediss-sentinel") => {
                (kind.starts_with("rediss"), RedisKind::Sentinel { master: String::new(), user: None, password: None })
            }
            _ => return Err("its scheme is none of Redis'".to_owned()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // As other libraries have it: behind the slash, or as a parameter.
        let parameter = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "db");
        let database = match (path.trim_end_matches('/'), parameter) {
            ("", None) => 0,
            ("", Some((_, number))) => number.parse().map_err(|_| "its `db` is no number of a database, 0 to 255")?,
            (number, parameter) => {
                if parameter.is_some_and(|(_, other)| other != number) {
                    return Err("its `db` is another database than that behind the slash".to_owned());
                }
                number.parse().map_err(|_| "behind the slash there is no number of a database, 0 to 255")?
            }
        };
        if database != 0 && kind == RedisKind::Cluster {
            return Err(format!("a cluster has no database but 0, and it names {database}"));
        }
        // A password may hold an `@`, a host may not.
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => (None, None),
        };
        let port = if matches!(kind, RedisKind::Sentinel { .. }) { 26_379 } else { 6_379 };
        let mut url = Self {
            tls,
            kind,
            user,
            password: password.map(secret),
            database,
            nodes: Vec::new(),
            passed_by: Vec::new(),
        };
        for host in hosts.split(',') {
            url.nodes.push(host_and_port(host, port)?);
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &mut url.kind) {
                ("node", _) => url.nodes.push(host_and_port(&value, port)?),
                ("sentinelServiceName", RedisKind::Sentinel { master, .. }) => *master = value.into_owned(),
                ("sentinelUsername", RedisKind::Sentinel { user, .. }) => *user = Some(value.into_owned()),
                ("sentinelPassword", RedisKind::Sentinel { password, .. }) => {
                    *password = Some(RedisPassword(value.into()));
                }
                ("db", _) => {}
                // The more secure of two that differ: `rediss://` stays what it is.
                ("tls" | "ssl", _) => url.tls |= switch(&value)?,
                ("sentinelServiceName" | "sentinelUsername" | "sentinelPassword", _) => {
                    return Err(format!("it has `{name}`, and is not `redis-sentinel://…`"));
                }
                // An address that an application has already is to do as it is, whatever it tells that application's library.
                _ => url.passed_by.push(unknown(&name, &value)?),
            }
        }
        match &url.kind {
            RedisKind::Sentinel { master, .. } if master.is_empty() => {
                Err("it does not say what the sentinels call the master (?sentinelServiceName=NAME)".to_owned())
            }
            _ => Ok(url),
        }
    }
}

/// Whether a parameter that asks for TLS does.
fn switch(value: &str) -> Result<bool, String> {
    match &*value.to_ascii_lowercase() {
        "" | "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("its `tls` or `ssl` is neither true nor false: write `rediss://…` for TLS".to_owned()),
    }
}

/// What may be shown of the name of a parameter that means nothing here.
fn unknown(name: &str, value: &str) -> Result<String, String> {
    // Never with its name: behind a `?` in a password that was not encoded, it is a part of the password.
    if name.contains('@') || value.contains('@') {
        return Err("behind a `?` it has an `@`: in a password they are written `%3F` and `%40`".to_owned());
    }
    if ["password", "username"].iter().any(|login| name.eq_ignore_ascii_case(login)) {
        return Err("it has a login behind a `?`: write it before the host, `redis://USER:PASSWORD@HOST`".to_owned());
    }
    let is_name = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    Ok(if is_name { name.to_owned() } else { "…".to_owned() })
}

fn secret(text: String) -> RedisPassword {
    RedisPassword(text.into())
}

/// A part of the login, percent-decoded (RFC 3986 section 2.1); `None` if it is empty.
fn decoded(text: &str) -> Result<Option<String>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err("a `%` in its user or password is not followed by two hexadecimal digits".to_owned());
        };
        // Two digits make a byte.
        bytes.push((high * 16 + low) as u8);
        rest = rest.get(2..).unwrap_or_default();
    }
    let text = String::from_utf8(bytes).map_err(|_| "its user or password is not UTF-8")?;
    Ok((!text.is_empty()).then_some(text))
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RedisKind::Server => "",
            RedisKind::Cluster => "-cluster",
            RedisKind::Sentinel { .. } => "-sentinel",
        };
        write!(f, "redis{}{kind}://", if self.tls { "s" } else { "" })?;
        if self.user.is_some() || self.password.is_some() {
            // A password without a colon before it was read as a user.
            f.write_str("…@")?;
        }
        for (index, (host, port)) in self.nodes.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if host.contains(':') { write!(f, "{comma}[{host}]:{port}")? } else { write!(f, "{comma}{host}:{port}")? }
        }
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        match &self.kind {
            RedisKind::Sentinel { master, .. } => write!(f, "?sentinelServiceName={master}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

/// [`RedisUrl`] as a value of a key.
pub(crate) struct RedisUrlKind;

impl TextKind for RedisUrlKind {
    type Value = RedisUrl;
    const NAME: &'static str = "Redis address";
    const ALLOWED: &'static str = "`redis://USER:PASSWORD@HOST:PORT/DATABASE`, `rediss://…` with TLS, `redis-cluster://…`, or \
         `redis-sentinel://HOST:PORT?sentinelServiceName=NAME`; user, password, port and database may be left out, special \
         characters in them are percent-encoded";

    fn read(&self, text: &str) -> Result<RedisUrl, String> {
        RedisUrl::parse(text)
    }

    fn write(&self, value: &RedisUrl) -> String {
        value.to_string()
    }
}

/// What the names of keys may begin with.
pub(crate) struct KeyPrefix;

impl TextKind for KeyPrefix {
    type Value = String;
    const NAME: &'static str = "text";
    const ALLOWED: &'static str = "1 to 64 letters, digits and any of `- . _ : /`";

    fn read(&self, text: &str) -> Result<String, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '/');
        if text.is_empty() || text.len() > 64 {
            Err(format!("it has {} bytes", text.len()))
        } else if !text.chars().all(fits) {
            Err("it has characters that a prefix must not have: a brace would choose the slot of every room".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_passwords() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("rediss://10.0.0.1:7000/0", "rediss://10.0.0.1:7000"),
            ("redis://:p%40ss@[::1]:7/", "redis://…@[::1]:7"),
            ("redis://a/3", "redis://a:6379/3"),
            ("valkey://a/3", "redis://a:6379/3"),
            ("valkeys://a:7", "rediss://a:7"),
            ("redis://[a]:7/3", "redis://a:7/3"),
            ("redis://a?db=1", "redis://a:6379/1"),
            ("redis://a/1?db=1&protocol=3", "redis://a:6379/1"),
            (" REDISS://:s3cret@a:1/0?family=0&ssl_cert_reqs=none\n", "rediss://…@a:1"),
            ("redis://a?tls=true", "rediss://a:6379"),
            ("redis://a?ssl=1&lazyConnect", "rediss://a:6379"),
            ("redis://a?ssl=False", "redis://a:6379"),
            ("rediss://a?tls=false", "rediss://a:6379"),
            ("Redis-Sentinel://a?sentinelServiceName=m", "redis-sentinel://a:26379?sentinelServiceName=m"),
            ("redis-cluster://ann:s3cr@t@a,b:1", "redis-cluster://…@a:6379,b:1"),
            ("redis://s3cret@a", "redis://…@a:6379"),
            (
                "rediss-sentinel://a?sentinelServiceName=m&node=b:2&sentinelPassword=s3cret",
                "rediss-sentinel://a:26379,b:2?sentinelServiceName=m",
            ),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("RedisUrl({shown})")));
        }
        let url = RedisUrl::parse("redis://a%3ab:p%40s%25@h").unwrap();
        assert_eq!(url.user.as_deref(), Some("a:b"));
        assert_eq!(url.password.map(|p| p.reveal().to_owned()).as_deref(), Some("p@s%"));
    }

    #[test]
    fn parameters_of_other_libraries_are_passed_by() {
        let all = "connectTimeout=10000&lazyConnect=true&keyPrefix=x&idle_timeout=5m&ssl_ca_certs=/a&retry_on_error=a,b&clientName&s%20t=s3cret";
        let url = RedisUrl::parse(&format!("redis://:p@a:1/2?{all}&db=2")).unwrap();
        let plain = RedisUrl::parse("redis://:p@a:1/2").unwrap();
        let names = [
            "connectTimeout",
            "lazyConnect",
            "keyPrefix",
            "idle_timeout",
            "ssl_ca_certs",
            "retry_on_error",
            "clientName",
            "…",
        ];
        assert_eq!(url.passed_by, names);
        assert_eq!(RedisUrl { passed_by: Vec::new(), ..url }, plain);
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_the_password() {
        for bad in [
            "",
            "localhost:6379",
            "http://s3cret@a",
            "redis://",
            "redis://:s3cret@",
            "redis://:s3cret@a:0",
            "redis://:s3cret@a:99999",
            "redis://:s3cret@a/one",
            "redis://:s3cret@a/256",
            "redis-cluster://:s3cret@a/1",
            "redis://:s3cret%4@a",
            "redis://:s3cret%ff@a",
            "redis://[::1",
            "redis://[::zz]:1",
            "redis://:s3cret@::1:6379",
            "redis://a b",
            "redis://a?db=one",
            "redis://a/2?db=1",
            "redis-cluster://a?db=1",
            "redis://a?password=s3cret",
            "redis://a?Username=s3cret",
            "redis://a?tls=s3cret",
            "redis://a?sentinelPassword=s3cret",
            "redis://ann:x?y=s3cret@a",
            "redis://ann@a?s3cret%40",
            "redis://ann:x?s3cret@a",
            "redis://ann:x/s3cret@a",
            "redis://ann:s3cret",
            "redis-sentinel://:s3cret@a",
        ] {
            let error = RedisUrl::parse(bad).unwrap_err();
            assert!(!error.contains("s3cret"), "{bad}: {error}");
        }
    }
}
