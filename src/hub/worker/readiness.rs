//! Two questions about a pod: would it take one more client, and does it serve those that it has?
//!
//! Always holds: a pod that is full, short of something or about to go still serves, and says so together with the reason.

use crate::{archive::ArchiveCondition, broker::Condition, hub::worker::services::Services};

/// What keeps a pod from being as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It goes away.
    Draining,
    /// It has as many connections as it may.
    Connections,
    /// Its queues, or the whole process, hold as much as they may.
    Memory,
    /// Its sockets have used up the files.
    Files,
    /// A part of Redis cannot be used.
    Redis,
    /// The home of this edge cannot be reached.
    Upstream,
    /// The archive takes nothing.
    Archive,
}

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// All is well.
    Ready,
    /// It takes clients, although a part of Redis, the home of this edge, or the archive cannot be used: another pod would be no better off.
    Degraded(Reason),
    /// It cannot judge tokens yet, because their keys were never fetched, or has never reached Redis or its home.
    Starting,
    /// It goes away.
    Draining,
    /// It holds as much as it may.
    Overloaded(Reason),
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Draining, Self::Connections, Self::Memory, Self::Files, Self::Redis, Self::Upstream, Self::Archive];

    /// The word in answers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Connections => "connections",
            Self::Memory => "memory",
            Self::Files => "files",
            Self::Redis => "redis",
            Self::Upstream => "upstream",
            Self::Archive => "archive",
        }
    }

    /// Whether it holds for a pod now.
    #[must_use]
    pub fn holds(self, services: &Services) -> bool {
        match self {
            Self::Draining => services.gate.is_draining(),
            Self::Connections => services.gate.connections() >= services.config.load().max_connections,
            Self::Memory => services.budget.is_spent() || services.memory.is_full(),
            Self::Files => services.metrics.pressures.files.bites(),
            Self::Redis => (services.condition)() == Condition::Degraded,
            Self::Upstream => (services.condition)() == Condition::Cut,
            Self::Archive => {
                services.archive.as_ref().is_some_and(|archive| archive.condition() == ArchiveCondition::Down)
            }
        }
    }
}

impl Readiness {
    /// The word that says whether new clients should come here.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded(_) => "degraded",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Overloaded(_) => "overloaded",
        }
    }

    /// Why it is not as it should be.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Ready | Self::Starting => None,
            Self::Draining => Some(Reason::Draining),
            Self::Degraded(reason) | Self::Overloaded(reason) => Some(reason),
        }
    }

    /// Whether a new client would be taken, and should come here: what balancers ask.
    #[must_use]
    pub fn accepts(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded(_))
    }

    /// Whether those that it has are served: what kubelets ask.
    #[must_use]
    pub fn serves(self) -> bool {
        self != Self::Starting
    }

    /// Where the pod stands now.
    #[must_use]
    pub fn of(services: &Services) -> Self {
        let condition = (services.condition)();
        let short =
            [Reason::Connections, Reason::Memory, Reason::Files].into_iter().find(|reason| reason.holds(services));
        let has_keys = services.authority.is_ready() || services.authority.has_been_ready();
        if !has_keys || condition == Condition::Starting {
            Self::Starting
        } else if services.gate.is_draining() {
            Self::Draining
        } else if let Some(reason) = short {
            Self::Overloaded(reason)
        } else {
            let degraded = [Reason::Upstream, Reason::Redis, Reason::Archive];
            let degraded = degraded.into_iter().find(|reason| reason.holds(services));
            degraded.map_or(Self::Ready, Self::Degraded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_that_starts_serves_nothing() {
        for (readiness, accepts, serves) in [
            (Readiness::Ready, true, true),
            (Readiness::Degraded(Reason::Redis), true, true),
            (Readiness::Degraded(Reason::Upstream), true, true),
            (Readiness::Degraded(Reason::Archive), true, true),
            (Readiness::Starting, false, false),
            (Readiness::Draining, false, true),
            (Readiness::Overloaded(Reason::Connections), false, true),
            (Readiness::Overloaded(Reason::Memory), false, true),
            (Readiness::Overloaded(Reason::Files), false, true),
        ] {
            assert_eq!((readiness.accepts(), readiness.serves()), (accepts, serves), "{readiness:?}");
            let well = matches!(readiness, Readiness::Ready | Readiness::Starting);
            assert_eq!(readiness.reason().is_none(), well, "{readiness:?}");
        }
    }
}
