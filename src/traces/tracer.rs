//! What publishes and fan-outs hand in: which of them are traced, and what is told of them.
//!
//! A span is made when its work is over, and waits in a queue. Only a publish that is traced costs more than a look at the sampler; a
//! fan-out costs one look at a number while no publish is traced. Nothing is done for a receiver.
//!
//! Always holds: what is not traced is not changed, and what is traced neither waits nor fails for it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;

use super::{
    awaited_fan_outs::{AwaitedFanOuts, PublishedSpan},
    sampler::Sampler,
    span::{FanOut, Parent, Publisher, Span, SpanContext, Work},
    span_queue::SpanQueue,
    told_events::{MOST, ToldEvents},
    trace_context::{RemoteParent, SpanId, TraceFlags, TraceId, traceparent},
};
use crate::{
    broker::BrokerError,
    config::{Policies, TraceSettings},
    metrics::TraceMetrics,
    model::{Batch, Position, Room, TracedEvent},
};

/// How long after a publish, and its room's batch window, fan-outs of its event are awaited.
const AWAITED_FOR: Duration = Duration::from_secs(10);

/// The traces of a pod.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    names_rooms: bool,
    policies: Arc<ArcSwap<Policies>>,
    awaited: Mutex<AwaitedFanOuts>,
    /// Whether a fan-out may be one of them: it looks at this first.
    looks_at_fan_outs: AtomicBool,
    /// What the other pods are told; `None`: there are none.
    pub(super) told: Option<ToldEvents>,
    pub(super) queue: SpanQueue,
}

impl Tracer {
    /// The traces that the settings ask for; `None`: none. `in_fleet`: there may be other pods.
    #[must_use]
    pub fn of(
        settings: &TraceSettings,
        in_fleet: bool,
        policies: &Arc<ArcSwap<Policies>>,
        metrics: impl FnOnce() -> TraceMetrics,
    ) -> Option<Arc<Self>> {
        settings.otlp_endpoint.as_ref()?;
        let seed = random().map_or(0, u64::from_be_bytes);
        Some(Arc::new(Self {
            sampler: Sampler::new(settings.sample, seed),
            names_rooms: settings.room_names,
            policies: Arc::clone(policies),
            awaited: Mutex::new(AwaitedFanOuts::new(in_fleet)),
            looks_at_fan_outs: AtomicBool::new(in_fleet),
            told: in_fleet.then(ToldEvents::default),
            queue: SpanQueue::new(settings.queue, metrics()),
        }))
    }

