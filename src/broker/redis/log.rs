//! A room's log in Redis: appended to, read, and what of it is retained. Each is one script.
//!
//! Never retries by itself: that is the work of `publishing` and `shards`.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use fred::types::Value;
use futures_util::future::join_all;

use super::{
    append::{AppendedEvent, EventKey, LogKind},
    arguments::{count, millis, whole},
    entry,
    node::Lane,
    partition::{KeyKind, Names, Partition},
    publishing::base,
    reply::{ReplyError, ReplyFields, text_of},
    script,
    state::{EVENT_COST, MAX_EVENT, RedisState},
};
use crate::{
    broker::{BrokerError, History, HistoryQuery, log_key::LogKey},
    model::{Deletion, Durability, Epoch, Event, Policy, Position, Publication, Retain, Retained, Room, Signal},
};

impl RedisState {
    pub(super) async fn publish(&self, to: &Room, publication: Publication) -> Result<Position, BrokerError> {
        self.publish_as(to, &publication, None).await
    }

    /// Publishes what goes to different logs at the same time, and what goes to one log one after the other.
    pub(super) async fn publish_all(
        &self,
        publications: Vec<(Room, Publication)>,
    ) -> Vec<Result<Position, BrokerError>> {
        let mut chains: Vec<Vec<(usize, Room, Publication)>> = Vec::new();
        let mut of_log: HashMap<Room, usize> = HashMap::new();
        let mut results: Vec<_> = publications.iter().map(|_| Err(BrokerError::Unknown)).collect();
        for (at, (room, publication)) in publications.into_iter().enumerate() {
            let log = self.policy(&room).log_of(&room).cloned().unwrap_or_else(|| room.clone());
            let chain = *of_log.entry(log).or_insert_with(|| {
                chains.push(Vec::new());
                chains.len() - 1
            });
            chains[chain].push((at, room, publication));
        }
        let one_after_the_other = |chain: Vec<(usize, Room, Publication)>| async move {
            let mut answers = Vec::with_capacity(chain.len());
            for (at, room, publication) in chain {
                answers.push((at, self.publish(&room, publication).await));
            }
            answers
        };
        for answers in join_all(chains.into_iter().map(one_after_the_other)).await {
            for (at, answer) in answers {
                results[at] = answer;
            }
        }
        results
    }

    /// Publishes something that has a name, which is known for so long: whoever publishes it again under that name appends
    /// nothing. A publisher's own idempotency key goes before.
    pub(super) async fn publish_as(
        &self,
        to: &Room,
        publication: &Publication,
        name: Option<(&str, Duration)>,
    ) -> Result<Position, BrokerError> {
        let (partition, lane, event) = self.event_of(to, publication, name)?;
        let room = event.room.clone();
        let done = self.shards.publish(partition, lane, event).await?;
        self.position_of(partition, &room, done)
    }

    /// Publishes what has names to rooms of one partition, in this order, in as few calls as there are kinds of durability in a row.
    pub(super) async fn publish_run(
        &self,
        partition: Partition,
        run: &[(&Room, &Publication, &str)],
        age: Duration,
    ) -> Vec<Result<Position, BrokerError>> {
        let events = run.iter().map(|(to, publication, name)| self.event_of(to, publication, Some((name, age))));
        let events: Vec<_> = events.map(|event| event.map(|(_, lane, event)| (lane, event))).collect();
        let mut results = Vec::with_capacity(events.len());
        for alike in events.chunk_by(|a, b| matches!((a, b), (Ok((a, _)), Ok((b, _))) if a == b)) {
            match alike {
                [Err(error)] => results.push(Err(error.clone())),
                alike => {
                    let events: Vec<_> = alike.iter().flatten().map(|(_, event)| event).collect();
                    let lane = alike.iter().flatten().next().map_or(Lane::Commands, |(lane, _)| *lane);
                    let answers = self.shards.publish_run(partition, lane, &events).await;
                    let answers = events.iter().zip(answers);
                    results.extend(answers.map(|(event, done)| self.position_of(partition, &event.room, done?)));
                }
            }
            let is_open =
                |result: &Result<_, _>| matches!(result, Err(BrokerError::Unavailable(_) | BrokerError::Unknown));
            if results.iter().any(is_open) {
                // What follows must not overtake it.
                let why = || Err(BrokerError::Unavailable("the messages before it were not taken in".to_owned()));
                results.resize_with(events.len(), why);
                break;
            }
        }
        results
    }

