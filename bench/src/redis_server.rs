//! Redis servers for scenarios: the servers of the tests, which block and panic, made fit for an event loop.

use std::process::Command;

use testkit::redis::Standalone;

use crate::error::BenchError;

/// Refuses to begin without a Redis to start.
pub(crate) fn need_redis() -> Result<(), BenchError> {
    if Command::new("redis-server").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let message = "redis-server is missing: install Redis 7 or newer (Debian: apt-get install redis-server)";
    Err(BenchError::Usage(message.to_owned()))
}

/// One server alone; it ends with what this returns.
pub(crate) async fn one_redis() -> Result<Standalone, BenchError> {
    need_redis()?;
    blocking(Standalone::start).await
}

/// The harness blocks, and panics where a server does not do what it should.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BenchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| BenchError::Protocol(format!("Redis does not do what it should: {error}")))
}
