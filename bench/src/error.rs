//! What can go wrong in a run, and what to do about it.

use std::{io, path::PathBuf};

/// Why a run failed. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The pod's binary is not there.
    #[error(
        "no pod at {}: run `cargo build --release -p roomcast` first, or name a binary with --pod, or a running pod with --url and --internal",
        .0.display()
    )]
    NoPod(PathBuf),
    /// The pod did not become ready, or ended.
    #[error("the pod {what}; its last lines were:\n{log}")]
    Pod {
        /// What it did.
        what: String,
        /// The end of its log.
        log: String,
    },
    /// The pod answered a request with something else than success.
    #[error("the pod answered {request} with {status}: {body}")]
    Answer {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// Too few open files are allowed.
    #[error(
        "{what} needs {needed} open files, and a process may have {limit}: lower --connections, raise --processes (if it is a receiver), or raise the limit (ulimit -n)"
    )]
    FileLimit {
        /// What needs them.
        what: String,
        /// How many.
        needed: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A child process ended or said something unexpected.
    #[error("the {who} process {what}")]
    Child {
        /// Which child.
        who: String,
        /// What it did.
        what: String,
    },
    /// What was received is not what was sent.
    #[error("the run is void: {0}")]
    Faults(String),
    /// A figure is worse than it may be; the report is written.
    #[error("the bar is missed: {0}")]
    Missed(String),
    /// Something took longer than it may.
    #[error("{what} took longer than {seconds} s: {hint}")]
    Timeout {
        /// What.
        what: String,
        /// The bound.
        seconds: u64,
        /// What to look at.
        hint: String,
    },
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(String),
    /// A peer broke a protocol.
    #[error("{0}")]
    Protocol(String),
    /// The run was stopped by a signal.
    #[error("stopped by a signal; every child was killed")]
    Interrupted,
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// Adds the words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BenchError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { doing: what(), source: source.into() })
    }
}
