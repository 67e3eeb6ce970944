//! A pod from its start to its end, as signals and the configuration file say.
//!
//! Owns no part of the pod. Always holds: a configuration that is unusable changes nothing, and the first SIGTERM or SIGINT drains.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Pod, StartError};
use crate::config::{Config, FileWatch};

/// Runs a pod until SIGTERM or SIGINT has drained it; a second one ends it at once. SIGHUP calls `reload`, and so does a change that
/// `watch` finds, if `watch_config` says how often it looks.
///
/// # Errors
/// [`StartError`].
pub fn serve(
    config: Config,
    mut reload: impl FnMut() -> Option<Config>,
    watch: Option<FileWatch>,
    started: impl FnOnce(&Pod),
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hup = signal(SignalKind::hangup())?;
        let every = config.settings.general.watch_config;
        let pod = Pod::start(config)?;
        let mut watch = watch.zip(every).map(|(watch, every)| {
            let mut every = interval(every);
            // Two looks at once would take a file that is being written for one that has not changed between them.
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (watch, every)
        });
        started(&pod);
        loop {
            tokio::select! {
                () = either(&mut term, &mut int) => break,
                _ = hup.recv() => {
                    if let Some((watch, _)) = &mut watch {
                        watch.take();
                    }
                }
                () = changed(&mut watch) => {}
            }
            match reload() {
                Some(config) => pod.reload(config),
                None => pod.keep_configuration(),
            }
        }
        let drain = pod.services.config.load().drain;
        tracing::info!(delay = ?drain.delay, window = ?drain.window, "draining; a second signal ends at once");
        tokio::select! {
            () = pod.drain(drain.delay, drain.window) => {}
            () = either(&mut term, &mut int) => tracing::warn!("ended before the drain was over"),
        }
        tracing::info!("ended");
        Ok(())
    })
}

/// Waits until the configuration file has changed; for ever, where it is not looked at.
async fn changed(watch: &mut Option<(FileWatch, Interval)>) {
    let Some((watch, every)) = watch else { return std::future::pending().await };
    loop {
        every.tick().await;
        if watch.has_changed() {
            return;
        }
    }
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
