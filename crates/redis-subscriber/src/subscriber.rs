//! The subscriber as its user sees it: channels come and go from any thread, one future does the work.

use std::{sync::Arc, time::Instant};

use crate::{
    endpoints::Endpoints,
    health::Health,
    layout::Address,
    sink::{Observer, Sink},
    state::SubscriberState,
    watch::LayoutWatch,
};

/// Subscriptions in Redis that prove themselves; the crate's documentation says how.
pub struct Subscriber {
    state: Arc<SubscriberState>,
}

impl Subscriber {
    /// A subscriber that connects once it is [`run`](Self::run). `()` is an observer that measures nothing.
    #[must_use]
    pub fn new(endpoints: Endpoints, sink: Arc<dyn Sink>, observer: impl Observer + 'static) -> Self {
        Self { state: Arc::new(SubscriberState::new(endpoints, sink, Box::new(observer))) }
    }

    /// Keeps the subscriptions, on the tokio runtime that polls it. Never returns. Dropping it closes every connection.
    pub async fn run(self: Arc<Self>) {
        let watch = LayoutWatch::new(Arc::clone(&self.state));
        tokio::join!(watch.run(), self.report_health());
    }

    /// Wants a channel. [`Sink::confirmed`] says when the subscription stands. Repeating it is harmless. The names of
    /// canaries, which begin with [`Endpoints::prefix`] and `canary:`, are reserved.
    pub fn subscribe(&self, channel: &str) {
        self.state.plan().subscribe(channel);
    }

    /// Wants a channel no more.
    pub fn unsubscribe(&self, channel: &str) {
        self.state.plan().unsubscribe(channel);
    }

    /// Asks for the layout now: a server said `MOVED` to another connection of the program.
    pub fn refresh(&self) {
        self.state.refresh.notify_one();
    }

    /// Connects anew to the server at `address`, which was found to be a replica: the name may lead to another server by now.
    /// Its subscriptions are renewed. Does nothing if it is none of the owners.
    pub fn renew(&self, address: &Address) {
        self.state.plan().role(address, false, Instant::now());
    }

    /// The health now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.state.plan().health(Instant::now())
    }

    /// Reports changes, one after another, and measures.
    async fn report_health(&self) {
        let mut reported: Option<Health> = None;
        loop {
            self.state.changed.notified().await;
            let health = self.health();
            self.state.observer.measured(&health);
            if reported.as_ref().is_none_or(|reported| !health.is_like(reported)) {
                self.state.sink.health_changed(&health);
                reported = Some(health);
            }
        }
    }
}
