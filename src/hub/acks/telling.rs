//! Tells authors what others have read of theirs.
//!
//! Always holds: a room's log is read once for all that have read there since it was read last; what one author is told at a time is
//! bounded, and so is what is held of logs meanwhile; what was told is marked so beside what is kept, and what the broker did not take is not,
//! so that it is told later.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::pin,
    sync::Arc,
};

use futures_util::{StreamExt, stream};

use crate::{
    broker::{BrokerError, HistoryQuery},
    hub::{
        acks::receipts::{Authored, ReadSpan, receipts},
        worker::services::Services,
    },
    model::{Ack, ArchiveMode, Epoch, Event, Notice, Offset, Progress, Receipt, Room, Since},
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

    /// Tells authors of what was read.
    async fn tell(&self, spans: Vec<ReadSpan>) {
        let (mut settled, mut by_room) = (Vec::new(), HashMap::<Room, Vec<ReadSpan>>::new());
        for span in spans {
            if span.is_empty() {
                settled.push(span);
            } else {
                by_room.entry(span.room.clone()).or_default().push(span);
            }
        }
        let read = stream::iter(by_room).map(async |(room, spans)| {
            let receipts = self.receipts_of(&room, spans.clone()).await;
            (spans, receipts)
        });
        let mut read = pin!(read.buffer_unordered(READS_AT_ONCE));
        let (mut told, mut gathered) = (BTreeMap::<Box<str>, Vec<Receipt>>::new(), 0);
        let mut untold = HashSet::new();
        while let Some((mut spans, receipts)) = read.next().await {
            // What is not known of its log is told later.
            let Ok(of_room) = receipts else { continue };
            settled.append(&mut spans);
            for (author, mut receipts) in of_room {
                gathered += receipts.len();
                told.entry(author).or_default().append(&mut receipts);
            }
            if gathered >= MOST_GATHERED {
                gathered = 0;
                untold.extend(self.send_receipts(std::mem::take(&mut told)).await);
            }
        }
        untold.extend(self.send_receipts(told).await);
        settled.retain(|span| !untold.contains(&(Arc::clone(&span.user), span.room.clone())));
        self.mark_told(settled).await;
    }

    /// Has it stand beside what is kept that authors were told. What is lost of it is told once more.
    async fn mark_told(&self, spans: Vec<ReadSpan>) {
        let told: Vec<Ack> = spans.into_iter().filter_map(ReadSpan::into_told_ack).collect();
        if !told.is_empty() {
            let _ = self.0.acks.store.keep(&told, self.0.ack_bounds()).await;
        }
    }

    /// What authors are told of a room.
    async fn receipts_of(
        &self,
        room: &Room,
        mut spans: Vec<ReadSpan>,
    ) -> Result<BTreeMap<Box<str>, Vec<Receipt>>, BrokerError> {
        self.judge(room, &mut spans).await;
        let Some(epoch) = spans.last().map(|span| span.upto.epoch.clone()) else { return Ok(BTreeMap::new()) };
        // Those before it are of a log that is over.
        spans.retain(|span| span.upto.epoch == epoch);
        let after = spans.iter().map(|span| span.after).min().unwrap_or(0);
        let upto = spans.iter().map(|span| span.upto.offset).max().unwrap_or(0);
        let events = self.authored(room, &epoch, after, upto).await?;
        Ok(receipts(&spans, &events, MOST_OF_A_ROOM))
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
    async fn authored(
        &self,
        room: &Room,
        epoch: &Epoch,
        after: Offset,
        upto: Offset,
    ) -> Result<Vec<Authored>, BrokerError> {
        let mut at = after.max(upto.saturating_sub(MOST_EVENTS as u64));
        let mut events = Vec::new();
        while at < upto {
            let since = Some(Since { epoch: epoch.clone(), offset: at });
            let query = HistoryQuery { since, until: Some(upto), max_events: MOST_EVENTS, max_bytes: MOST_BYTES };
            let history = self.0.broker.history(room, query).await?;
            // It is another log by now, or has no more.
            if history.epoch != *epoch || history.offset <= at {
                break;
            }
            at = history.offset;
            let of = |event: &Event| Some(Authored { offset: event.offset, author: event.user.clone()? });
            events.extend(history.events.iter().filter_map(|event| of(event)));
        }
        Ok(events)
    }

    /// Tells authors. The readers, by room, of which one was not told.
    async fn send_receipts(&self, told: BTreeMap<Box<str>, Vec<Receipt>>) -> Vec<(Arc<str>, Room)> {
        let template = self.0.config.load().tokens.personal_room.clone();
        let mut in_rooms = Vec::with_capacity(told.len());
        for (author, receipts) in told {
            match template.as_ref().and_then(|template| template.of(&author)) {
                Some(personal) => in_rooms.push((personal, receipts)),
                None => self.archive_delivered(&receipts),
            }
        }
        let messages = stream::iter(in_rooms).map(async |(personal, mut receipts)| {
            let metrics = &self.0.metrics.acks;
            metrics.untold.increment(receipts.len().saturating_sub(OF_AN_AUTHOR) as u64);
            receipts.truncate(OF_AN_AUTHOR);
            let mut untold = Vec::new();
            for some in receipts.chunks(A_MESSAGE) {
                match self.0.broker.notify(&personal, Notice::Receipts(some.to_vec())).await {
                    Ok(()) => metrics.told.increment(some.len() as u64),
                    // A home refuses those of users whose tokens it was not shown, and takes the others.
                    Err(BrokerError::NoToken(_)) => metrics.untold.increment(some.len() as u64),
                    Err(_) => untold.extend(some.iter().cloned()),
                }
            }
            untold
        });
        let untold: Vec<Receipt> =
            messages.buffer_unordered(MESSAGES_AT_ONCE).map(stream::iter).flatten().collect().await;
        let (read, got): (Vec<_>, Vec<_>) = untold.into_iter().partition(|receipt| receipt.progress == Progress::Read);
        let metrics = &self.0.metrics.acks;
        metrics.later.increment(read.len() as u64);
        metrics.untold.increment(got.len() as u64);
        read.into_iter().map(|receipt| (receipt.user, receipt.room)).collect()
    }
    /// Has the archive know what devices have got, of which their authors are told in no room: they read it there.
    fn archive_delivered(&self, receipts: &[Receipt]) {
        let is_archived = |receipt: &&Receipt| self.0.policy(&receipt.room).archive != ArchiveMode::Off;
        if let Some(archive) = &self.0.archive {
            archive.note_delivered(receipts.iter().filter(is_archived));
        }
    }
}
