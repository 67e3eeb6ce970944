//! Claims on their way to the broker, round after round, and what its verdicts mean for connections.
//!
//! Always holds: one round at a time; what is given back is told before what is taken; a connection without a place is closed, here at
//! once and on another pod by an order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};

use crate::{
    broker::{FleetQuestion, PlaceVerdict},
    hub::{
        places::place_book::PlaceRound,
        worker::{Worker, services::Services},
    },
    model::{Act, Disconnect, Order, Target},
    session::ConnectionId,
};

/// How many orders to other pods are on their way at once.
const ORDERS_AT_ONCE: usize = 64;

/// How long workers that have too much to do are left alone.
const AGAIN: Duration = Duration::from_millis(50);

/// The rounds of a pod.
pub struct PlaceRounds(pub Arc<Services>);

impl PlaceRounds {
    /// Has this pod's connections counted among those of their users, for ever.
    pub async fn run(&self) {
        loop {
            if !self.begin().await {
                self.0.places.activity.notified().await;
            }
        }
    }

    /// Gives back what still waits, when no client is left, until the moment `by`. What the broker is not told is free once this pod's lease is over.
    pub async fn run_last(&self, by: Instant) {
        let last = async { while self.begin().await {} };
        let _ = tokio::time::timeout_at(by.into(), last).await;
    }

    /// One round; whether there was anything to be told.
    async fn begin(&self) -> bool {
        let (round, idle) = {
            let mut book = self.0.places.book();
            let idle = book.is_empty();
            (book.begin(), idle)
        };
        let PlaceRound { given_back, claims } = &round;
        if !given_back.is_empty() {
            self.0.places.store.give_back(given_back).await;
        }
        // Without a limit any more nothing is to be judged.
        let limit = self.0.config.load().limits.places();
        if let Some(limit) = limit.filter(|_| !claims.is_empty()) {
            let verdicts = self.0.places.store.take_places(claims, limit).await;
            self.settle(&round, verdicts).await;
        }
        !idle
    }

    async fn settle(&self, round: &PlaceRound, verdicts: Vec<PlaceVerdict>) {
        let metrics = &self.0.metrics.user_places;
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for (claim, PlaceVerdict { taken, displaced, alone }) in round.claims.iter().zip(verdicts) {
            if alone {
                metrics.alone.increment(1);
            }
            if taken {
                metrics.taken.increment(1);
            } else {
                metrics.refused.increment(1);
                here.push(claim.connection);
            }
            metrics.displaced.increment(displaced.len() as u64);
            for it in displaced {
                if it.here { &mut here } else { &mut elsewhere }.push(it.connection);
            }
        }
        self.0.metrics.pressures.user_connections.refused((here.len() + elsewhere.len()) as u64);
        if !here.is_empty() {
            self.close_here(here.into()).await;
        }
        self.close_elsewhere(elsewhere).await;
    }

    /// Closes connections of this pod.
    async fn close_here(&self, names: Arc<[u64]>) {
        loop {
            let names = Arc::clone(&names);
            if self.0.queues.ask_all(move |worker: &mut Worker| worker.close_placeless(&names)).await.is_ok() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Has other pods close connections. None waits for their answers: a pod that has died with its lease gives none.
    async fn close_elsewhere(&self, names: Vec<u64>) {
        let orders = stream::iter(names).map(async |name| {
            let target = Target::Connection(ConnectionId(name).to_string().into());
            let act = Act::Disconnect(Disconnect::TooManyConnections);
            let ask = FleetQuestion::Order(Order { target, act });
            if let Err(error) = self.0.control.ask_others(&ask, Duration::ZERO).await {
                tracing::debug!(%error, "a connection that lost its place to another pod's was not closed");
                self.0.metrics.user_places.untold.increment(1);
            }
        });
        orders.buffer_unordered(ORDERS_AT_ONCE).for_each(|()| std::future::ready(())).await;
    }
}
