//! One node's subscriptions: what is wanted there, what stands, and what is sent to make them equal.
//!
//! Bytes and time come in, bytes and events go out; no I/O, no clock. There is no queue of replies: what stands is known
//! from the server's pushes, which name their channel, and an error only means that everything that is missing is asked for
//! again. Always holds: a wanted channel is confirmed, or pending with a moment at which it is asked for.
//!
//! ```text
//!             order                asked              push subscribe
//!   (nothing) ─────► Unasked ──────────────► Asked ───────────────────► Confirmed
//!                     ▲   any error, 1 s without answer │  push unsubscribe, loss │ linger
//!                     └─────────────────────────────────┴─────────────────────────┼──► Lingering ──► (nothing)
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use crate::{
    ask_schedule::AskSchedule,
    error::NodeError,
    frame::{Reader, Value, command},
    greeting::{Greeting, has_sharded_pubsub, refusal},
    order::{Event, Order},
    server_count::ServerCount,
    slot::slot,
};

/// The most channels of one command.
const A_COMMAND: usize = 64;
/// The time for the answer to HELLO.
const GREETING: Duration = Duration::from_secs(1);
/// The time between pings.
const PING: Duration = Duration::from_secs(1);
/// After so long without a byte the connection is closed.
const SILENCE: Duration = Duration::from_millis(2_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unasked,
    Asked(Instant),
    Confirmed,
    Lingering,
}

#[derive(Debug)]
struct Subscription {
    slot: u16,
    standing: Standing,
}

#[derive(Debug)]
enum Phase {
    Down,
    Greeting,
    Up,
}

/// One node's subscriptions.
pub(super) struct NodeSubscriptions {
    greeting: Greeting,
    subscriptions: HashMap<Arc<str>, Subscription>,
    /// The wanted channels whose subscription does not stand.
    pending: HashSet<Arc<str>>,
    /// How many subscriptions the server should count: confirmed and lingering.
    standing: usize,
    phase: Phase,
    sharded: bool,
    reader: Reader,
    out: BytesMut,
    /// When what is pending is asked for.
    schedule: AskSchedule,
    heard: Instant,
    ping: Instant,
    count: ServerCount,
}

impl NodeSubscriptions {
    pub(super) fn new(greeting: Greeting, now: Instant) -> Self {
        Self {
            greeting,
            subscriptions: HashMap::new(),
            pending: HashSet::new(),
            standing: 0,
            phase: Phase::Down,
            sharded: true,
            reader: Reader::default(),
            out: BytesMut::new(),
            schedule: AskSchedule::new(),
            heard: now,
            ping: now,
            count: ServerCount::new(now),
        }
    }

    /// A connection was made.
    pub(super) fn connected(&mut self, now: Instant) {
        self.phase = Phase::Greeting;
        self.reader = Reader::default();
        self.out.clear();
        self.heard = now;
        command(&mut self.out, self.greeting.iter().map(String::as_bytes));
    }

