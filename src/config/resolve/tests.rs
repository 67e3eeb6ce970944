//! The rules between keys, as tables.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::config::HmacSecret;
use crate::config::{Flags, MemorySource, Variables, merge};

fn machine() -> Machine {
    Machine {
        cores: 4,
        open_files: 20_512,
        memory: MemoryCeiling { bytes: 1 << 30, source: MemorySource::Machine },
        state_dir: Some("/home/me/.local/state/roomcast".into()),
        api_key: ApiKey::new("made".to_owned()).unwrap(),
    }
}

/// A pod with these flags, as `key=value` with spaces between.
fn pod(flags: &str) -> Result<Config, Vec<SettingsError>> {
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
        (FILES, vec![SettingsError::Audience]),
        ("cert=c key=k anonymous=false", vec![SettingsError::Audience]),
        ("cert=c anonymous=true", vec![SettingsError::Key]),
        ("cert=c", vec![SettingsError::Key, SettingsError::Audience]),
        ("key=k anonymous=true", vec![SettingsError::Cert]),
        ("dev=true key=k", vec![SettingsError::Cert]),
        ("dev=false", vec![SettingsError::Listener, SettingsError::Audience]),
        ("dev=false anonymous=true", vec![SettingsError::Listener]),
        ("dev=false anonymous=true listen=:8443", vec![SettingsError::Certificate]),
        ("dev=false anonymous=true listen=:8443 plain_listen=:80", vec![SettingsError::Certificate]),
        ("cert=c key=k anonymous=true listen=none", vec![SettingsError::Listener]),
        ("dev=true listen=none plain_listen=none", vec![SettingsError::Listener]),
        (
            "dev=true plain_listen=localhost:80,127.0.0.1:80",
            vec![SettingsError::RepeatedAddress("plain_listen", "127.0.0.1:80".parse().unwrap())],
        ),
    ] {
        assert_eq!(pod(flags).map(|config| summary(&config)), Err(missing), "{flags}");
    }
    let audience = SettingsError::Audience.to_string();
    assert!(audience.contains("--anonymous") && audience.contains("ROOMCAST_ANONYMOUS"), "{audience}");
    assert!(audience.contains("tokens.public_keys") && audience.contains("ROOMCAST_TOKENS_HMAC_SECRETS"), "{audience}");
    let listener = SettingsError::Listener.to_string();
    assert!(listener.contains("--cert FILE --key FILE") && listener.contains("--plain-listen ADDR"), "{listener}");
}

#[test]
fn keys_of_tokens_are_an_audience() {
    for key in [
        "tokens.public_keys=a.pem",
        "tokens.jwks_file=a.json",
        "tokens.jwks_url=https://login.example.com/keys",
        "tokens.hmac_secrets=0123456789abcdef0123456789abcdef",
    ] {
        let config = pod(&format!("{FILES} {key}")).unwrap();
        assert!(!config.anonymous && config.tokens.has_keys(), "{key}");
        assert!(!format!("{config:?}").contains("0123456789abcdef"), "secrets never show themselves");
        let dev = pod(&format!("anonymous=false {key}")).unwrap();
        assert!(!dev.warnings.iter().any(|warning| warning.contains("no client can join")), "{:?}", dev.warnings);
    }
    assert_eq!(pod(&format!("{FILES} tokens.issuer=me")).map(|_| ()), Err(vec![SettingsError::Audience]));
    let dev = pod("anonymous=false").unwrap();
    assert!(dev.warnings.iter().any(|warning| warning.contains("no client can join")), "{:?}", dev.warnings);
}

