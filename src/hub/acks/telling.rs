//! Tells authors what others have read of theirs.
//!
//! Always holds: a room's log is read once for all that have read there since it was read last; what one author is told at a time is
//! bounded, and so is what is held of logs meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
};

use futures_util::{StreamExt, stream};

use crate::{
    broker::HistoryQuery,
    hub::{
        acks::receipts::{Authored, ReadSpan, receipts},
        worker::services::Services,
    },
    model::{Epoch, Event, Notice, Offset, Progress, Receipt, Room, Since},
};

/// How many logs are read at once.
const READS_AT_ONCE: usize = 16;

/// The most events of a room that are looked at, the newest, and the bytes of one read of them.
const MOST_EVENTS: usize = 256;
const MOST_BYTES: usize = 1 << 20;

/// The most receipts of one room, and of all that are gathered before they are told.
const MOST_OF_A_ROOM: usize = 10_000;
const MOST_GATHERED: usize = 20_000;

/// The most receipts of one message, and of one author at a time.
const A_MESSAGE: usize = 100;
const OF_AN_AUTHOR: usize = 1_000;

/// How many messages are on their way to the broker at once.
const MESSAGES_AT_ONCE: usize = 64;

/// What tells authors.
pub struct AuthorTeller<'a>(pub &'a Services);

impl AuthorTeller<'_> {
    /// Tells authors of what is read, until the pod ends.
    pub async fn run(&self) {
        while let Some(spans) = self.0.acks.untold.next().await {
            self.tell(spans).await;
        }
    }

    /// Tells authors of what was read. What is lost is made good by the next.
    async fn tell(&self, spans: Vec<ReadSpan>) {
        let mut by_room: HashMap<Room, Vec<ReadSpan>> = HashMap::new();
        for span in spans {
            by_room.entry(span.room.clone()).or_default().push(span);
        }
        let read = stream::iter(by_room).map(async |(room, spans)| self.receipts_of(&room, spans).await);
        let mut read = pin!(read.buffer_unordered(READS_AT_ONCE));
        let (mut told, mut gathered) = (BTreeMap::<Box<str>, Vec<Receipt>>::new(), 0);
        while let Some(of_room) = read.next().await {
            for (author, mut receipts) in of_room {
                gathered += receipts.len();
                told.entry(author).or_default().append(&mut receipts);
            }
            if gathered >= MOST_GATHERED {
                gathered = 0;
                self.send_receipts(std::mem::take(&mut told)).await;
            }
        }
        self.send_receipts(told).await;
    }

    /// What authors are told of a room.
    async fn receipts_of(&self, room: &Room, mut spans: Vec<ReadSpan>) -> BTreeMap<Box<str>, Vec<Receipt>> {
        self.judge(room, &mut spans).await;
        let Some(epoch) = spans.last().map(|span| span.upto.epoch.clone()) else { return BTreeMap::new() };
        // Those before it are of a log that is over.
        spans.retain(|span| span.upto.epoch == epoch);
        let after = spans.iter().map(|span| span.after).min().unwrap_or(0);
        let upto = spans.iter().map(|span| span.upto.offset).max().unwrap_or(0);
        let events = self.authored(room, &epoch, after, upto).await;
        receipts(&spans, &events, MOST_OF_A_ROOM)
    }

    /// Cuts what devices say that they have got to what the log has. What was read was judged before it came here.
    async fn judge(&self, room: &Room, spans: &mut Vec<ReadSpan>) {
        if spans.iter().all(|span| span.progress == Progress::Read) {
            return;
        }
        let query = HistoryQuery { since: None, until: None, max_events: 0, max_bytes: 0 };
        let log = self.0.broker.history(room, query).await.ok();
        spans.retain_mut(|ReadSpan { progress, upto, .. }| {
            if *progress == Progress::Read {
                return true;
            }
            let Some(log) = log.as_ref().filter(|log| log.epoch == upto.epoch) else { return false };
            upto.offset = upto.offset.min(log.end);
            true
        });
    }

    /// The events of authors in a part of a room's log, as far as the log has them.
    async fn authored(&self, room: &Room, epoch: &Epoch, after: Offset, upto: Offset) -> Vec<Authored> {
        let mut at = after.max(upto.saturating_sub(MOST_EVENTS as u64));
        let mut events = Vec::new();
        while at < upto {
            let since = Some(Since { epoch: epoch.clone(), offset: at });
            let query = HistoryQuery { since, until: Some(upto), max_events: MOST_EVENTS, max_bytes: MOST_BYTES };
            let Ok(history) = self.0.broker.history(room, query).await else { break };
            // It is another log by now, or has no more.
            if history.epoch != *epoch || history.offset <= at {
                break;
            }
            at = history.offset;
            let of = |event: &Event| Some(Authored { offset: event.offset, author: event.user.clone()? });
            events.extend(history.events.iter().filter_map(|event| of(event)));
        }
        events
    }

    async fn send_receipts(&self, told: BTreeMap<Box<str>, Vec<Receipt>>) {
        let Some(template) = self.0.config.load().tokens.personal_room.clone() else { return };
        let told = told.into_iter().filter_map(|(author, receipts)| Some((template.of(&author)?, receipts)));
        let messages = stream::iter(told).map(async |(personal, mut receipts)| {
            let metrics = &self.0.metrics.acks;
            metrics.untold.increment(receipts.len().saturating_sub(OF_AN_AUTHOR) as u64);
            receipts.truncate(OF_AN_AUTHOR);
            for some in receipts.chunks(A_MESSAGE) {
                match self.0.broker.notify(&personal, Notice::Receipts(some.to_vec())).await {
                    Ok(()) => metrics.told.increment(some.len() as u64),
                    Err(_) => metrics.untold.increment(some.len() as u64),
                }
            }
        });
        messages.buffer_unordered(MESSAGES_AT_ONCE).for_each(|()| std::future::ready(())).await;
    }
}