    /// The connection ended, and every subscription with it.
    pub(super) fn disconnected(&mut self, mut tell: impl FnMut(Event<'_>)) {
        self.phase = Phase::Down;
        self.reader = Reader::default();
        self.out = BytesMut::new();
        self.schedule.stop();
        self.standing = 0;
        self.subscriptions.retain(|channel, subscription| {
            if subscription.standing == Standing::Confirmed {
                tell(Event::Lost(channel));
            }
            let kept = subscription.standing != Standing::Lingering;
            subscription.standing = Standing::Unasked;
            if kept {
                self.pending.insert(Arc::clone(channel));
            }
            kept
        });
        tell(Event::Refresh);
    }

    /// Takes orders; what follows from them is sent with the next [`NodeSubscriptions::step`].
    pub(super) fn order(
        &mut self,
        orders: impl Iterator<Item = (Arc<str>, Order)>,
        now: Instant,
        mut tell: impl FnMut(Event<'_>),
    ) {
        let mut dropped = Vec::new();
        for (channel, order) in orders {
            match order {
                Order::Subscribe => self.subscribe(channel, now, &mut tell),
                Order::Linger => {
                    let Some(subscription) = self.subscriptions.get_mut(&channel) else { continue };
                    if subscription.standing == Standing::Confirmed {
                        subscription.standing = Standing::Lingering;
                    } else if subscription.standing != Standing::Lingering {
                        // There is nothing to keep, but an answer may be on its way.
                        dropped.extend(self.forget(channel));
                    }
                }
                Order::Unsubscribe => dropped.extend(self.forget(channel)),
            }
        }
        if matches!(self.phase, Phase::Up) && !dropped.is_empty() {
            self.count.distrust();
            self.send(if self.sharded { "SUNSUBSCRIBE" } else { "UNSUBSCRIBE" }, dropped);
        }
    }

    fn subscribe(&mut self, channel: Arc<str>, now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let slot = slot(channel.as_bytes());
        let new = Subscription { slot, standing: Standing::Unasked };
        let subscription = self.subscriptions.entry(Arc::clone(&channel)).or_insert(new);
        match subscription.standing {
            // The plan may have missed that.
            Standing::Confirmed => return tell(Event::Confirmed(&channel)),
            Standing::Asked(_) => return,
            Standing::Unasked => {}
            // It may stand or not. The answer will say.
            Standing::Lingering => {
                subscription.standing = Standing::Unasked;
                self.standing -= 1;
                self.count.distrust();
            }
        }
        self.pending.insert(channel);
        self.schedule.ask(now);
    }

    fn forget(&mut self, channel: Arc<str>) -> Option<(Arc<str>, u16)> {
        let subscription = self.subscriptions.remove(&channel)?;
        match subscription.standing {
            Standing::Confirmed | Standing::Lingering => self.standing -= 1,
            Standing::Unasked | Standing::Asked(_) => drop(self.pending.remove(&channel)),
        }
        Some((channel, subscription.slot))
    }

    /// The buffer to read into, before [`NodeSubscriptions::received`].
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.reader.buffer()
    }

    /// What is to be written.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Bytes came.
    ///
    /// # Errors
    /// [`NodeError`]; the connection must be closed.
    pub(super) fn received(&mut self, now: Instant, mut tell: impl FnMut(Event<'_>)) -> Result<(), NodeError> {
        self.heard = now;
        let mut reader = std::mem::take(&mut self.reader);
        let result = loop {
            match reader.next(|value| self.take(&value, now, &mut tell)) {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(error))) => break Err(error),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.reader = reader;
        result
    }

    fn take(&mut self, value: &Value<'_>, now: Instant, tell: &mut impl FnMut(Event<'_>)) -> Result<(), NodeError> {
        match (&self.phase, value) {
            (_, Value::Push(values)) => self.pushed(values, now, tell),
            (Phase::Greeting, Value::List(fields)) => self.greeted(fields, now, tell),
            (Phase::Greeting, Value::Error(error)) => return Err(refusal(error)),
            (_, Value::Error(error)) => self.failed(&String::from_utf8_lossy(error), now, tell),
            // To PING or to CLIENT INFO.
            (_, Value::Text(text)) => return self.count.compare(text, self.sharded, self.standing),
            _ => {}
        }
        Ok(())
    }

    fn greeted(&mut self, fields: &[Value<'_>], now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let field = |name: &str| {
            fields.chunks_exact(2).find(|pair| pair[0].text() == Some(name)).and_then(|pair| pair[1].text())
        };
        self.phase = Phase::Up;
        self.sharded = has_sharded_pubsub(field("version").unwrap_or_default());
        (self.ping, self.count) = (now + PING, ServerCount::new(now));
        self.schedule.succeed();
        self.schedule.ask(now);
        tell(Event::Up { sharded: self.sharded });
    }

    fn pushed(&mut self, values: &[Value<'_>], now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let [kind, channel, rest @ ..] = values else { return };
        let (Some(kind), Some(channel)) = (kind.text(), channel.text()) else { return };
        match (kind, rest) {
            ("smessage" | "message", [Value::Text(payload), ..]) => tell(Event::Message(channel, payload)),
            ("ssubscribe" | "subscribe", _) => self.subscribed(channel, tell),
            ("sunsubscribe" | "unsubscribe", _) => self.unsubscribed(channel, now, tell),
            _ => {}
        }
    }

    fn subscribed(&mut self, channel: &str, tell: &mut impl FnMut(Event<'_>)) {
        self.schedule.succeed();
        let Some((channel, _)) = self.subscriptions.get_key_value(channel) else { return };
        let channel = Arc::clone(channel);
        let Some(subscription) = self.subscriptions.get_mut(&channel) else { return };
        if matches!(subscription.standing, Standing::Unasked | Standing::Asked(_)) {
            subscription.standing = Standing::Confirmed;
            self.standing += 1;
            self.pending.remove(&channel);
            tell(Event::Confirmed(&channel));
        }
    }

    /// As it was ordered, or the server took it away because the slot moved.
    fn unsubscribed(&mut self, channel: &str, now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let Some((channel, _)) = self.subscriptions.get_key_value(channel) else { return };
        let channel = Arc::clone(channel);
        let Some(subscription) = self.subscriptions.get_mut(&channel) else { return };
        match subscription.standing {
            Standing::Lingering => {
                self.standing -= 1;
                self.subscriptions.remove(&channel);
            }
            standing => {
                subscription.standing = Standing::Unasked;
                self.pending.insert(Arc::clone(&channel));
                if standing == Standing::Confirmed {
                    self.standing -= 1;
                    tell(Event::Lost(&channel));
                }
                self.schedule.retake(now);
                tell(Event::Refresh);
            }
        }
    }

    fn failed(&mut self, error: &str, now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let mut words = error.split(' ');
        match words.next().unwrap_or_default() {
            "MOVED" => {
                if let (Some(Ok(slot)), Some(owner)) = (words.next().map(str::parse), words.next()) {
                    tell(Event::Moved(slot, owner));
                }
                tell(Event::Refresh);
            }
            "NOPERM" if error.contains("client") => {
                self.count.forbid();
                return;
            }
            "ERR" if self.sharded && is_unknown_command(error) => {
                // Its version says 7.0 or newer, and yet it has none: a service that renamed the command, or a program that only
                // resembles Redis.
                self.sharded = false;
                self.schedule.succeed();
                tell(Event::Up { sharded: false });
            }
            "NOPERM" | "NOAUTH" | "ERR" => tell(Event::Refused(NodeError::Subscribe(error.to_owned()))),
            _ => {}
        }
        for channel in &self.pending {
            if let Some(subscription) = self.subscriptions.get_mut(channel) {
                subscription.standing = Standing::Unasked;
            }
        }
        if !self.pending.is_empty() {
            self.schedule.fail(now);
        }
    }

    /// Time has passed or orders came: what is due is put into [`NodeSubscriptions::out`].
    ///
    /// # Errors
    /// [`NodeError::Silent`]; the connection must be closed.
    pub(super) fn step(&mut self, now: Instant) -> Result<(), NodeError> {
        match self.phase {
            Phase::Down => return Ok(()),
            Phase::Greeting if now >= self.heard + GREETING => return Err(NodeError::Silent),
            Phase::Greeting => return Ok(()),
            Phase::Up if now >= self.heard + SILENCE => return Err(NodeError::Silent),
            Phase::Up => {}
        }
        if self.schedule.due().is_some_and(|due| due <= now) {
            self.ask(now);
        }
        if self.count.ask(now) {
            command(&mut self.out, [&b"CLIENT"[..], b"INFO"].into_iter());
        }
        if now >= self.ping {
            self.ping = now + PING;
            command(&mut self.out, [&b"PING"[..]].into_iter());
        }
        Ok(())
    }

    /// When [`NodeSubscriptions::step`] is to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Down => None,
            Phase::Greeting => Some(self.heard + GREETING),
            Phase::Up => [Some(self.heard + SILENCE), Some(self.ping), self.schedule.due()].into_iter().flatten().min(),
        }
    }

    /// Subscribes to what is missing and not being answered right now.
    fn ask(&mut self, now: Instant) {
        let mut asked = Vec::new();
        for channel in &self.pending {
            let Some(subscription) = self.subscriptions.get_mut(channel) else { continue };
            if matches!(subscription.standing, Standing::Asked(at) if AskSchedule::is_under_way(at, now)) {
                continue;
            }
            subscription.standing = Standing::Asked(now);
            asked.push((Arc::clone(channel), subscription.slot));
        }
        self.schedule.asked(now, !self.pending.is_empty());
        self.send(if self.sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" }, asked);
    }

    /// Sends commands of one slot each: a cluster refuses others.
    fn send(&mut self, name: &str, channels: Vec<(Arc<str>, u16)>) {
        let mut slots: BTreeMap<u16, Vec<Arc<str>>> = BTreeMap::new();
        for (channel, slot) in channels {
            slots.entry(slot).or_default().push(channel);
        }
        for channels in slots.values().flat_map(|channels| channels.chunks(A_COMMAND)) {
            let mut args = vec![name.as_bytes()];
            args.extend(channels.iter().map(|channel| channel.as_bytes()));
            command(&mut self.out, args.into_iter());
        }
    }
}

/// Whether an error says that the server has no `SSUBSCRIBE`.
fn is_unknown_command(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    error.contains("unknown command") && error.contains("ssubscribe")
}

#[cfg(test)]
mod tests;