#[test]
fn tokens_that_are_good_for_more_than_was_meant_are_warned_of() {
    let warned = |flags: &str, text: &str| pod(flags).unwrap().warnings.iter().any(|warning| warning.contains(text));
    for (join, expected) in [("anyone", true), ("user", true), ("claim", false), ("owner", false), ("nobody", false)] {
        let flags = format!("tokens.personal_room=user:{{user}} default_policy.join={join}");
        assert_eq!(warned(&flags, "others may join such a room"), expected, "{join}");
    }
    let url = "tokens.jwks_url=https://login.example.com/keys";
    assert!(warned(url, "any other application"));
    assert!(!warned(&format!("{url} tokens.audiences=chat"), "any other application"));
    assert!(warned("tokens.require_exp=false", "good for ever") && !warned("", "good for ever"));
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
    // An empty key was set: the pod makes none, and no request matches it.
    let empty = pod("api_keys=").unwrap();
    assert!(empty.api_keys.is_empty() && !empty.api_key_generated);
    assert!(empty.warnings.iter().any(|warning| warning.contains("refuses every call")), "{:?}", empty.warnings);
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
fn memory_that_is_not_there_is_not_promised() {
    let config = pod("").unwrap();
    assert_eq!((config.memory_budget, config.memory_broker.max_bytes), (512 << 20, 256 << 20));
    assert_eq!(
        config.memory_ceiling.origin(false),
        "the budget is half of 1024 MiB, which is half of the machine's memory"
    );
    let set = pod("memory_budget=16MiB").unwrap();
    assert_eq!(set.memory_budget, 16 << 20);
    assert!(set.memory_ceiling.origin(true).starts_with("the budget is set; the process may use 1024 MiB"));
    let large = pod("memory_budget=1000MiB memory_broker.max_bytes=900MiB").unwrap();
    assert_eq!(large.memory_broker.max_bytes, 256 << 20);
    for text in
        ["`memory_budget` is 1000 MiB, but this process may use 1024 MiB", "`memory_broker.max_bytes` is 900 MiB"]
    {
        assert!(large.warnings.iter().any(|warning| warning.contains(text)), "{:?}", large.warnings);
    }
    let mut small = machine();
    small.memory.bytes = 64 << 20;
    let small = resolve(Settings::default(), &small).unwrap();
    assert_eq!((small.memory_budget, small.memory_broker.max_bytes), (32 << 20, 16 << 20));
    assert!(small.warnings.iter().all(|warning| !warning.contains("memory")), "{:?}", small.warnings);
}

#[test]
fn a_pod_on_a_desk_stops_at_once_and_speaks_to_people() {
    let dev = pod("").unwrap();
    assert_eq!((dev.drain.delay.as_secs(), dev.drain.window.as_secs(), dev.log), (0, 0, LogFormat::Text));
    let prod = pod("cert=c key=k anonymous=true").unwrap();
    assert_eq!((prod.drain.delay.as_secs(), prod.drain.window.as_secs(), prod.log), (5, 60, LogFormat::Json));
    let set = pod("drain.delay=1s drain.window=2s log=json").unwrap();
    assert_eq!((set.drain.delay.as_secs(), set.drain.window.as_secs(), set.log), (1, 2, LogFormat::Json));
    let shorter = pod("drain.margin=7s").unwrap();
    assert_eq!((dev.drain.margin.as_secs(), shorter.drain.margin.as_secs()), (10, 7));
}

#[test]
fn warnings_say_what_may_surprise() {
    for (flags, words) in [
        ("listen=0.0.0.0:8443", "development mode listens on 0.0.0.0:8443"),
        ("anonymous=false", "no client can join"),
        ("cert=c key=k anonymous=true", "there is no API key"),
        ("cert=c key=k anonymous=true", "no web page can connect"),
        ("max_connections=30000", "the open-file limit allows about 20000"),
        ("webtransport.idle=12s", "`webtransport.keep_alive` is 12s, but `webtransport.idle` ends a session after 12s"),
        ("webtransport.keep_alive=1m", "quiet clients are lost"),
        ("limits.max_rooms=257", "`limits.max_rooms` is 257, but `limits.command_burst` is 256"),
        ("limits.command_burst=127", "set `limits.command_burst` to at least 128"),
        ("tokens.hmac_secrets=short tokens.short_secrets=true", "has a secret of 5 bytes"),
    ] {
        let warnings = pod(flags).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{flags}: {warnings:?}");
    }
}

#[test]
fn rooms_that_a_client_can_change_at_once_are_not_warned_of() {
    for flags in [
        "",
        "limits.max_rooms=256",
        "limits.max_rooms=1000 limits.command_burst=1000",
        // Clients are put into their rooms, and subscribe to none.
        "limits.max_rooms=1000 default_policy.join=nobody",
    ] {
        let warnings = pod(flags).unwrap().warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("max_rooms")), "{flags}: {warnings:?}");
    }
}

