//! One node's subscriptions: what is wanted there, what stands, and what is sent to make them equal.
//!
//! Bytes and time come in, bytes and events go out; no I/O, no clock. There is no queue of replies: what stands is known
//! from the server's pushes, which name their channel, and an error only means that whatever is missing is asked for
//! again. Always holds: a wanted channel is confirmed, or pending with a moment at which it is asked for.
//!
//! ```text
//!             want                 asked              push subscribe
//!   (nothing) ────► Unasked ──────────────► Asked ───────────────────► Confirmed
//!                     ▲   any error, 1 s without answer │  push unsubscribe, loss │ linger
//!                     └─────────────────────────────────┴─────────────────────────┼──► Lingering ──► (nothing)
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    Fault,
    frame::{Reader, Value, command},
    slot::slot,
};

/// The most channels of one command.
const A_COMMAND: usize = 64;
/// Until HELLO is answered.
const GREETING: Duration = Duration::from_secs(1);
/// Between pings.
const PING: Duration = Duration::from_secs(1);
/// After so long without a byte the connection is given up.
const SILENCE: Duration = Duration::from_millis(2_500);
/// Between counts of what the server holds.
const COUNT: Duration = Duration::from_secs(5);
/// An unanswered channel is asked for again after this.
const UNANSWERED: Duration = Duration::from_secs(1);
/// After an error, what is missing is asked for again after this, and each time twice that until something is confirmed.
const RETRY: Duration = Duration::from_millis(100);
/// The longest time between retries: what is not answered at all is asked for as often.
const MAX_RETRY: Duration = UNANSWERED;
/// After the server took a subscription away.
const RETAKE: Duration = Duration::from_millis(1);

