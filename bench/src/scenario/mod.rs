//! What is measured: one file a scenario, and beside them what several of them do: a schedule, a window, a progress bar.
//!
//! A scenario opens the servers and the audience, lets time pass, and reports. All have one shape: `run` refuses what cannot be
//! measured and starts the pod, `measure` makes the figures, `row` and `plot` say them. Always holds: everything it started ends
//! with it, whether it succeeds, fails or is interrupted.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{BenchError, Doing as _};

pub(crate) mod broadcast;
pub(crate) mod churn;
pub(crate) mod comeback;
pub(crate) mod connect;
pub(crate) mod edges;
pub(crate) mod envelope;
pub(crate) mod fleet;
pub(crate) mod idle;
pub(crate) mod loss;
pub(crate) mod mixed;
pub(crate) mod pair;
pub(crate) mod peers;
pub(crate) mod polls;
pub(crate) mod publish;
pub(crate) mod rooms;
pub(crate) mod shared_window;
pub(crate) mod size;
pub(crate) mod spread;
pub(crate) mod transports;
pub(crate) mod trips;

mod bare;
mod member;
mod progress;
mod schedule;
mod servers;
mod window;

/// Runs a scenario on one thread, until it ends or a signal comes.
pub(crate) fn run(scenario: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    crate::process::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the event loop".to_owned())?;
    runtime.block_on(async {
        let handler = || "listening for signals".to_owned();
        let mut interrupt = signal(SignalKind::interrupt()).doing(handler)?;
        let mut terminate = signal(SignalKind::terminate()).doing(handler)?;
        tokio::select! {
            result = scenario => result,
            _ = interrupt.recv() => Err(BenchError::Interrupted),
            _ = terminate.recv() => Err(BenchError::Interrupted),
        }
    })
}