    /// A publication as the event that is appended, with the partition and the lane that it takes.
    fn event_of(
        &self,
        to: &Room,
        publication: &Publication,
        name: Option<(&str, Duration)>,
    ) -> Result<(Partition, Lane, AppendedEvent), BrokerError> {
        let own = self.policy(to);
        BrokerError::check_topic(&own, &publication.topic)?;
        let (room, part) = own.log_of(to).map_or((to, None), |log| (log, Some(to)));
        let policy = if part.is_some() { self.policy(room) } else { Arc::clone(&own) };
        let event = entry::encode(publication, part)?;
        let limit = if keeps(&policy) { policy.history_bytes.min(MAX_EVENT) } else { MAX_EVENT };
        let bytes = event.len() + EVENT_COST;
        if bytes > limit {
            return Err(BrokerError::TooLarge { bytes, limit });
        }
        let (once, key_age) = match (LogKey::of(publication, part), name) {
            (Some(LogKey { side, name, fingerprint }), _) => {
                let once = EventKey { name: Names::once(room, side, &name), fingerprint: Some(fingerprint) };
                (Some(once), self.settings.idempotency_age)
            }
            // Each pod makes the event of a plain message anew.
            (None, Some((name, age))) => (Some(EventKey { name: Names::named(room, name), fingerprint: None }), age),
            (None, None) => (None, Duration::ZERO),
        };
        let value = value_name(&policy, publication).map(|name| {
            let removes = policy.removes_retained(&publication.topic);
            format!("{}{name}", if removes { '-' } else { '+' })
        });
        let kind = LogKind {
            ttl: self.settings.room_ttl.max(policy.history_age),
            size: if keeps(&policy) { policy.history_size } else { 0 },
            bytes: policy.history_bytes,
            age: policy.history_age,
            key_age,
            values: retained_kind(&policy).map_or(0, |_| policy.retain_max),
        };
        let lane = match policy.durability {
            Durability::Log => Lane::Commands,
            Durability::Replica => Lane::Durable,
        };
        Ok((Partition::of(room), lane, self.appended(room, once, Some(kind), value, event)))
    }

    /// Where an event is, and a line about what Redis refused of it beside.
    fn position_of(
        &self,
        partition: Partition,
        room: &str,
        (position, refused): (Option<String>, Option<String>),
    ) -> Result<Position, BrokerError> {
        if let Some(why) = refused {
            tracing::debug!(%room, why, "an event is in its log, and Redis refused something else about it");
            self.metrics.unreadable.increment(u64::from(why.starts_with("WRONGTYPE")));
            self.shards.refused_in_part(partition, &script::PUBLISH, &why);
        }
        let position = position.unwrap_or_default();
        let (epoch, offset) = entry::position_of(&position).map_err(|error| self.unexpected(&error))?;
        Ok(Position::new(epoch, offset))
    }

    /// An event on its way, with a name of its own.
    fn appended(
        &self,
        room: &Room,
        once: Option<EventKey>,
        kind: Option<LogKind>,
        value: Option<String>,
        event: Bytes,
    ) -> AppendedEvent {
        // 6 bytes of each: a pod's number is random.
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut attempt = [0; 12];
        let bytes = self.pod.number.to_be_bytes().into_iter().skip(2).chain(number.to_be_bytes().into_iter().skip(2));
        attempt.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let (place, room) = (self.names.place(room), room.as_str().to_owned());
        AppendedEvent { place, room, once, kind, attempt, value, event }
    }

    /// Tells every pod an event that enters no log.
    pub(super) async fn publish_unlogged(
        &self,
        room: &Room,
        publication: Publication,
        except: Box<str>,
    ) -> Result<(), BrokerError> {
        BrokerError::check_topic(&self.policy(room), &publication.topic)?;
        let message = entry::unlogged_message(&publication, &except)?;
        if message.len() > MAX_EVENT {
            return Err(BrokerError::TooLarge { bytes: message.len(), limit: MAX_EVENT });
        }
        self.tell_pods(room, message).await
    }

    /// Tells every pod a signal.
    pub(super) async fn signal(&self, room: &Room, signal: Signal) -> Result<(), BrokerError> {
        self.tell_pods(room, entry::signal_message(&signal)?).await
    }

    /// Tells every pod what enters no log.
    pub(super) async fn tell_pods(&self, room: &Room, message: Bytes) -> Result<(), BrokerError> {
        let event = self.appended(room, None, None, None, message);
        self.shards.publish(Partition::of(room), Lane::Commands, event).await?;
        Ok(())
    }

    /// What the log has; of a log that rooms share, what was published to this one.
    pub(super) async fn history(&self, room: &Room, query: HistoryQuery) -> Result<History, BrokerError> {
        let policy = self.policy(room);
        match policy.log_of(room) {
            Some(log) => Ok(self.read(log, &self.policy(log), query.of_a_part()).await?.of(room, &query)),
            None => self.read(room, &policy, query).await,
        }
    }

    /// Takes an event out of a log, and out of the retained values.
    pub(super) async fn delete_event(&self, room: &Room, deletion: &Deletion) -> Result<bool, BrokerError> {
        let own = self.policy(room);
        let (log, part) = own.log_of(room).map_or((room, None), |log| (log, Some(room)));
        let (size, age) = log_bounds(&self.policy(log));
        let kinds = [KeyKind::Record, KeyKind::Log, KeyKind::Deleted, KeyKind::Values, KeyKind::Order];
        let keys = kinds.map(|kind| self.names.of(log, kind));
        let Position { epoch, offset } = &deletion.at;
        let args = [
            Value::from(base()?),
            self.room_ttl(),
            size,
            age,
            Value::from(epoch.as_str()),
            whole(*offset),
            Value::Bytes(entry::encode(&deletion.in_place(), part)?),
        ];
        let frame = self.shards.call(Partition::of(log), &script::DELETE_EVENT, keys, args).await?;
        let done = ReplyFields::of(frame).and_then(|mut fields| fields.number());
        done.map(|done| done == 1).map_err(|error| self.unexpected(&error))
    }

