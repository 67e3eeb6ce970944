//! Whether new clients should be sent to this pod.

use crate::{broker::Condition, hub::Services};

/// Whether new clients should be sent to this pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They should.
    Ready,
    /// They should, although a part of Redis cannot be used: another pod would be no better off.
    Degraded,
    /// They should not, because a part of Redis cannot be used (`redis.unready_when_degraded`).
    Unready,
    /// It cannot judge tokens yet, because their keys were never fetched, or has never reached Redis.
    Starting,
    /// It goes away.
    Draining,
    /// It holds as much as it may.
    Overloaded,
}

impl Readiness {
    /// The word in the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded | Self::Unready => "degraded",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
        }
    }

    /// Whether new clients should come here.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }

    /// Where the pod stands now.
    #[must_use]
    pub fn of(services: &Services) -> Self {
        let config = services.config.load();
        let full = services.gate.connections() >= config.max_connections;
        let condition = (services.condition)();
        if services.gate.is_draining() {
            Self::Draining
        } else if !services.authority.is_ready() || condition == Condition::Starting {
            Self::Starting
        } else if full || services.budget.is_spent() {
            Self::Overloaded
        } else if condition == Condition::Well {
            Self::Ready
        } else if config.redis.as_ref().is_some_and(|redis| redis.unready_when_degraded) {
            Self::Unready
        } else {
            Self::Degraded
        }
    }
}
