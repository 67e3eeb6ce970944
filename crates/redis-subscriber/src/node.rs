//! A node as the plan sees it: its orders, its connection, its canary.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{error::NodeError, health::NodeHealth, layout::Address, order::Order};

/// A node is deaf after so many canaries that had time enough and did not come back. With one each 2 s that is 6 s after the
/// last echo.
const UNHEARD: u32 = 2;

/// A refusal counts for so long. A server is asked again more often, so that one that still refuses says so again.
const REFUSED: Duration = Duration::from_secs(5);

/// The time between two renewals of the connections to a node that stays a replica: at first, and at most.
const RENEWALS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// A node that owns slots, or did until a moment ago.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    /// The newest order for each channel.
    pub(super) orders: HashMap<Arc<str>, Order>,
    /// Notified of orders.
    pub(super) wake: Arc<Notify>,
    /// How many slots it owns.
    pub(super) owned: usize,
    pub(super) connected: bool,
    /// It was found to be a replica, and is to be connected to anew.
    pub(super) is_demoted: bool,
    pub(super) sharded: bool,
    /// The canary's channel, in a slot of its own.
    pub(super) canary: Option<Arc<str>>,
    error: Option<NodeError>,
    /// What it refused, and when.
    refused: Option<(NodeError, Instant)>,
    echo: Option<Instant>,
    unheard: u32,
    /// Before this its connections are not made anew again, and how long that was put off.
    renewal: Option<(Instant, Duration)>,
}

impl Node {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            orders: HashMap::new(),
            wake: Arc::new(Notify::new()),
            owned: 0,
            connected: false,
            is_demoted: false,
            sharded: true,
            canary: None,
            error: None,
            refused: None,
            echo: None,
            unheard: 0,
            renewal: None,
        }
    }

    pub(super) fn order(&mut self, channel: Arc<str>, order: Order) {
        self.orders.insert(channel, order);
        self.wake.notify_one();
    }

    /// It was found to be a replica: its connections are made anew, unless they were a moment ago. While it stays one, that is done
    /// less and less often.
    pub(super) fn demote(&mut self, now: Instant) {
        let pause = match self.renewal {
            Some((not_before, _)) if now < not_before => return,
            Some((_, pause)) => (pause * 2).min(RENEWALS.1),
            None => RENEWALS.0,
        };
        self.renewal = Some((now + pause, pause));
        self.is_demoted = true;
        self.wake.notify_one();
    }

    /// It was found to be the master.
    pub(super) fn promote(&mut self) {
        self.renewal = None;
    }

    /// It takes subscriptions.
    pub(super) fn up(&mut self, sharded: bool, now: Instant) {
        (self.connected, self.sharded, self.error, self.is_demoted) = (true, sharded, None, false);
        (self.echo, self.unheard) = (Some(now), 0);
    }

    /// Its connection ended, or was not made.
    pub(super) fn down(&mut self, error: NodeError) {
        (self.connected, self.error) = (false, Some(error));
    }

    /// It refuses something, and stays connected.
    pub(super) fn refused(&mut self, error: NodeError, now: Instant) {
        self.refused = Some((error, now));
    }

    /// Its connection's task begins anew and knows nothing.
    pub(super) fn restart(&mut self) {
        self.connected = false;
        self.orders = self.canary.iter().map(|canary| (Arc::clone(canary), Order::Subscribe)).collect();
    }

    /// Its canary was published.
    pub(super) fn published(&mut self) {
        if self.connected {
            self.unheard += 1;
        }
    }

    /// Its canary came back.
    pub(super) fn echoed(&mut self, now: Instant) {
        (self.echo, self.unheard) = (Some(now), 0);
    }

    /// Whether canaries were published and did not come back.
    pub(super) fn is_deaf(&self) -> bool {
        self.connected && self.unheard >= UNHEARD
    }

    pub(super) fn health(&self, now: Instant) -> NodeHealth {
        NodeHealth {
            address: self.address.clone(),
            connected: self.connected,
            error: self.error.clone().or_else(|| {
                let refused = self.refused.as_ref().filter(|(_, at)| now < *at + REFUSED);
                refused.map(|(error, _)| error.clone())
            }),
            canary_age: self.echo.map(|echo| now.saturating_duration_since(echo)),
        }
    }
}
