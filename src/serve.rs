//! `roomcast serve`: from a loaded configuration to a pod and its log.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    cli,
    config::{Config, Loader, LogFormat, LogLevel},
    pod::{self, Addresses, Pod},
};

/// Runs a pod until a signal has drained it.
#[must_use]
pub fn run(loader: &Loader) -> ExitCode {
    // Before it is read: what changes in between is found.
    let watch = loader.watch();
    let config = match loader.load() {
        Ok(config) => config,
        Err(error) => return cli::refuse(&error),
    };
    let set_level = log(&config);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut running = config.clone();
    let reload = || match loader.reload(&running) {
        Ok(reload) => {
            for key in &reload.changes.restart {
                tracing::warn!(key, "changed, but takes effect only after a restart");
            }
            for warning in &reload.config.warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(changed = reload.changes.live.join(" "), "configuration reloaded");
            set_level(reload.config.log_level);
            running = reload.config.clone();
            Some(reload.config)
        }
        Err(error) => {
            tracing::error!(%error, "the new configuration is unusable, the old one stays in use");
            None
        }
    };
    match pod::serve(config.clone(), reload, watch, |pod| announce(&config, pod)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("roomcast cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Changes the least important level that is written.
type SetLevel = Box<dyn Fn(LogLevel)>;

fn log(config: &Config) -> SetLevel {
    let filter = |level: LogLevel| EnvFilter::new(level.as_str());
    let lines = fmt().with_writer(io::stderr).with_target(false).with_env_filter(filter(config.log_level));
    // A second subscriber cannot be set; the first one serves as well. The filter lives as long as the process.
    let set: SetLevel = match config.log {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            let _ = lines.try_init();
            Box::new(move |level| drop(handle.reload(filter(level))))
        }
        LogFormat::Text => {
            let lines = lines.with_ansi(coloured()).with_filter_reloading();
            let handle = lines.reload_handle();
            let _ = lines.try_init();
            Box::new(move |level| drop(handle.reload(filter(level))))
        }
    };
    // A panic is a line of the log like any other: its readers expect one JSON object a line.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        tracing::error!(place, thread = std::thread::current().name(), "panic: {message}");
    }));
    set
}

/// Whether lines of text are coloured: for a person at a terminal, unless it asks for none with `NO_COLOR`
/// (<https://no-color.org>). A file and a pipe get plain text.
fn coloured() -> bool {
    io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Says where the pod is, and in development mode how to try it, which comes first.
fn announce(config: &Config, pod: &Pod) {
    let addresses = pod.addresses();
    let list =
        |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if config.dev {
        invite(config, pod);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("COMMIT"),
        tls = list(&addresses.tls),
        plain = list(&addresses.plain),
        internal = list(&addresses.internal),
        grpc = list(&addresses.grpc),
        relay = list(&addresses.relay),
        workers = config.workers,
        memory_budget = config.memory_budget,
        memory = %config.memory_ceiling.origin(config.settings.general.memory_budget.is_some()),
        development = config.dev,
        "started"
    );
}

/// Says how to try a pod in development mode.
fn invite(config: &Config, pod: &Pod) {
    let text = invitation(config, pod.addresses());
    // A closed stdout is no reason not to serve.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}

/// How to try a pod in development mode, and which clients may do so.
fn invitation(config: &Config, addresses: &Addresses) -> String {
    let mut public = addresses.tls.iter().chain(&addresses.plain);
    let reach = match public.find(|address| !address.ip().is_loopback()) {
        None => "this machine only".to_owned(),
        Some(open) => format!("OPEN to every machine that reaches {open}"),
    };
    let clients = if config.anonymous { "any client may join" } else { "clients need a token" };
    let mut text = format!("\n  roomcast, development mode: {reach}, {clients}\n\n");
    if let Some(plain) = addresses.plain.first() {
        let place = at_hand(*plain);
        if config.page {
            text.push_str(&format!("  look        http://{place}  (in a browser: it joins the room demo:1)\n"));
        }
        text.push_str(&format!("  connect     ws://{place}/ws\n"));
    }
    if let Some(tls) = addresses.tls.first() {
        text.push_str(&format!("              wss://{}/ws  (self-signed certificate)\n", at_hand(*tls)));
    }
    if let (Some(internal), Some(key)) = (addresses.internal.first(), config.api_keys.first()) {
        text.push_str(&format!(
            "\n  publish     curl http://{internal}/api/publish -H 'Authorization: Bearer {}' \\\n                \
             -d '{{\"room\":\"demo:1\",\"topic\":\"greeting\",\"data\":{{\"text\":\"hello\"}}}}'\n",
            if config.api_key_generated { key.reveal() } else { "<your API key>" }
        ));
    }
    text.push('\n');
    text
}

/// Where this machine finds a listener.
fn at_hand(address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Flags, Machine, Variables, merge, resolve};

    /// What a pod in development mode says that listens for plain clients and TLS there.
    fn said(flags: &[(&str, &str)], plain: &[&str], tls: &[&str]) -> String {
        let variables = Variables::new();
        let flags: Flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let merged = merge(&flags, &variables, None).unwrap();
        let config = resolve(merged.settings, &Machine::detect(&variables).unwrap()).unwrap();
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let (plain, tls) = (parsed(plain), parsed(tls));
        invitation(&config, &Addresses { tls, plain, ..Addresses::default() })
    }

    #[test]
    fn only_a_pod_on_loopback_addresses_says_that_it_is_for_this_machine() {
        let own = said(&[], &["127.0.0.1:8080", "[::1]:8080"], &["127.0.0.1:8443"]);
        assert!(own.contains("development mode: this machine only, any client may join"), "{own}");
        assert!(own.contains("ws://localhost:8080/ws") && own.contains("wss://localhost:8443/ws"), "{own}");
        for (plain, tls, open) in [
            (&["127.0.0.1:8080"][..], &["0.0.0.0:8443"][..], "0.0.0.0:8443"),
            (&["[::]:8080"], &["127.0.0.1:8443"], "[::]:8080"),
            (&["127.0.0.1:8080", "192.0.2.7:8080"], &[], "192.0.2.7:8080"),
        ] {
            let open = format!("development mode: OPEN to every machine that reaches {open}, any client may join");
            let said = said(&[], plain, tls);
            assert!(said.contains(&open) && !said.contains("this machine only"), "{said}");
        }
    }

    #[test]
    fn an_invitation_fits_the_tokens_and_the_address() {
        let closed = said(&[("anonymous", "false")], &["127.0.0.1:8080"], &[]);
        assert!(closed.contains("this machine only, clients need a token"), "{closed}");
        let far = said(&[], &["192.0.2.7:8080"], &["0.0.0.0:8443"]);
        assert!(far.contains("ws://192.0.2.7:8080/ws") && far.contains("wss://localhost:8443/ws"), "{far}");
    }
}
