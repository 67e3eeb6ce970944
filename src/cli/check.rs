//! `roomcast check-config`: what is wrong with a configuration, or what a pod would do with it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches};

use super::outcome::{print, refuse};
use crate::{
    config::{self, Bind, Config, Loader, Location, MIB, Preset, Tls, TokenSettings, UpstreamUrl},
    dialect::Envelope,
    pod::{Reads, read_files},
};

const WITHOUT_CERTIFICATES: &str = "without-certificates";

/// The flag for a place that has not all files.
pub(super) fn without_certificates() -> Arg {
    Arg::new(WITHOUT_CERTIFICATES)
        .long(WITHOUT_CERTIFICATES)
        .action(ArgAction::SetTrue)
        .help("Read keys of tokens, tickets and the archive alone, where a pod's certificates are not there")
}

/// What is to be read.
pub(super) fn reads(matches: &ArgMatches) -> Reads {
    if matches.get_flag(WITHOUT_CERTIFICATES) { Reads::Keys } else { Reads::All }
}

/// Reads the configuration and prints what is wrong, or what a pod would do.
pub(super) fn run(loader: &Loader, reads: Reads) -> ExitCode {
    match loader.merged().and_then(|merged| Ok((merged.places.clone(), loader.resolve(merged)?))) {
        Ok((places, mut config)) => match read_files(&config, reads) {
            Ok(warnings) => {
                config.warnings.extend(warnings);
                print(&report(loader.preset(), &places, &config))
            }
            Err(error) => {
                let _ = writeln!(io::stderr(), "{error}");
                ExitCode::from(2)
            }
        },
        Err(error) => refuse(&error),
    }
}

/// Where the keys of tokens come from.
fn token_keys(tokens: &TokenSettings) -> String {
    let mut from = Vec::new();
    match tokens.hmac_secrets.len() {
        0 => {}
        1 => from.push("1 secret".to_owned()),
        count => from.push(format!("{count} secrets")),
    }
    from.extend(tokens.public_keys.iter().chain(&tokens.jwks_file).map(|path| path.display().to_string()));
    from.extend(tokens.jwks_url.iter().map(ToString::to_string));
    if from.is_empty() { "none: no token is taken".to_owned() } else { from.join(", ") }
}

/// Where the rooms live.
fn broker(config: &Config) -> String {
    match (&config.upstream, &config.redis) {
        (Some(upstream), _) => {
            let urls = upstream.urls.iter().map(UpstreamUrl::as_str).collect::<Vec<_>>().join(" ");
            format!("at a home: {urls}")
        }
        (None, None) => "embedded: this pod is alone".to_owned(),
        (None, Some(redis)) => {
            let urls = config.settings.redis.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            format!("{urls}, prefix {}", redis.prefix)
        }
    }
}

/// Where rooms are archived, and which.
fn archive(config: &Config) -> Option<String> {
    let url = config.archive.url.as_ref()?;
    let sealed = if config.archive.key_file.is_some() { "sealed" } else { "not sealed" };
    let keep = config.archive.keep.map_or_else(|| "for ever".to_owned(), |keep| format!("for {keep:?}"));
    Some(format!("{url}, kept {keep}, {sealed}"))
}