/// What is to become of a channel at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Subscribe, and see to it that it stays.
    Want,
    /// Keep what stands, but do not fight for it: it is another node's now.
    Linger,
    /// Unsubscribe.
    Drop,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The server lets us in: subscriptions are made as this says.
    Up {
        /// `SSUBSCRIBE` instead of `SUBSCRIBE`.
        sharded: bool,
    },
    /// The subscription stands.
    Confirmed(&'a Arc<str>),
    /// It stands no more.
    Lost(&'a Arc<str>),
    /// A message.
    Message(&'a str, &'a [u8]),
    /// The server names another owner of a slot, as `host:port`.
    Moved(u16, &'a str),
    /// Who owns what has changed, or may have.
    Refresh,
    /// The server refuses, for a reason that does not go by itself.
    Refused(Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unasked,
    Asked(Instant),
    Confirmed,
    Lingering,
}

#[derive(Debug)]
struct Want {
    slot: u16,
    standing: Standing,
}

#[derive(Debug)]
enum Phase {
    Down,
    Greeting,
    Up,
}

/// Whether the server's own count can be compared with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Idle,
    Asked,
    /// Something was unsubscribed after it was asked for.
    Stale,
    /// The server does not tell.
    Forbidden,
}

/// How to get in: the arguments of HELLO. Not `Debug`: there is a password in it.
pub(super) type Greeting = Vec<String>;

/// One node's subscriptions.
pub(super) struct Feed {
    greeting: Greeting,
    wants: HashMap<Arc<str>, Want>,
    /// The wanted ones that do not stand.
    pending: HashSet<Arc<str>>,
    /// How many the server should count: confirmed and lingering.
    standing: usize,
    phase: Phase,
    sharded: bool,
    reader: Reader,
    out: BytesMut,
    /// When what is pending is asked for.
    due: Option<Instant>,
    retry: Duration,
    /// Whether an error came since the last time that something was asked for.
    erred: bool,
    heard: Instant,
    ping: Instant,
    count: Instant,
    counting: Count,
}

impl Feed {
    pub(super) fn new(greeting: Greeting, now: Instant) -> Self {
        Self {
            greeting,
            wants: HashMap::new(),
            pending: HashSet::new(),
            standing: 0,
            phase: Phase::Down,
            sharded: true,
            reader: Reader::default(),
            out: BytesMut::new(),
            due: None,
            retry: RETRY,
            erred: false,
            heard: now,
            ping: now,
            count: now,
            counting: Count::Idle,
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

    /// The connection is gone, and all that stood with it.
    pub(super) fn disconnected(&mut self, mut tell: impl FnMut(Event<'_>)) {
        self.phase = Phase::Down;
        self.reader = Reader::default();
        self.out = BytesMut::new();
        self.due = None;
        self.standing = 0;
        self.wants.retain(|channel, want| {
            if want.standing == Standing::Confirmed {
                tell(Event::Lost(channel));
            }
            let kept = want.standing != Standing::Lingering;
            want.standing = Standing::Unasked;
            if kept {
                self.pending.insert(Arc::clone(channel));
            }
            kept
        });
        tell(Event::Refresh);
    }

    /// Takes orders; what follows from them is sent with the next [`Feed::step`].
    pub(super) fn order(
        &mut self,
        orders: impl Iterator<Item = (Arc<str>, Order)>,
        now: Instant,
        mut tell: impl FnMut(Event<'_>),
    ) {
        let mut dropped = Vec::new();
        for (channel, order) in orders {
            match order {
                Order::Want => self.want(channel, now, &mut tell),
                Order::Linger => {
                    let Some(want) = self.wants.get_mut(&channel) else { continue };
                    if want.standing == Standing::Confirmed {
                        want.standing = Standing::Lingering;
                    } else if want.standing != Standing::Lingering {
                        // There is nothing to keep, but an answer may be on its way.
                        dropped.extend(self.forget(channel));
                    }
                }
                Order::Drop => dropped.extend(self.forget(channel)),
            }
        }
        if matches!(self.phase, Phase::Up) && !dropped.is_empty() {
            self.distrust_count();
            self.send(if self.sharded { "SUNSUBSCRIBE" } else { "UNSUBSCRIBE" }, dropped);
        }
    }

    fn want(&mut self, channel: Arc<str>, now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let slot = slot(channel.as_bytes());
        let want = self.wants.entry(Arc::clone(&channel)).or_insert(Want { slot, standing: Standing::Unasked });
        match want.standing {
            // Whoever orders it may have missed that.
            Standing::Confirmed => return tell(Event::Confirmed(&channel)),
            Standing::Asked(_) => return,
            Standing::Unasked => {}
            // It may stand or not: the answer will say.
            Standing::Lingering => {
                want.standing = Standing::Unasked;
                self.standing -= 1;
                self.distrust_count();
            }
        }
        self.pending.insert(channel);
        self.ask_at(now);
    }

    /// What is being counted is not what stands any more.
    fn distrust_count(&mut self) {
        if self.counting == Count::Asked {
            self.counting = Count::Stale;
        }
    }

    fn forget(&mut self, channel: Arc<str>) -> Option<(Arc<str>, u16)> {
        let want = self.wants.remove(&channel)?;
        match want.standing {
            Standing::Confirmed | Standing::Lingering => self.standing -= 1,
            Standing::Unasked | Standing::Asked(_) => drop(self.pending.remove(&channel)),
        }
        Some((channel, want.slot))
    }

    /// The buffer into which what comes is read, before [`Feed::received`].
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.reader.buffer()
    }

    /// What is to be written.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Instant, mut tell: impl FnMut(Event<'_>)) -> Result<(), Fault> {
        self.heard = now;
        let mut reader = std::mem::take(&mut self.reader);
        let result = loop {
            match reader.next(|value| self.take(&value, now, &mut tell)) {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(fault))) => break Err(fault),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.reader = reader;
        result
    }

    fn take(&mut self, value: &Value<'_>, now: Instant, tell: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        match (&self.phase, value) {
            (_, Value::Push(values)) => self.pushed(values, now, tell),
            (Phase::Greeting, Value::List(fields)) => self.greeted(fields, now, tell),
            (Phase::Greeting, Value::Error(error)) => return Err(refused(error)),
            (_, Value::Error(error)) => self.failed(&String::from_utf8_lossy(error), now, tell),
            (_, Value::Text(text)) => return self.counted(text),
            _ => {}
        }
        Ok(())
    }

    fn greeted(&mut self, fields: &[Value<'_>], now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let field = |name: &str| {
            fields.chunks_exact(2).find(|pair| pair[0].text() == Some(name)).and_then(|pair| pair[1].text())
        };
        self.phase = Phase::Up;
        self.sharded = is_sharded(field("version").unwrap_or_default());
        (self.ping, self.count, self.counting, self.retry) = (now + PING, now + COUNT, Count::Idle, RETRY);
        self.ask_at(now);
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
        self.retry = RETRY;
        let Some((channel, _)) = self.wants.get_key_value(channel) else { return };
        let channel = Arc::clone(channel);
        let Some(want) = self.wants.get_mut(&channel) else { return };
        if matches!(want.standing, Standing::Unasked | Standing::Asked(_)) {
            want.standing = Standing::Confirmed;
            self.standing += 1;
            self.pending.remove(&channel);
            tell(Event::Confirmed(&channel));
        }
    }

    /// Ours, or the server took it away because the slot moved.
    fn unsubscribed(&mut self, channel: &str, now: Instant, tell: &mut impl FnMut(Event<'_>)) {
        let Some((channel, _)) = self.wants.get_key_value(channel) else { return };
        let channel = Arc::clone(channel);
        let Some(want) = self.wants.get_mut(&channel) else { return };
        match want.standing {
            Standing::Lingering => {
                self.standing -= 1;
                self.wants.remove(&channel);
            }
            standing => {
                want.standing = Standing::Unasked;
                self.pending.insert(Arc::clone(&channel));
                if standing == Standing::Confirmed {
                    self.standing -= 1;
                    tell(Event::Lost(&channel));
                }
                self.ask_at(now + RETAKE);
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
                self.counting = Count::Forbidden;
                return;
            }
            "ERR" if self.sharded && is_unknown_command(error) => {
                // Newer than 7.0 by its version, and yet without: a service that renamed it, or something that only resembles
                // Redis.
                self.sharded = false;
                self.retry = RETRY;
                tell(Event::Up { sharded: false });
            }
            "NOPERM" | "NOAUTH" | "ERR" => tell(Event::Refused(Fault::Subscribe(error.to_owned()))),
            _ => {}
        }
        for channel in &self.pending {
            if let Some(want) = self.wants.get_mut(channel) {
                want.standing = Standing::Unasked;
            }
        }
        if !self.pending.is_empty() {
            self.erred = true;
            self.ask_at(now + self.retry);
        }
    }

    /// An answer in plain text: to PING or to CLIENT INFO.
    fn counted(&mut self, text: &[u8]) -> Result<(), Fault> {
        if !text.starts_with(b"id=") || matches!(self.counting, Count::Idle | Count::Forbidden) {
            return Ok(());
        }
        let valid = self.counting == Count::Asked;
        self.counting = Count::Idle;
        let name = if self.sharded { "ssub=" } else { "sub=" };
        let text = String::from_utf8_lossy(text);
        let theirs = text.split_ascii_whitespace().find_map(|field| field.strip_prefix(name)?.parse().ok());
        match theirs {
            Some(theirs) if valid && theirs != self.standing => Err(Fault::Miscounted { theirs, ours: self.standing }),
            _ => Ok(()),
        }
    }

    /// Time has passed or orders came: what is due is put into [`Feed::out`].
    pub(super) fn step(&mut self, now: Instant) -> Result<(), Fault> {
        match self.phase {
            Phase::Down => return Ok(()),
            Phase::Greeting if now >= self.heard + GREETING => return Err(Fault::Silent),
            Phase::Greeting => return Ok(()),
            Phase::Up if now >= self.heard + SILENCE => return Err(Fault::Silent),
            Phase::Up => {}
        }
        if self.due.is_some_and(|due| due <= now) {
            self.ask(now);
        }
        if now >= self.count && self.counting != Count::Forbidden {
            self.count = now + COUNT;
            self.counting = Count::Asked;
            command(&mut self.out, [&b"CLIENT"[..], b"INFO"].into_iter());
        }
        if now >= self.ping {
            self.ping = now + PING;
            command(&mut self.out, [&b"PING"[..]].into_iter());
        }
        Ok(())
    }

    /// When [`Feed::step`] is to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Down => None,
            Phase::Greeting => Some(self.heard + GREETING),
            Phase::Up => [Some(self.heard + SILENCE), Some(self.ping), self.due].into_iter().flatten().min(),
        }
    }

    fn ask_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Subscribes to what is missing and not just being answered.
    fn ask(&mut self, now: Instant) {
        if std::mem::take(&mut self.erred) {
            self.retry = (self.retry * 2).min(MAX_RETRY);
        }
        let mut asked = Vec::new();
        for channel in &self.pending {
            let Some(want) = self.wants.get_mut(channel) else { continue };
            if matches!(want.standing, Standing::Asked(at) if now < at + UNANSWERED) {
                continue;
            }
            want.standing = Standing::Asked(now);
            asked.push((Arc::clone(channel), want.slot));
        }
        self.due = (!self.pending.is_empty()).then_some(now + UNANSWERED);
        self.send(if self.sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" }, asked);
    }

    /// A command may name only channels of one slot, in a cluster.
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

/// Whether a server of this version has sharded publish and subscribe: Redis 7.0 and whatever came from it.
pub(super) fn is_sharded(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 7)
}

/// Whether a server says that it has no `SSUBSCRIBE`.
fn is_unknown_command(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    error.contains("unknown command") && error.contains("ssubscribe")
}

/// Why HELLO was answered with an error.
pub(super) fn refused(error: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(error).into_owned();
    match text.split(' ').next() {
        Some("WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED") => Fault::Login(text),
        _ if text.contains("AUTH") || text.contains("password") => Fault::Login(text),
        _ => Fault::Hello(text),
    }
}

#[cfg(test)]
mod tests;
