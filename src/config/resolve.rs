//! From what was set to what the pod does: the rules between keys, development mode above all. Pure.

use std::path::PathBuf;

use super::{
    address::{Bind, ListenAddress},
    api_key::ApiKey,
    origins::{OriginPattern, Origins},
    policies::Policies,
    settings::{Compression, Limits, LogFormat, LogLevel, MemoryBroker, Settings, Socket, Timeouts},
};

/// Files that a pod has open beside its connections: listeners, logs, the API's own connections.
const RESERVED_FILES: u64 = 256;

/// More connections than this have never been tried on one pod.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// What the machine and the process give where the settings leave it open.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How many threads can run at once.
    pub cores: usize,
    /// The hard limit of open files: the pod raises its soft limit to it.
    pub open_files: u64,
    /// Where state of this user is kept.
    pub state_dir: Option<PathBuf>,
    /// The API key of development mode, made once a process, so that a reload keeps it.
    pub api_key: ApiKey,
}

/// What the pod does. Everything is decided: nothing in here stands for a default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Development mode.
    pub dev: bool,
    /// TLS listeners; empty without a certificate.
    pub listen: Vec<Bind>,
    /// Listeners without TLS.
    pub plain_listen: Vec<Bind>,
    /// Listeners of the API, health and metrics.
    pub internal_listen: Vec<Bind>,
    /// Where the certificate comes from; `None`: no TLS.
    pub tls: Option<Tls>,
    /// Keys of the API; empty: it refuses everybody.
    pub api_keys: Vec<ApiKey>,
    /// Whether the API key was made by this process, so that it must be printed for anybody to know it.
    pub api_key_generated: bool,
    /// Which pages may connect.
    pub origins: Origins,
    /// Whether clients without a token may connect.
    pub anonymous: bool,
    /// The most connections.
    pub max_connections: usize,
    /// The most bytes that queues may really hold.
    pub memory_budget: usize,
    /// Threads that serve connections.
    pub workers: usize,
    /// How log lines look.
    pub log: LogFormat,
    /// The least important lines that are written.
    pub log_level: LogLevel,
    /// What one connection may do.
    pub limits: Limits,
    /// How long the pod waits.
    pub timeouts: Timeouts,
    /// What happens on SIGTERM.
    pub drain: Drain,
    /// The sockets of connections.
    pub socket: Socket,
    /// permessage-deflate.
    pub compression: Compression,
    /// The embedded broker.
    pub memory_broker: MemoryBroker,
    /// How rooms behave.
    pub policies: Policies,
    /// What the operator should know: worth a log line each.
    pub warnings: Vec<String>,
    /// What was set, for comparing after a reload.
    pub settings: Settings,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Files that somebody renews.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made by the pod.
    Development {
        /// Where it is kept between starts; `None`: nowhere.
        state_dir: Option<PathBuf>,
    },
}

/// What happens on SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long new connections are still taken after `/ready` says no.
    pub delay: std::time::Duration,
    /// The time over which clients are sent away.
    pub window: std::time::Duration,
}

/// What is missing for a pod to make sense. Each says what to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A certificate without its key.
    #[error("`cert` is set but `key` is not: set `key` (--key FILE, ROOMCAST_KEY) to the certificate's private key")]
    Key,
    /// A key without its certificate.
    #[error("`key` is set but `cert` is not: set `cert` (--cert FILE, ROOMCAST_CERT) to the certificate chain")]
    Cert,
    /// A TLS listener without a certificate.
    #[error(
        "`listen` is set, but a TLS listener needs a certificate: set `cert` and `key` (--cert FILE --key FILE), \
         or listen without TLS with `plain_listen` (--plain-listen ADDR), or use development mode (--dev)"
    )]
    Certificate,
    /// Nothing to listen on.
    #[error(
        "there is no listener for clients: set `cert` and `key` (--cert FILE --key FILE) for a TLS listener, \
         or `plain_listen` (--plain-listen ADDR) for one without, or use development mode (--dev)"
    )]
    Listener,
    /// Nobody to serve.
    #[error(
        "nobody could join: set `anonymous = true` (--anonymous, ROOMCAST_ANONYMOUS) to let clients in without a token, \
         or use development mode (--dev)"
    )]
    Audience,
}

