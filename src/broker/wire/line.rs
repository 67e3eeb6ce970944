//! One master's subscribing connection: the socket around its [`Feed`], and the canary that proves it.
//!
//! Lives as long as its node owns something. Nothing that happens here waits for another node.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Address, Fault,
    commander::{Answer, Commander},
    connect::Stream,
    feed::{Event, Feed},
    plan::NodeId,
    subscriber::Shared,
};

/// The shortest and the longest time between attempts to connect.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// What is read at once.
const CHUNK: usize = 64 << 10;
/// Between canaries.
const CANARY: Duration = Duration::from_secs(2);

/// A master's connection, again and again.
pub(super) async fn run(shared: Arc<Shared>, node: NodeId, address: Address, commander: Commander) {
    let Some(wake) = shared.plan().wake(node) else { return };
    let line = Line { shared, node, wake, deaf: Notify::new() };
    tokio::join!(line.feed(&address), line.canary(&commander));
}

struct Line {
    shared: Arc<Shared>,
    node: NodeId,
    /// There are orders.
    wake: Arc<Notify>,
    /// The canary is not heard.
    deaf: Notify,
}

impl Line {
    async fn feed(&self, address: &Address) {
        let mut feed = Feed::new(self.shared.servers.greeting(), now());
        let mut rest = REST.0;
        loop {
            let fault = match self.shared.servers.connect(address).await {
                Ok(stream) => {
                    feed.connected(now());
                    let (fault, was_up) = self.exchange(&mut feed, stream).await;
                    if was_up {
                        rest = REST.0;
                    }
                    fault
                }
                Err(fault) => fault,
            };
            tracing::debug!(node = %address, %fault, "no subscriptions");
            let mut told = Told::default();
            feed.disconnected(|event| told.take(self, event));
            self.shared.plan().down(self.node, fault);
            told.tell(self);
            self.shared.changed.notify_one();
            self.shared.metrics.reconnects.increment(1);
            // Many pods lose the same node at once.
            sleep(jittered(rest)).await;
            rest = (rest * 2).min(REST.1);
        }
    }

    /// Until the connection ends: why, and whether it ever stood.
    async fn exchange(&self, feed: &mut Feed, stream: Box<dyn Stream>) -> (Fault, bool) {
        let (mut read, half) = tokio::io::split(stream);
        let mut write = Writer { half, dirty: false };
        let mut was_up = false;
        let fault = loop {
            if let Err(fault) = self.turn(feed, &mut read, &mut write, &mut was_up).await {
                break fault;
            }
        };
        (fault, was_up)
    }

    /// Waits for whatever comes first, and does it.
    async fn turn(
        &self,
        feed: &mut Feed,
        read: &mut ReadHalf<Box<dyn Stream>>,
        write: &mut Writer,
        was_up: &mut bool,
    ) -> Result<(), Fault> {
        let mut told = Told::default();
        let orders = self.shared.plan().orders(self.node);
        feed.order(orders.into_iter(), now(), |event| told.take(self, event));
        told.tell(self);
        feed.step(now())?;
        let deadline = feed.deadline().map_or_else(|| Instant::now() + CANARY, Instant::from_std);
        let mut out = std::mem::take(feed.out());
        feed.buffer().reserve(CHUNK);
        let turned = tokio::select! {
            result = read.read_buf(feed.buffer()) => match result {
                Ok(0) => Err(Fault::Ended),
                Ok(_) => {
                    let mut told = Told::default();
                    let received = feed.received(now(), |event| told.take(self, event));
                    *was_up |= told.up;
                    told.tell(self);
                    received
                }
                Err(_) => Err(Fault::Ended),
            },
            result = write.some(&mut out), if !out.is_empty() || write.dirty => result,
            () = sleep_until(deadline) => Ok(()),
            () = self.wake.notified() => Ok(()),
            () = self.deaf.notified() => Err(Fault::Deaf),
        };
        // What was not written comes first again; a step may have added nothing in between.
        debug_assert!(feed.out().is_empty());
        *feed.out() = out;
        turned
    }

    /// Publishes the canary, and finds out that it is not heard.
    async fn canary(&self, commander: &Commander) {
        loop {
            sleep(CANARY).await;
            if self.shared.plan().is_deaf(self.node) {
                self.deaf.notify_one();
                continue;
            }
            let Some((channel, sharded)) = self.shared.plan().canary(self.node) else { continue };
            let name = if sharded { "SPUBLISH" } else { "PUBLISH" };
            match timeout(CANARY, commander.ask(&[name, &channel, "canary"])).await {
                // Only what Redis took can be missed.
                Ok(Some(Answer::Number(_))) => self.shared.plan().published(self.node),
                Ok(Some(Answer::Error(error))) if error.starts_with("NOPERM") => {
                    self.shared.plan().refused(self.node, Fault::Canary(error), now());
                }
                _ => {}
            }
            self.shared.changed.notify_one();
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
    /// Writes what the socket takes; may be given up at any moment.
    async fn some(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        if !out.is_empty() {
            self.dirty = true;
            self.half.write_buf(out).await.map_err(|_| Fault::Ended)?;
            return Ok(());
        }
        self.half.flush().await.map_err(|_| Fault::Ended)?;
        self.dirty = false;
        Ok(())
    }
}

/// What one turn told, for the plan: taken in under one lock.
#[derive(Default)]
struct Told {
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
    Refused(Fault),
}

impl Told {
    fn take(&mut self, line: &Line, event: Event<'_>) {
        match event {
            Event::Message(channel, payload) => {
                if line.shared.is_canary(channel) {
                    self.echoed = true;
                } else {
                    self.messages += 1;
                    line.shared.sink.message(channel, Bytes::copy_from_slice(payload));
                }
            }
            Event::Confirmed(channel) => {
                self.standing.push((Arc::clone(channel), true));
                if !line.shared.is_canary(channel) {
                    line.shared.sink.confirmed(channel);
                }
            }
            Event::Lost(channel) => self.standing.push((Arc::clone(channel), false)),
            Event::Up { sharded } => {
                self.up = true;
                self.news.push(News::Up(sharded));
            }
            Event::Moved(slot, owner) => self.news.push(News::Moved(slot, owner.to_owned())),
            Event::Refused(fault) => self.news.push(News::Refused(fault)),
            Event::Refresh => self.refresh = true,
        }
    }

    fn tell(self, line: &Line) {
        let Line { shared, node, .. } = line;
        if self.messages > 0 {
            shared.metrics.messages.increment(self.messages);
        }
        if !self.standing.is_empty() || !self.news.is_empty() || self.echoed {
            let now = now();
            let mut plan = shared.plan();
            for news in self.news {
                match news {
                    News::Up(sharded) => plan.up(*node, sharded, now),
                    News::Moved(slot, owner) => plan.moved(*node, slot, &owner),
                    News::Refused(fault) => plan.refused(*node, fault, now),
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
            shared.changed.notify_one();
        }
        if self.refresh {
            shared.refresh.notify_one();
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Between a half and the whole of it.
fn jittered(rest: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without chance all come at once, which is no reason not to come.
    let _ = getrandom::fill(&mut byte);
    rest / 2 + (rest / 2) * u32::from(byte[0]) / 255
}