/// Which of the keys that are set a running pod takes over when they change.
fn liveness(places: &BTreeMap<String, Location>, config: &Config) -> String {
    let keys = config::keys();
    let set = |live: bool| -> Vec<String> {
        let is_live = |path: &str| keys.iter().find(|key| key.path() == path).is_some_and(|key| key.live);
        places.keys().filter(|path| is_live(path) == live).cloned().collect()
    };
    let (mut live, mut restart) = (set(true), set(false));
    let has = |there: bool, name: &str| there.then(|| name.to_owned());
    let rules = &config.settings.policies;
    live.extend(has(!rules.is_empty(), "policy"));
    restart.extend(has(rules.iter().any(|rule| rule.policy.log.is_some()), "policy.log"));
    restart.extend(has(!config.legacy.is_empty(), "legacy"));
    restart.extend(has(!config.dialects.is_empty(), "dialect"));
    let how = match config.settings.general.watch_config {
        Some(every) => format!("when the file changes (looked at every {every:?}), or on SIGHUP"),
        None => "on SIGHUP".to_owned(),
    };
    let mut out = String::new();
    for (names, what) in [
        (live, format!("Live: a running pod takes a change over {how}")),
        (restart, "A change needs a restart".to_owned()),
    ] {
        if !names.is_empty() {
            out.push_str(&format!("\n{what}:\n  {}\n", names.join(" ")));
        }
    }
    out
}

/// What a pod would do.
fn report(preset: Option<&Preset>, places: &BTreeMap<String, Location>, config: &Config) -> String {
    let preset = preset.map_or_else(String::new, |preset| format!("preset           {}\n", preset.name));
    let list = |binds: &[Bind], scheme: &str| match binds {
        [] => "none".to_owned(),
        binds => binds.iter().map(|bind| format!("{scheme}://{}", bind.address)).collect::<Vec<_>>().join(" "),
    };
    let certificate = match &config.tls {
        None => "none".to_owned(),
        Some(Tls::Files { cert, .. }) => cert.display().to_string(),
        Some(Tls::Development { state_dir: Some(dir) }) => format!("made by the pod, kept in {}", dir.display()),
        Some(Tls::Development { state_dir: None }) => "made by the pod, kept in memory".to_owned(),
    };
    let api_keys = match config.api_keys.len() {
        _ if config.api_key_generated => "made by the pod".to_owned(),
        0 => "none: the API refuses every call".to_owned(),
        count => count.to_string(),
    };
    let mut out = format!(
        "The configuration is good.\n\n{preset}\
         mode             {}\nclients, TLS     {}\nclients, plain   {}\ninternal         {}\ncertificate      {certificate}\n\
         API keys         {api_keys}\nbroker           {}\narchive          {}\ntoken keys       {}\nanonymous        {}\nworkers          {}\nconnections      at most {}\n\
         memory           queues {} MiB: {}\n",
        if config.dev { "development" } else { "production" },
        list(&config.listen, "https"),
        list(&config.plain_listen, "http"),
        list(&config.internal_listen, "http"),
        broker(config),
        archive(config).unwrap_or_else(|| "none".to_owned()),
        token_keys(&config.tokens),
        config.anonymous,
        config.workers,
        config.max_connections,
        config.memory_budget / MIB,
        config.memory_ceiling.origin(config.settings.general.memory_budget.is_some()),
    );
    if !places.is_empty() {
        out.push_str("\nSet:\n");
        for (key, place) in places {
            let value = config.settings.get(key).unwrap_or_default();
            out.push_str(&format!("  {key} = {value}  ({place})\n"));
        }
    }
    for rule in &config.settings.policies {
        let patterns: Vec<&str> = rule.patterns.iter().map(config::RoomPattern::as_str).collect();
        out.push_str(&format!("  policy for {}\n", patterns.join(", ")));
    }
    for legacy in &config.legacy {
        let channels: Vec<&str> = legacy.channels.iter().map(config::ChannelPattern::as_str).collect();
        out.push_str(&format!("  plain messages from {}\n", channels.join(", ")));
    }
    for dialect in &config.dialects {
        let places = if dialect.paths.is_empty() { "/".to_owned() } else { dialect.paths.join(", ") };
        let within = if dialect.envelope == Envelope::Socketio { "Socket.IO's namespace " } else { "" };
        out.push_str(&format!("  dialect {} on {within}{places}\n", dialect.name));
    }
    out.push_str(&liveness(places, config));
    for warning in &config.warnings {
        out.push_str(&format!("\nWarning: {warning}\n"));
    }
    out
}
