//! One master's subscribing connection: the socket around its [`NodeSubscriptions`], and the canary that proves it.
//!
//! Lives as long as its node owns something. Never waits for another node.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    commander::{Commander, Reply},
    connect::Stream,
    endpoints::Topology,
    error::NodeError,
    layout::Address,
    node_subscriptions::NodeSubscriptions,
    order::Event,
    plan::NodeId,
    state::SubscriberState,
};

/// The shortest and the longest time between attempts to connect.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The bytes of one read.
const CHUNK: usize = 64 << 10;
/// The time between canaries.
const CANARY: Duration = Duration::from_secs(2);

/// A master's connection, made again whenever it ends.
pub(super) async fn run(state: Arc<SubscriberState>, node: NodeId, address: Address, commander: Commander) {
    let Some(wake) = state.plan().wake(node) else { return };
    let connection = NodeConnection { state, node, wake, deaf: Notify::new() };
    tokio::join!(
        connection.subscribe(&address, &commander),
        connection.publish_canaries(&commander),
        connection.watch_role(&address, &commander)
    );
}

struct NodeConnection {
    state: Arc<SubscriberState>,
    node: NodeId,
    /// There are orders.
    wake: Arc<Notify>,
    /// The canary does not come back.
    deaf: Notify,
}

impl NodeConnection {
    async fn subscribe(&self, address: &Address, commander: &Commander) {
        let mut subscriptions = NodeSubscriptions::new(self.state.server_access.greeting(), now());
        let mut rest = REST.0;
        loop {
            let error = match self.state.server_access.connect(address).await {
                Ok(stream) => {
                    subscriptions.connected(now());
                    let (error, was_up) = self.exchange(&mut subscriptions, stream).await;
                    if was_up {
                        rest = REST.0;
                    }
                    error
                }
                Err(error) => error,
            };
            tracing::debug!(node = %address, %error, "no subscriptions");
            if error == NodeError::Demoted {
                commander.renew();
            }
            let mut events = TurnEvents::default();
            subscriptions.disconnected(|event| events.take(self, event));
            self.state.plan().down(self.node, error);
            events.apply(self);
            self.state.changed.notify_one();
            self.state.observer.disconnected();
            // Many subscribers lose the same node at once.
            sleep(jittered(rest)).await;
            rest = (rest * 2).min(REST.1);
        }
    }

    /// Runs until the connection ends. Returns why, and whether it ever took subscriptions.
    async fn exchange(&self, subscriptions: &mut NodeSubscriptions, stream: Box<dyn Stream>) -> (NodeError, bool) {
        let (mut read, half) = tokio::io::split(stream);
        let mut write = Writer { half, dirty: false };
        let mut was_up = false;
        let error = loop {
            if let Err(error) = self.turn(subscriptions, &mut read, &mut write, &mut was_up).await {
                break error;
            }
        };
        (error, was_up)
    }

    /// Waits for the first thing that happens, and does it.
    async fn turn(
        &self,
        subscriptions: &mut NodeSubscriptions,
        read: &mut ReadHalf<Box<dyn Stream>>,
        write: &mut Writer,
        was_up: &mut bool,
    ) -> Result<(), NodeError> {
        let mut events = TurnEvents::default();
        if self.state.plan().takes_renewal(self.node) {
            return Err(NodeError::Demoted);
        }
        let orders = self.state.plan().orders(self.node);
        subscriptions.order(orders.into_iter(), now(), |event| events.take(self, event));
        events.apply(self);
        subscriptions.step(now())?;
        let deadline = subscriptions.deadline().map_or_else(|| Instant::now() + CANARY, Instant::from_std);
        let mut out = std::mem::take(subscriptions.out());
        subscriptions.buffer().reserve(CHUNK);
        let turned = tokio::select! {
            result = read.read_buf(subscriptions.buffer()) => match result {
                Ok(0) => Err(NodeError::Ended),
                Ok(_) => {
                    let mut events = TurnEvents::default();
                    let received = subscriptions.received(now(), |event| events.take(self, event));
                    *was_up |= events.up;
                    events.apply(self);
                    received
                }
                Err(_) => Err(NodeError::Ended),
            },
            result = write.some(&mut out), if !out.is_empty() || write.dirty => result,
            () = sleep_until(deadline) => Ok(()),
            () = self.wake.notified() => Ok(()),
            () = self.deaf.notified() => Err(NodeError::Deaf),
        };
        // What was not written comes first again; only a step adds more, and none ran in between.
        debug_assert!(subscriptions.out().is_empty());
        *subscriptions.out() = out;
        turned
    }