/// Applies the rules between keys.
///
/// Without a certificate (and unless `dev` says otherwise) the pod is in development mode: it listens on loopback
/// addresses unless told otherwise, also without TLS, lets in pages of this machine and anonymous clients, and makes
/// its certificate and an API key. Outside of it nothing is made and nobody is let in unless it was set so.
///
/// # Errors
/// Everything that is [`Missing`].
pub fn resolve(settings: Settings, machine: &Machine) -> Result<Config, Vec<Missing>> {
    let general = &settings.general;
    let mut missing = Vec::new();
    let mut warnings = Vec::new();
    let dev = general.dev.unwrap_or(general.cert.is_none() && general.key.is_none());

    let tls = match (&general.cert, &general.key) {
        (Some(cert), Some(key)) => Some(Tls::Files { cert: cert.clone(), key: key.clone() }),
        (Some(_), None) => {
            missing.push(Missing::Key);
            None
        }
        (None, Some(_)) => {
            missing.push(Missing::Cert);
            None
        }
        (None, None) if dev => {
            let state_dir = general.state_dir.clone().or_else(|| machine.state_dir.clone());
            Some(Tls::Development { state_dir })
        }
        (None, None) => None,
    };

    let by_mode = |set: &Option<Vec<ListenAddress>>, development, otherwise: Option<ListenAddress>| match set {
        Some(set) => set.clone(),
        None if dev => vec![ListenAddress::Localhost(development)],
        None => otherwise.into_iter().collect(),
    };
    let everywhere = ListenAddress::Ip((std::net::Ipv6Addr::UNSPECIFIED, 8443).into());
    let listen = by_mode(&general.listen, 8443, tls.is_some().then_some(everywhere));
    let plain_listen = by_mode(&general.plain_listen, 8080, None);
    if missing.is_empty() {
        if tls.is_none() && !listen.is_empty() {
            missing.push(Missing::Certificate);
        } else if listen.is_empty() && plain_listen.is_empty() {
            missing.push(Missing::Listener);
        }
    }
    let binds = |addresses: &[ListenAddress]| addresses.iter().flat_map(|address| address.binds()).collect::<Vec<_>>();
    let (listen, plain_listen) = (binds(&listen), binds(&plain_listen));
    let internal_listen = binds(&general.internal_listen);
    if dev {
        for bind in listen.iter().chain(&plain_listen).filter(|bind| !bind.address.ip().is_loopback()) {
            warnings.push(format!(
                "development mode listens on {}: whoever reaches it may join without a token",
                bind.address
            ));
        }
    }

    let anonymous = general.anonymous.unwrap_or(dev);
    if !anonymous {
        if dev {
            warnings.push("`anonymous` is false, so nobody can join".to_owned());
        } else {
            missing.push(Missing::Audience);
        }
    }

    let api_key_generated = dev && general.api_keys.is_none();
    let api_keys = match &general.api_keys {
        Some(keys) => keys.iter().flatten().cloned().collect(),
        None if dev => vec![machine.api_key.clone()],
        None => Vec::new(),
    };
    if api_keys.is_empty() {
        warnings.push(
            "there is no API key, so the HTTP publish API refuses everybody: \
             set `api_keys` (--api-key KEY, ROOMCAST_API_KEYS)"
                .to_owned(),
        );
    }

    let mut origins = general.origins.clone();
    if dev {
        origins.extend(OriginPattern::loopback());
    }
    if origins.is_empty() {
        warnings.push(
            "`origins` is empty, so no web page can connect: set it (--origin https://app.example.com, ROOMCAST_ORIGINS)"
                .to_owned(),
        );
    }

    let possible = machine.open_files.saturating_sub(RESERVED_FILES).clamp(1, MOST_CONNECTIONS);
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    let max_connections = general.max_connections.unwrap_or(possible);
    if max_connections > possible {
        warnings.push(format!(
            "`max_connections` is {max_connections}, but the open-file limit allows about {possible}: raise it (ulimit -Hn)"
        ));
    }

    for (index, rule) in settings.policies.iter().enumerate() {
        let earlier = || settings.policies.iter().take(index).flat_map(|rule| &rule.patterns);
        if rule.patterns.iter().all(|p| earlier().any(|e| e == p || e.as_str() == "*")) {
            let patterns: Vec<_> = rule.patterns.iter().map(|pattern| format!("`{}`", pattern.as_str())).collect();
            warnings.push(format!(
                "the policy for {} is never used: policies above it match the same rooms, and the first one wins",
                patterns.join(", ")
            ));
        }
    }

    if !missing.is_empty() {
        return Err(missing);
    }
    let rules = settings
        .policies
        .iter()
        .map(|rule| (rule.patterns.iter().map(|pattern| pattern.matcher().clone()).collect(), rule.policy.clone()));
    let mode = |development, otherwise| if dev { development } else { otherwise };
    let seconds = std::time::Duration::from_secs;
    Ok(Config {
        dev,
        listen,
        plain_listen,
        internal_listen,
        tls,
        api_keys,
        api_key_generated,
        origins: Origins::new(origins),
        anonymous,
        max_connections,
        memory_budget: general.memory_budget,
        workers: general.workers.unwrap_or(machine.cores.max(1)),
        log: general.log.unwrap_or(if dev { LogFormat::Text } else { LogFormat::Json }),
        log_level: general.log_level,
        limits: settings.limits.clone(),
        timeouts: settings.timeouts.clone(),
        drain: Drain {
            delay: settings.drain.delay.unwrap_or(mode(seconds(0), seconds(5))),
            window: settings.drain.window.unwrap_or(mode(seconds(0), seconds(60))),
        },
        socket: settings.socket.clone(),
        compression: settings.compression.clone(),
        memory_broker: settings.memory_broker.clone(),
        policies: Policies::new(rules.collect(), settings.default_policy.clone()),
        warnings,
        settings,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Flags, Variables, merge};

    fn machine() -> Machine {
        Machine {
            cores: 4,
            open_files: 20_256,
            state_dir: Some("/home/me/.local/state/roomcast".into()),
            api_key: ApiKey::new("made".to_owned()).unwrap(),
        }
    }

    /// A pod with these flags, as `key=value` with spaces between.
    fn pod(flags: &str) -> Result<Config, Vec<Missing>> {
        let flags: Flags = flags
            .split_whitespace()
            .map(|flag| flag.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        resolve(merge(&flags, &Variables::new(), None).unwrap().settings, &machine())
    }

    fn addresses(binds: &[Bind]) -> String {
        binds.iter().map(|bind| bind.address.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// mode, TLS, plain, certificate, API keys, anonymous
    fn summary(config: &Config) -> [String; 6] {
        [
            if config.dev { "dev" } else { "prod" }.to_owned(),
            addresses(&config.listen),
            addresses(&config.plain_listen),
            match &config.tls {
                None => "none",
                Some(Tls::Files { .. }) => "files",
                Some(Tls::Development { .. }) => "made",
            }
            .to_owned(),
            config.api_keys.iter().map(ApiKey::reveal).collect::<Vec<_>>().join(" "),
            config.anonymous.to_string(),
        ]
    }

    const TLS: &str = "127.0.0.1:8443 [::1]:8443";
    const PLAIN: &str = "127.0.0.1:8080 [::1]:8080";
    const FILES: &str = "cert=c.pem key=k.pem";

    #[test]
    fn development_mode_is_open_on_this_machine_and_nowhere_else() {
        let dev = |flags: &str| pod(flags).map(|config| summary(&config));
        for (flags, expected) in [
            ("", ["dev", TLS, PLAIN, "made", "made", "true"]),
            ("dev=true", ["dev", TLS, PLAIN, "made", "made", "true"]),
            // Whatever else is given: what is given is used, and all the rest is development.
            ("dev=true cert=c key=k", ["dev", TLS, PLAIN, "files", "made", "true"]),
            ("api_keys=mine", ["dev", TLS, PLAIN, "made", "mine", "true"]),
            ("anonymous=false", ["dev", TLS, PLAIN, "made", "made", "false"]),
            ("listen=:8443", ["dev", "[::]:8443", PLAIN, "made", "made", "true"]),
            ("listen=none", ["dev", "", PLAIN, "made", "made", "true"]),
            ("plain_listen=0.0.0.0:80", ["dev", TLS, "0.0.0.0:80", "made", "made", "true"]),
            ("plain_listen=none", ["dev", TLS, "", "made", "made", "true"]),
            (
                "listen=127.0.0.1:0,[::1]:0 plain_listen=127.0.0.1:0",
                ["dev", "127.0.0.1:0 [::1]:0", "127.0.0.1:0", "made", "made", "true"],
            ),
        ] {
            assert_eq!(dev(flags), Ok(expected.map(str::to_owned)), "{flags}");
        }
    }

    #[test]
    fn outside_of_it_nothing_is_made_and_nobody_is_let_in_unasked() {
        let prod = |flags: &str| pod(flags).map(|config| summary(&config));
        for (flags, expected) in [
            ("cert=c key=k anonymous=true", ["prod", "[::]:8443", "", "files", "", "true"]),
            (
                "cert=c key=k anonymous=true listen=10.0.0.1:443 plain_listen=127.0.0.1:8080 api_keys=a,b",
                ["prod", "10.0.0.1:443", "127.0.0.1:8080", "files", "a b", "true"],
            ),
            ("cert=c key=k anonymous=true listen=none plain_listen=:80", ["prod", "", "[::]:80", "files", "", "true"]),
            ("dev=false anonymous=true plain_listen=:80", ["prod", "", "[::]:80", "none", "", "true"]),
        ] {
            assert_eq!(prod(flags), Ok(expected.map(str::to_owned)), "{flags}");
        }
    }

    #[test]
    fn what_is_missing_is_said_all_at_once() {
        for (flags, missing) in [
            (FILES, vec![Missing::Audience]),
            ("cert=c key=k anonymous=false", vec![Missing::Audience]),
            ("cert=c anonymous=true", vec![Missing::Key]),
            ("cert=c", vec![Missing::Key, Missing::Audience]),
            ("key=k anonymous=true", vec![Missing::Cert]),
            ("dev=true key=k", vec![Missing::Cert]),
            ("dev=false", vec![Missing::Listener, Missing::Audience]),
            ("dev=false anonymous=true", vec![Missing::Listener]),
            ("dev=false anonymous=true listen=:8443", vec![Missing::Certificate]),
            ("dev=false anonymous=true listen=:8443 plain_listen=:80", vec![Missing::Certificate]),
            ("cert=c key=k anonymous=true listen=none", vec![Missing::Listener]),
            ("dev=true listen=none plain_listen=none", vec![Missing::Listener]),
        ] {
            assert_eq!(pod(flags).map(|config| summary(&config)), Err(missing), "{flags}");
        }
        let audience = Missing::Audience.to_string();
        assert!(audience.contains("--anonymous") && audience.contains("ROOMCAST_ANONYMOUS"), "{audience}");
        let listener = Missing::Listener.to_string();
        assert!(listener.contains("--cert FILE --key FILE") && listener.contains("--plain-listen ADDR"), "{listener}");
    }

    #[test]
    fn localhost_is_both_loopback_addresses_and_the_second_may_be_missing() {
        let config = pod("").unwrap();
        assert!(config.listen.iter().chain(&config.plain_listen).all(|bind| bind.address.ip().is_loopback()));
        assert_eq!(config.listen.iter().map(|bind| bind.optional).collect::<Vec<_>>(), [false, true]);
        assert_eq!(addresses(&config.internal_listen), "127.0.0.1:9000");
    }

    #[test]
    fn origins_of_this_machine_are_added_in_development_only() {
        let allow = |flags: &str, origin: &str| pod(flags).unwrap().origins.allow(origin.as_bytes());
        assert!(allow("", "http://localhost:8080"));
        assert!(!allow("", "https://example.com"));
        assert!(allow("origins=https://example.com", "http://localhost:8080"));
        assert!(allow("origins=https://example.com", "https://example.com"));
        let prod = "cert=c key=k anonymous=true origins=https://example.com";
        assert!(allow(prod, "https://example.com"));
        assert!(!allow(prod, "http://localhost:8080"));
    }

    #[test]
    fn api_keys() {
        let made = pod("").unwrap();
        assert!(made.api_key_generated && made.warnings.is_empty(), "{:?}", made.warnings);
        // An empty key was set, so none is made, and it matches nobody.
        let empty = pod("api_keys=").unwrap();
        assert!(empty.api_keys.is_empty() && !empty.api_key_generated);
        assert!(empty.warnings.iter().any(|warning| warning.contains("refuses everybody")), "{:?}", empty.warnings);
        let one = pod("api_keys=,good").unwrap();
        assert_eq!(one.api_keys.iter().map(ApiKey::reveal).collect::<Vec<_>>(), ["good"]);
        assert!(!format!("{one:?}").contains("good"), "keys never show themselves");
    }

    #[test]
    fn what_the_machine_gives() {
        let config = pod("").unwrap();
        assert_eq!((config.workers, config.max_connections), (4, 20_000));
        assert_eq!(config.tls, Some(Tls::Development { state_dir: machine().state_dir }));
        let config = pod("workers=2 max_connections=500 state_dir=/x").unwrap();
        assert_eq!((config.workers, config.max_connections), (2, 500));
        assert_eq!(config.tls, Some(Tls::Development { state_dir: Some("/x".into()) }));
        let mut unlimited = machine();
        unlimited.open_files = u64::MAX;
        assert_eq!(resolve(Settings::default(), &unlimited).unwrap().max_connections, 1_000_000);
        unlimited.open_files = 100;
        assert_eq!(resolve(Settings::default(), &unlimited).unwrap().max_connections, 1);
    }

    #[test]
    fn a_pod_on_a_desk_stops_at_once_and_speaks_to_people() {
        let dev = pod("").unwrap();
        assert_eq!((dev.drain.delay.as_secs(), dev.drain.window.as_secs(), dev.log), (0, 0, LogFormat::Text));
        let prod = pod("cert=c key=k anonymous=true").unwrap();
        assert_eq!((prod.drain.delay.as_secs(), prod.drain.window.as_secs(), prod.log), (5, 60, LogFormat::Json));
        let set = pod("drain.delay=1s drain.window=2s log=json").unwrap();
        assert_eq!((set.drain.delay.as_secs(), set.drain.window.as_secs(), set.log), (1, 2, LogFormat::Json));
    }

    #[test]
    fn warnings_say_what_may_surprise() {
        for (flags, words) in [
            ("listen=0.0.0.0:8443", "development mode listens on 0.0.0.0:8443"),
            ("anonymous=false", "nobody can join"),
            ("cert=c key=k anonymous=true", "there is no API key"),
            ("cert=c key=k anonymous=true", "no web page can connect"),
            ("max_connections=30000", "the open-file limit allows about 20000"),
        ] {
            let warnings = pod(flags).unwrap().warnings;
            assert!(warnings.iter().any(|warning| warning.contains(words)), "{flags}: {warnings:?}");
        }
    }

    #[test]
    fn the_first_policy_that_matches_wins_and_one_that_never_can_is_warned_of() {
        let file = "[[policy]]\nmatch = ['a:*']\nhistory_size = 1\n[[policy]]\nmatch = ['*']\nhistory_size = 2\n\
                    [[policy]]\nmatch = ['b:*', 'a:*']\nhistory_size = 3\n";
        let file = Some((std::path::Path::new("rc.toml"), file));
        let settings = merge(&Flags::new(), &Variables::new(), file).unwrap().settings;
        let config = resolve(settings, &machine()).unwrap();
        let size = |room: &str| config.policies.of(&crate::model::Room::parse(room).unwrap()).history_size;
        assert_eq!((size("a:1"), size("b:1")), (1, 2));
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings.iter().all(|w| w.starts_with("the policy for `b:*`, `a:*` is never used")));
    }
}
