//! `[drain]`: how a pod that is told to end does so, and how much time it has.

use std::time::Duration;

use super::{
    section::section,
    value::{MINUTES, Maybe, Time},
};

section! {
    /// What happens on SIGTERM: `/accepting` says no, `reconnect` hints, paced closes.
    pub struct DrainSettings in "drain" {
        /// How long the pod still takes new connections after `/accepting` said no, until load balancers noticed.
        delay: Option<Duration> = None, Maybe(Time(Duration::ZERO..=MINUTES)), live,
            unset("`5s`; `0ms` in development mode", "\"5s\"");
        /// The time over which clients are sent away.
        window: Option<Duration> = None, Maybe(Time(Duration::ZERO..=Duration::from_secs(3600))), live,
            unset("`1m`; `0ms` in development mode", "\"1m\"");
        /// How long the pod may take beyond that in all: for clients that do not answer their close, calls of the API that were begun, and
        /// what is still to be written. The orchestrator's grace period is the sum of the three.
        margin: Duration = Duration::from_secs(10), Time(Duration::from_secs(5)..=Duration::from_secs(3600)), live;
    }
}

/// What happens on SIGTERM, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long new connections are still taken after `/accepting` says no.
    pub delay: Duration,
    /// The time over which clients are sent away.
    pub window: Duration,
    /// How long all of what is left may take.
    pub margin: Duration,
}

impl Drain {
    /// By the settings; `dev`: in development mode nothing is waited for that is not set.
    #[must_use]
    pub(super) fn of(settings: &DrainSettings, dev: bool) -> Self {
        let unless_dev = |seconds| Duration::from_secs(if dev { 0 } else { seconds });
        Self {
            delay: settings.delay.unwrap_or(unless_dev(5)),
            window: settings.window.unwrap_or(unless_dev(60)),
            margin: settings.margin,
        }
    }
}
