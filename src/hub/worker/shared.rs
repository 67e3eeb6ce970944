//! What all workers of a pod share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    auth::Authority,
    broker::{Broker, Condition, Control, KeyValue, LookUp, Presence},
    config::{Config, Policies},
    hooks::Hooks,
    hub::{Budget, Links, Recoveries, Tails},
    metrics::Metrics,
    model::{Policy, Room},
    protocol::{Dialects, engineio::SessionKey},
};

/// What all workers of a pod share.
pub struct Services {
    /// What the operator decided; replaced as a whole on a reload.
    pub config: ArcSwap<Config>,
    /// How rooms behave; replaced with the configuration, and shared with the broker.
    pub policies: Arc<ArcSwap<Policies>>,
    /// The rooms' logs.
    pub broker: Arc<dyn Broker>,
    /// Who is where.
    pub presence: Arc<dyn Presence>,
    /// The other pods.
    pub control: Arc<dyn Control>,
    /// What is left for whichever pod a client comes back to.
    pub values: Arc<dyn KeyValue>,
    /// What others keep in Redis; `None`: there is none.
    pub look_up: Option<Arc<dyn LookUp>>,
    /// How the broker is.
    pub condition: Box<dyn Fn() -> Condition + Send + Sync>,
    /// How a page reaches WebTransport, if it can.
    pub quic: Option<Quic>,
    /// The queues between owners and workers.
    pub links: Arc<Links>,
    /// The account of bytes that queues hold.
    pub budget: Arc<Budget>,
    /// What clients missed.
    pub recoveries: Recoveries,
    /// The newest events of rooms, for who looks one up by its id.
    pub tails: Tails,
    /// Says which tokens are good.
    pub authority: Arc<Authority>,
    /// The backend that decides; `None`: there is none.
    pub hooks: Option<Hooks>,
    /// By which the names of Engine.IO sessions are known to be ours.
    pub session_key: SessionKey,
    /// This pod's name as a number.
    pub pod: u64,
    /// The wire formats.
    pub dialects: Arc<Dialects>,
    /// The metrics.
    pub metrics: Metrics,
    /// The metrics' text.
    pub render_metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Whether and how many connections are taken in.
    pub gate: Gate,
    /// When the pod started.
    pub began: Instant,
}

impl Services {
    /// A room's policy now.
    #[must_use]
    pub fn policy(&self, room: &Room) -> Arc<Policy> {
        self.policies.load().of(room)
    }
}

/// How a page reaches WebTransport.
pub struct Quic {
    /// The UDP port.
    pub port: u16,
    /// SHA-256 of the certificates that a page may pin, the one in use first; empty for one that an authority signed.
    pub pins: Box<dyn Fn() -> Vec<[u8; 32]> + Send + Sync>,
}

impl Quic {
    /// What `GET /certificate-hashes` answers: the port, and the `serverCertificateHashes` of the browser's constructor with
    /// their values in base64.
    #[must_use]
    pub fn certificate_hashes(quic: Option<&Self>) -> serde_json::Value {
        let pins = quic.map(|quic| (quic.pins)()).unwrap_or_default();
        let hashes =
            pins.iter().map(|pin| serde_json::json!({"algorithm": "sha-256", "value": BASE64_STANDARD.encode(pin)}));
        serde_json::json!({"port": quic.map(|quic| quic.port), "hashes": hashes.collect::<Vec<_>>()})
    }
}

/// A connection's place among those that the pod may have; given back when it is dropped.
pub struct Seat(Arc<Services>);

impl Seat {
    /// Lets one more connection in.
    ///
    /// # Errors
    /// [`Full`]: why not.
    pub fn take(services: &Arc<Services>) -> Result<Self, Full> {
        services.gate.enter(services.config.load().max_connections, &services.budget)?;
        Ok(Self(Arc::clone(services)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

/// Whether and how many connections are taken in.
#[derive(Debug, Default)]
pub struct Gate {
    connections: AtomicUsize,
    leaving: AtomicBool,
    shut: AtomicBool,
}

/// Why a connection is refused before its upgrade, with 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The pod goes away.
    #[error("this pod is draining")]
    Draining,
    /// `max_connections` are open.
    #[error("this pod is full: {limit} of {limit} connections")]
    Connections {
        /// `max_connections`.
        limit: usize,
    },
    /// The queues hold `memory_budget`.
    #[error("this pod's queues are full: they hold {held} of {limit} bytes")]
    Memory {
        /// What they hold.
        held: usize,
        /// `memory_budget`.
        limit: usize,
    },
}

impl Gate {
    fn enter(&self, max_connections: usize, budget: &Budget) -> Result<(), Full> {
        if self.shut.load(Ordering::Relaxed) {
            return Err(Full::Draining);
        }
        if budget.is_spent() {
            return Err(Full::Memory { held: budget.held(), limit: budget.limit() });
        }
        let entered = self.connections.fetch_add(1, Ordering::Relaxed);
        if entered >= max_connections {
            self.leave();
            return Err(Full::Connections { limit: max_connections });
        }
        Ok(())
    }

    fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many connections are in.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The pod will go away: it says so, and still takes connections in until balancers have noticed.
    pub fn drain_soon(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// No more connections from now on.
    pub fn drain(&self) {
        self.drain_soon();
        self.shut.store(true, Ordering::Relaxed);
    }

    /// Whether the pod goes away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pod_says_its_figures() {
        let (gate, budget) = (Gate::default(), Budget::new(1_000));
        gate.enter(2, &budget).unwrap();
        gate.enter(2, &budget).unwrap();
        assert_eq!(gate.enter(2, &budget).unwrap_err().to_string(), "this pod is full: 2 of 2 connections");
        assert_eq!(gate.connections(), 2);
        gate.leave();
        budget.take(1_024);
        let why = gate.enter(2, &budget).unwrap_err().to_string();
        assert_eq!(why, "this pod's queues are full: they hold 1024 of 1000 bytes");
        gate.drain();
        assert_eq!(gate.enter(2, &budget).unwrap_err(), Full::Draining);
    }
}