    /// Notices when a server that is alone was made a replica: its name may lead to the master by now. A replica delivers what
    /// the master publishes, so that nothing else shows it.
    async fn watch_role(&self, address: &Address, commander: &Commander) {
        if matches!(self.state.topology, Topology::Cluster) {
            return;
        }
        loop {
            sleep(CANARY).await;
            let Ok(Some(Reply::List(fields))) = timeout(CANARY, commander.ask(&["HELLO", "3"])).await else { continue };
            let role =
                fields.chunks_exact(2).find(|pair| pair[0].text() == Some("role")).and_then(|pair| pair[1].text());
            if let Some(role) = role {
                self.state.plan().role(address, role == "master", now());
            }
        }
    }

    /// Publishes canaries, and notices when they do not come back.
    async fn publish_canaries(&self, commander: &Commander) {
        loop {
            sleep(CANARY).await;
            if self.state.plan().is_deaf(self.node) {
                self.deaf.notify_one();
                continue;
            }
            let Some((channel, sharded)) = self.state.plan().canary(self.node) else { continue };
            let name = if sharded { "SPUBLISH" } else { "PUBLISH" };
            match timeout(CANARY, commander.ask(&[name, &channel, "canary"])).await {
                // Only what Redis took can be missed.
                Ok(Some(Reply::Number(_))) => self.state.plan().published(self.node),
                Ok(Some(Reply::Error(error))) if error.starts_with("NOPERM") => {
                    self.state.plan().refused(self.node, NodeError::Canary(error), now());
                }
                _ => {}
            }
            self.state.changed.notify_one();
        }
    }
}

/// The half that is written to.
struct Writer {
    half: WriteHalf<Box<dyn Stream>>,
    /// TLS may hold something back.
    dirty: bool,
}

impl Writer {
    /// Writes what the socket takes. Cancelling it at any moment loses nothing.
    async fn some(&mut self, out: &mut BytesMut) -> Result<(), NodeError> {
        if !out.is_empty() {
            self.dirty = true;
            self.half.write_buf(out).await.map_err(|_| NodeError::Ended)?;
            return Ok(());
        }
        self.half.flush().await.map_err(|_| NodeError::Ended)?;
        self.dirty = false;
        Ok(())
    }
}

/// The events of one turn, which the plan takes in under one lock.
#[derive(Default)]
struct TurnEvents {
    up: bool,
    standing: Vec<(Arc<str>, bool)>,
    news: Vec<News>,
    echoed: bool,
    refresh: bool,
    messages: u64,
}

enum News {
    Up(bool),
    Moved(u16, String),
    Refused(NodeError),
}

impl TurnEvents {
    /// Hands messages and confirmations to the sink at once, and keeps the rest.
    #[inline]
    fn take(&mut self, connection: &NodeConnection, event: Event<'_>) {
        let state = &connection.state;
        match event {
            Event::Message(channel, payload) => {
                if state.is_canary(channel) {
                    self.echoed = true;
                } else {
                    self.messages += 1;
                    state.sink.message(channel, Bytes::copy_from_slice(payload));
                }
            }
            Event::Confirmed(channel) => {
                self.standing.push((Arc::clone(channel), true));
                if !state.is_canary(channel) {
                    state.sink.confirmed(channel);
                }
            }
            Event::Lost(channel) => self.standing.push((Arc::clone(channel), false)),
            Event::Up { sharded } => {
                self.up = true;
                self.news.push(News::Up(sharded));
            }
            Event::Moved(slot, owner) => self.news.push(News::Moved(slot, owner.to_owned())),
            Event::Refused(error) => self.news.push(News::Refused(error)),
            Event::Refresh => self.refresh = true,
        }
    }

    fn apply(self, connection: &NodeConnection) {
        let NodeConnection { state, node, .. } = connection;
        if self.messages > 0 {
            state.observer.messages_received(self.messages);
        }
        if !self.standing.is_empty() || !self.news.is_empty() || self.echoed {
            let now = now();
            let mut plan = state.plan();
            for news in self.news {
                match news {
                    News::Up(sharded) => plan.up(*node, sharded, now),
                    News::Moved(slot, owner) => plan.moved(*node, slot, &owner),
                    News::Refused(error) => plan.refused(*node, error, now),
                }
            }
            for (channel, stands) in &self.standing {
                if *stands {
                    plan.confirmed(*node, channel, now);
                } else {
                    plan.lost(*node, channel);
                }
            }
            if self.echoed {
                plan.echoed(*node, now);
            }
            state.changed.notify_one();
        }
        if self.refresh {
            state.refresh.notify_one();
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Between a half and the whole of it.
fn jittered(rest: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without randomness all subscribers come at once, which is no reason not to come.
    let _ = getrandom::fill(&mut byte);
    rest / 2 + (rest / 2) * u32::from(byte[0]) / 255
}
