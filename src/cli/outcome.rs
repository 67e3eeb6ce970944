//! What every command needs: its errors, its output, its event loop.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tokio::runtime::Runtime;

use crate::config::ConfigError;

/// Why a command line is not carried out.
#[derive(Debug)]
pub enum CommandLineError {
    /// The command line itself, or a request for help, which clap words and prints.
    Usage(clap::Error),
    /// The process' environment.
    Config(ConfigError),
}

/// Prints why the configuration was refused.
pub fn refuse(error: &ConfigError) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(2)
}

/// The event loop of a command that talks to a pod.
pub(super) fn runtime() -> Result<Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start an event loop: {error}"))
}

pub(super) fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        // `roomcast default-config | head` is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
