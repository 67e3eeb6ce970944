//! How much there is on this pod and in its fleet, and what is done on all pods.
//!
//! Always holds: an answer about the fleet names the pods that it lacks.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    broker::{BrokerError, FleetAnswer, FleetAnswers, FleetQuestion},
    hub::worker::{Worker, call::CallError, readiness::Readiness, services::Services},
    model::{MemoryStats, Order, PodStats, PodTraffic, QueueStats, Room},
};

/// How long other pods are waited for.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The most rooms of one worker in an answer.
const MAX_ROOMS: usize = 1_000;

/// Why nothing can be said about the fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// This pod itself has no answer.
    #[error(transparent)]
    Here(#[from] CallError),
    /// The others cannot be asked.
    #[error(transparent)]
    There(#[from] BrokerError),
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// To how many connections it was done, of all pods that answered. `None`: the one that is meant is on none of them.
    pub connections: Option<usize>,
    /// How many pods answered, this one included.
    pub pods: usize,
    /// The pods that did not answer in time.
    pub silent: Vec<String>,
}

/// How much there is in the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetStats {
    /// Of each pod that answered, this one first.
    pub pods: Vec<PodStats>,
    /// The pods that did not answer in time.
    pub silent: Vec<String>,
}

impl Services {
    /// How much there is on this pod.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stats(&self) -> Result<PodStats, CallError> {
        let workers = self.queues.ask_all(|worker| worker.totals()).await?;
        let config = self.config.load();
        Ok(PodStats {
            pod: self.control.pod().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            readiness: Readiness::of(self).as_str().to_owned(),
            connections: workers.iter().map(|worker| worker.connections).sum(),
            max_connections: config.max_connections,
            queues: QueueStats {
                held_bytes: self.budget.held(),
                owed_bytes: self.budget.queued_bytes(),
                budget_bytes: config.memory_budget,
            },
            memory: MemoryStats {
                used_bytes: self.memory.used(),
                limit_bytes: self.memory.mark(),
                from: config.memory_ceiling.origin(config.settings.general.memory_budget.is_some()),
            },
            workers,
        })
    }

    /// How much there is on every pod.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn fleet_stats(&self) -> Result<FleetStats, FleetError> {
        let own = self.stats().await?;
        let answers = self.control.ask_others(&FleetQuestion::Stats, ANSWER_WITHIN).await?;
        let others = answers.said.into_iter().filter_map(|(_, said)| match said {
            FleetAnswer::Stats(stats) => Some(*stats),
            _ => None,
        });
        let mut others: Vec<_> = others.collect();
        others.sort_by(|a, b| a.pod.cmp(&b.pod));
        Ok(FleetStats { pods: [own].into_iter().chain(others).collect(), silent: answers.silent })
    }

    /// How many are in a room of this pod, or in each, and how much it moved.
    pub(super) async fn traffic(&self, room: Option<Room>) -> Result<PodTraffic, CallError> {
        let look = move |worker: &mut Worker| match &room {
            Some(room) => worker.inspect_room(room).map(|detail| (room.clone(), detail.members)).into_iter().collect(),
            None => worker.list_rooms("", None, MAX_ROOMS).rooms.into_iter().map(|it| (it.room, it.members)).collect(),
        };
        let counts: Vec<Vec<(Room, usize)>> = self.queues.ask_all(look).await?;
        let mut rooms = BTreeMap::new();
        for (room, members) in counts.into_iter().flatten() {
            *rooms.entry(room).or_default() += members;
        }
        let text = (self.render_metrics)();
        Ok(PodTraffic {
            rooms: rooms.into_iter().collect(),
            uptime_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            deliveries: sample(&text, "roomcast_deliveries_total"),
            messages_in: sample(&text, "roomcast_messages_in_total"),
        })
    }

    /// How many are in a room, or in each, and how much was moved: of each pod that answered.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn fleet_traffic(&self, room: Option<Room>) -> Result<Vec<PodTraffic>, FleetError> {
        let own = self.traffic(room.clone()).await?;
        let answers = self.control.ask_others(&FleetQuestion::Traffic(room), ANSWER_WITHIN).await?;
        let others = answers.said.into_iter().filter_map(|(_, said)| match said {
            FleetAnswer::Traffic(traffic) => Some(*traffic),
            _ => None,
        });
        Ok([own].into_iter().chain(others).collect())
    }

    /// Has what a backend orders done on every pod. The others are not asked where the one connection that is meant is
    /// here.
    ///
    /// # Errors
    /// [`FleetError`]: it may have been done on some pods.
    pub async fn order(&self, order: Order) -> Result<Ordered, FleetError> {
        let own = self.queues.obey(order.clone()).await?;
        let ask = FleetQuestion::Order(order);
        if ask.is_settled_by(&FleetAnswer::Done(own)) {
            return Ok(Ordered { connections: own, pods: 1, silent: Vec::new() });
        }
        let answers = self.control.ask_others(&ask, ANSWER_WITHIN).await?;
        Ok(done_on_all(own, answers))
    }
}

/// What was done on this pod and on the others.
pub(crate) fn done_on_all(own: Option<usize>, answers: FleetAnswers) -> Ordered {
    let others = answers.said.iter().filter_map(|(_, said)| match said {
        FleetAnswer::Done(connections) => *connections,
        _ => None,
    });
    let connections = own.into_iter().chain(others).reduce(|all, some| all + some);
    Ordered { connections, pods: 1 + answers.said.len(), silent: answers.silent }
}

/// A counter's value in the metrics' text.
fn sample(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