    /// Takes away what readers of a log leave out already.
    pub(super) async fn trim_log(&self, room: &Room) -> Result<(), BrokerError> {
        let keys = [KeyKind::Record, KeyKind::Log].map(|kind| self.names.of(room, kind));
        let (size, age) = log_bounds(&self.policy(room));
        let args = [Value::from(base()?), self.room_ttl(), size, age];
        self.shards.call(Partition::of(room), &script::TRIM_LOG, keys, args).await?;
        Ok(())
    }

    async fn read(&self, room: &Room, policy: &Policy, query: HistoryQuery) -> Result<History, BrokerError> {
        let keys = [KeyKind::Record, KeyKind::Log, KeyKind::Deleted].map(|kind| self.names.of(room, kind));
        let (size, age) = log_bounds(policy);
        let (epoch, since) = query.since.map_or((String::new(), 0), |s| (s.epoch.as_str().to_owned(), s.offset));
        // An epoch that a client sent may be empty, which would ask for the newest instead.
        let epoch = if epoch.is_empty() && since > 0 { "-".to_owned() } else { epoch };
        let args = [
            Value::from(base()?),
            self.room_ttl(),
            size,
            age,
            Value::from(epoch),
            whole(since),
            whole(query.until.unwrap_or(u64::MAX)),
            count(query.max_events),
            count(query.max_bytes),
        ];
        let frame = self.shards.read(Partition::of(room), &script::HISTORY, keys, args).await?;
        read_history(frame).map_err(|error| self.unexpected(&*error))
    }

    pub(super) async fn retained(&self, room: &Room) -> Result<Retained, BrokerError> {
        let policy = self.policy(room);
        let keys = [KeyKind::Record, KeyKind::Values, KeyKind::Order].map(|kind| self.names.of(room, kind));
        let (most, letter) = retained_kind(&policy).map_or((0, ""), |letter| (policy.retain_max, letter));
        let args = [Value::from(base()?), self.room_ttl(), count(most), Value::from(letter)];
        let frame = self.shards.read(Partition::of(room), &script::RETAINED, keys, args).await?;
        let read = || -> Result<Retained, Box<dyn std::error::Error>> {
            let mut fields = ReplyFields::of(frame)?;
            let epoch = Epoch::new(&fields.text()?);
            let offset = entry::number(&fields.text()?)?;
            let mut events = Vec::new();
            while let Some(value) = fields.next_bytes() {
                events.push(Arc::new(entry::value(&value?)?));
            }
            Ok(Retained { room: room.clone(), epoch, offset, events })
        };
        read().map_err(|error| self.unexpected(&*error))
    }
}

fn read_history(frame: fred::interfaces::Resp3Frame) -> Result<History, Box<dyn std::error::Error>> {
    let mut fields = ReplyFields::of(frame)?;
    let epoch = Epoch::new(&fields.text()?);
    let mut number = || Ok::<_, Box<dyn std::error::Error>>(entry::number(&fields.text()?)?);
    let (after, offset, end) = (number()?, number()?, number()?);
    let complete = fields.text()? == "1";
    let mut events: Vec<Arc<Event>> = Vec::new();
    while let Some(id) = fields.next_bytes() {
        let (at, time) = entry::id_of(&text_of(id?)?)?;
        if at != after + events.len() as u64 + 1 {
            return Err(Box::new(ReplyError));
        }
        events.push(Arc::new(entry::decode(&fields.bytes()?, at, time)?));
    }
    Ok(History { epoch, after, offset, end, complete, events })
}

fn keeps(policy: &Policy) -> bool {
    policy.history_size > 0 && policy.history_bytes > 0 && !policy.history_age.is_zero()
}

/// A log's most events, 0 for no log, and their age.
fn log_bounds(policy: &Policy) -> (Value, Value) {
    (count(if keeps(policy) { policy.history_size } else { 0 }), millis(policy.history_age))
}

/// The letter that the names of retained values begin with: a policy may change what they are kept by.
fn retained_kind(policy: &Policy) -> Option<&'static str> {
    match policy.retain {
        _ if policy.retain_max == 0 => None,
        Retain::None => None,
        Retain::Room => Some("r"),
        Retain::Topic => Some("t"),
        Retain::Key => Some("k"),
    }
}

fn value_name(policy: &Policy, publication: &Publication) -> Option<String> {
    let letter = retained_kind(policy).filter(|_| policy.retains_topic(&publication.topic))?;
    match policy.retain {
        Retain::Topic => Some(format!("{letter}{}", publication.topic)),
        Retain::Key => publication.key.as_ref().map(|key| format!("{letter}{key}")),
        _ => Some(letter.to_owned()),
    }
}