#[test]
fn no_preset_has_more_rooms_than_commands() {
    let variables = Variables::from([("JWT_SECRET".to_owned(), "s".repeat(32))]);
    for preset in crate::config::Preset::ALL {
        let settings = crate::config::merge_over(Some(&preset), &Flags::new(), &variables, None).unwrap().settings;
        let config = resolve(settings, &machine()).unwrap();
        assert!(!config.warnings.iter().any(|warning| warning.contains("max_rooms")), "{}", preset.name);
    }
}

#[test]
fn quiet_sessions_are_kept_or_there_are_none() {
    for flags in ["", "webtransport.idle=13s", "webtransport.keep_alive=1m webtransport.enabled=false"] {
        let warnings = pod(flags).unwrap().warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("keep_alive")), "{flags}: {warnings:?}");
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

#[test]
fn the_page_is_there_in_development_mode_or_where_it_is_asked_for() {
    for (flags, expected) in [
        ("", true),
        ("page=false", false),
        ("dev=true cert=c.pem key=k.pem", true),
        ("cert=c.pem key=k.pem anonymous=true", false),
        ("cert=c.pem key=k.pem anonymous=true page=true", true),
    ] {
        assert_eq!(pod(flags).unwrap().page, expected, "{flags}");
    }
}

#[test]
fn a_log_that_rooms_share_fits_them() {
    let problems = |file: &str| -> Vec<String> {
        let merged = merge(&Flags::new(), &Variables::new(), Some((Path::new("rc.toml"), file))).unwrap();
        let missing = resolve(merged.settings, &machine()).err().unwrap_or_default();
        missing.into_iter().map(|missing| missing.to_string()).collect()
    };
    let room = "[[policy]]\nmatch = ['r:*']\nlog = 'log'\nslow = 'close'\n";
    assert_eq!(problems(room), [""; 0]);
    for (file, wrong) in [
        ("[[policy]]\nmatch = ['r:*']\nlog = 'log'".to_owned(), "`slow = \"close\"`"),
        (format!("{room}conflate = 'topic'"), "`conflate` of such a policy"),
        (format!("{room}retain = 'key'"), "`retain` of such a policy"),
        (format!("{room}presence = 'events'"), "`presence` of such a policy"),
        (format!("{room}delivery = 'latest'"), "`delivery` of such a policy"),
        (format!("{room}subscribe_hook = true"), "`subscribe_hook` of such a policy"),
        (format!("{room}[[policy]]\nmatch = ['log']\nretain = 'room'"), "`retain` of the policy of that room"),
        (format!("{room}[[policy]]\nmatch = ['log']\nhistory_size = 0"), "raise `history_size`"),
        (format!("{room}[[policy]]\nmatch = ['log']\nlog = 'other'\nslow = 'close'"), "in another log themselves"),
    ] {
        let problems = problems(&file);
        assert!(problems.iter().any(|problem| problem.contains(wrong)), "{file}: {problems:?}");
    }
}

#[test]
fn parameters_of_an_address_that_mean_nothing_here_are_named() {
    let warned = |url: &str| {
        let warnings = pod(&format!("redis.urls={url}")).unwrap().warnings;
        warnings.into_iter().filter(|warning| warning.contains("passed by")).collect::<Vec<_>>()
    };
    assert_eq!(warned("redis://a?db=1"), Vec::<String>::new());
    let one = warned("redis://a?pool_size=s3cret&keepAlive=s3cret");
    assert!(
        matches!(one.as_slice(), [one] if one.contains(": keepAlive, pool_size;") && !one.contains("s3cret")),
        "{one:?}"
    );
}

#[test]
fn white_space_around_a_secret_is_said() {
    let warned = |secret: String| {
        let mut settings = Settings::default();
        settings.tokens.hmac_secrets = HmacSecret::new(&secret).into_iter().collect();
        resolve(settings, &machine()).unwrap().warnings.iter().any(|warning| warning.contains("white space"))
    };
    assert!(warned(format!("{}\n", "x".repeat(32))) && warned(format!(" {}", "x".repeat(32))));
    assert!(!warned(format!("{0} {0}", "x".repeat(32))));
}
