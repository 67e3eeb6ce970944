//! `roomcast serve`: from a loaded configuration to a pod and its log.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    cli,
    config::{Config, Loader, LogFormat, LogLevel},
    pod::{self, Pod},
};

/// Runs a pod until a signal has drained it.
#[must_use]
pub fn run(loader: &Loader) -> ExitCode {
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
    match pod::serve(config.clone(), reload, |pod| announce(&config, pod)) {
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
        workers = config.workers,
        development = config.dev,
        "started"
    );
}

/// How to try a pod in development mode.
fn invite(config: &Config, pod: &Pod) {
    let addresses = pod.addresses();
    let mut text = String::from("\n  roomcast, development mode: this machine only, everybody may join\n\n");
    if let Some(plain) = addresses.plain.first() {
        let port = plain.port();
        if config.page {
            text.push_str(&format!(
                "  look        http://localhost:{port}  (in a browser: it joins the room demo:1)\n"
            ));
        }
        text.push_str(&format!("  connect     ws://localhost:{port}/ws\n"));
    }
    if let Some(tls) = addresses.tls.first() {
        text.push_str(&format!("              wss://localhost:{}/ws  (self-signed certificate)\n", tls.port()));
    }
    if let (Some(internal), Some(key)) = (addresses.internal.first(), config.api_keys.first()) {
        text.push_str(&format!(
            "\n  publish     curl http://{internal}/api/publish -H 'Authorization: Bearer {}' \\\n                \
             -d '{{\"room\":\"demo:1\",\"topic\":\"greeting\",\"data\":{{\"text\":\"hello\"}}}}'\n",
            if config.api_key_generated { key.reveal() } else { "<your API key>" }
        ));
    }
    text.push('\n');
    // A closed stdout is no reason not to serve.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}