    /// A publish of so many bytes begins; `None`: it is not traced.
    #[must_use]
    pub fn begin(&self, publisher: Publisher<'_>, room: &Room, bytes: usize) -> Option<PublishSpan<'_>> {
        let remote = publisher.headers().and_then(RemoteParent::of);
        let (trace, flags, parent, state) = match remote {
            Some(remote) if !remote.flags.is_sampled() => return None,
            Some(RemoteParent { trace, span, flags, state }) => (trace, flags, Parent::Remote(span), state.into()),
            None if !self.sampler.takes() => return None,
            None => (TraceId(random()?), TraceFlags::OWN, Parent::None, Arc::from("")),
        };
        let id = SpanId(random()?);
        let context = self.context(trace, flags, state, room);
        let awaits = self.change(|awaited| awaited.begin(room));
        if !awaits {
            self.queue.metrics.dropped.increment(1);
        }
        let (source, room) = (publisher.as_str(), room.clone());
        let (since, began) = (Instant::now(), unix_nanos());
        Some(PublishSpan {
            tracer: self,
            context,
            id,
            parent,
            source,
            room,
            bytes,
            began,
            since,
            awaits,
            is_over: false,
        })
    }

    /// A worker has fanned out a batch that began to go out at `since`.
    pub fn fanned_out(&self, batch: &Batch, worker: usize, receivers: u64, since: Instant) {
        // What began a publish did so before its event came here.
        if !self.looks_at_fan_outs.load(Ordering::Relaxed) {
            return;
        }
        let ended = unix_nanos();
        let fan_out = FanOut {
            epoch: batch.epoch.clone(),
            after: batch.after,
            offset: batch.offset,
            events: batch.events.len(),
            worker,
            receivers,
            began: ended.saturating_sub(nanos(since.elapsed())),
            ended,
        };
        let published = self.change(|awaited| awaited.ran(&batch.room, &fan_out, Instant::now()));
        if published.is_empty() {
            return;
        }
        self.queue.extend(published.into_iter().filter_map(|span| fan_out_span(fan_out.clone(), &span)));
    }

    /// Another pod has published events that are traced.
    pub fn told_by_another(&self, events: Vec<TracedEvent>) {
        for TracedEvent { room, at, traceparent, tracestate } in events.into_iter().take(MOST) {
            let remote = RemoteParent::parse(traceparent.as_bytes(), std::iter::once(tracestate.as_bytes()));
            let Some(RemoteParent { trace, span, flags, state }) = remote else { continue };
            let context = self.context(trace, flags, state.into(), &room);
            let until = self.awaited_until(&room);
            let published = PublishedSpan { context, span: Parent::Remote(span), position: at, until };
            let ran = self.change(|awaited| awaited.published_elsewhere(&room, published.clone()));
            self.queue.extend(ran.into_iter().filter_map(|fan_out| fan_out_span(fan_out, &published)));
        }
    }

    /// Forgets publishes whose fan-outs are over; to be called now and then.
    pub(super) fn sweep(&self) {
        self.change(|awaited| awaited.sweep(Instant::now()));
    }

    fn context(&self, trace: TraceId, flags: TraceFlags, state: Arc<str>, room: &Room) -> SpanContext {
        let pattern = self.policies.load().pattern_of(room).into();
        SpanContext { trace, flags, state, pattern, room: self.names_rooms.then(|| room.clone()) }
    }

    fn awaited_until(&self, room: &Room) -> Instant {
        Instant::now() + AWAITED_FOR + self.policies.load().of(room).batch_window
    }

    fn change<T>(&self, change: impl FnOnce(&mut AwaitedFanOuts) -> T) -> T {
        let mut awaited: MutexGuard<'_, AwaitedFanOuts> = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut awaited);
        self.looks_at_fan_outs.store(awaited.looks_at_fan_outs(), Ordering::Relaxed);
        changed
    }
}

/// The span of a fan-out below its publish.
fn fan_out_span(fan_out: FanOut, published: &PublishedSpan) -> Option<Span> {
    Some(Span {
        context: published.context.clone(),
        id: SpanId(random()?),
        parent: published.span,
        began: fan_out.began,
        ended: fan_out.ended,
        work: Work::FanOut { fan_out, offset: published.position.offset },
    })
}

/// A publish that is under way and traced. Dropped before its end it is told as one that was given up.
#[derive(Debug)]
pub struct PublishSpan<'a> {
    tracer: &'a Tracer,
    context: SpanContext,
    id: SpanId,
    parent: Parent,
    source: &'static str,
    room: Room,
    bytes: usize,
    began: u64,
    since: Instant,
    awaits: bool,
    is_over: bool,
}

impl PublishSpan<'_> {
    /// The broker answered.
    pub fn answered(self, answer: &Result<Position, BrokerError>) {
        self.end(answer.as_ref().map_err(|error| match error {
            BrokerError::Unavailable(_) => "unavailable",
            BrokerError::Unknown => "unknown",
            BrokerError::Conflict => "conflict",
            BrokerError::UnknownTopic => "unknown_topic",
            BrokerError::NoToken(_) => "no_token",
            BrokerError::TooLarge { .. } => "too_large",
        }));
    }

    /// It is over: the position of its event, or the word for why it has none.
    pub fn end(mut self, outcome: Result<&Position, &'static str>) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Result<&Position, &'static str>) {
        self.is_over = true;
        let Self { tracer, context, id, parent, source, bytes, began, since, .. } = &*self;
        let ran = match (self.awaits, outcome) {
            (false, _) => Vec::new(),
            (true, Ok(position)) => {
                let until = tracer.awaited_until(&self.room);
                if let Some(told) = &tracer.told {
                    let (trace, flags, state) = (context.trace, context.flags, &context.state);
                    let (room, traceparent) = (self.room.clone(), traceparent(trace, *id, flags).into());
                    let event = TracedEvent { room, at: position.clone(), traceparent, tracestate: (&**state).into() };
                    if !told.add(event) {
                        tracer.queue.metrics.dropped.increment(1);
                    }
                }
                let (context, position) = (context.clone(), position.clone());
                let published = PublishedSpan { context, span: Parent::Own(*id), position, until };
                let ran = tracer.change(|awaited| awaited.published(&self.room, published.clone()));
                ran.into_iter().filter_map(|fan_out| fan_out_span(fan_out, &published)).collect()
            }
            (true, Err(_)) => {
                tracer.change(|awaited| awaited.gave_up(&self.room));
                Vec::new()
            }
        };
        let span = Span {
            context: context.clone(),
            id: *id,
            parent: *parent,
            began: *began,
            ended: began + nanos(since.elapsed()),
            work: Work::Publish { source, bytes: *bytes, outcome: outcome.cloned() },
        };
        tracer.queue.extend([span].into_iter().chain(ran));
    }
}

impl Drop for PublishSpan<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(Err("given_up"));
        }
    }
}

/// Random bytes for a name, which must not be all zeros; `None`: the system has none.
fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    (bytes != [0; N]).then_some(bytes)
}

fn unix_nanos() -> u64 {
    nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
