//! Past events of a room, for a client that asks: of its log, and of its archive where the log has them no more.
//!
//! Always holds: the events of an answer follow each other in one epoch, so that each has a position by which a client goes on, in either
//! direction; what comes from the archive is never said to be all, and neither is a log before which the archive has more. A page that
//! the log fills is no question to the archive.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::{
    archive::{Archive, ArchiveError, ArchivedMessage, PageQuery},
    broker::{BrokerError, History, HistoryQuery},
    hub::{commands::refusal::refusal, worker::services::Services},
    model::{ArchiveMode, Event, Offset, Payload, Position, Reply, Room, Since},
};

/// The most bytes of one answer out of a log.
const HISTORY_BYTES: usize = 1024 * 1024;

/// The most events of an archive in one answer.
const MOST_ARCHIVED: usize = 200;

/// What answers with past events.
pub(crate) struct PastEvents<'a>(pub(crate) &'a Services);

impl PastEvents<'_> {
    /// The events behind a position, those before one, or the newest.
    pub(crate) async fn read(&self, room: Room, since: Option<Since>, before: Option<Since>, limit: usize) -> Reply {
        let history = match &before {
            None => self.of_log(&room, since.clone(), None, limit).await,
            Some(before) => self.before(&room, before, limit).await,
        };
        let history = match history {
            Ok(history) => history,
            Err(error) => return refusal(&error),
        };
        match self.with_archive(&room, history, (since, before), limit).await {
            Ok(History { epoch, after, offset, complete, events, .. }) => {
                Reply::History { room, epoch, after, offset, complete, events }
            }
            Err(error) => refusal(&error.into()),
        }
    }

    /// A part of a log, with what the archive has before it, or what that has in its place.
    async fn with_archive(
        &self,
        room: &Room,
        history: History,
        (since, before): (Option<Since>, Option<Since>),
        limit: usize,
    ) -> Result<History, ArchiveError> {
        let lacks = lacks(&history, since.as_ref(), before.is_some(), limit);
        let Some(archive) = self.archive_of(room).filter(|_| lacks) else { return Ok(history) };
        if since.is_none() && !history.events.is_empty() {
            if !archive.is_free() {
                return Ok(History { complete: false, ..history });
            }
            return Ok(match older(archive, room, &history, limit).await {
                Ok(Some(older)) => joined(history, older, limit),
                Ok(None) => history,
                // What it has is not known.
                Err(_) => History { complete: false, ..history },
            });
        }
        match of_archive(archive, room, (since, before), limit).await {
            Ok(Some(part)) => Ok(part),
            Err(error) if history.events.is_empty() => Err(error),
            Ok(None) | Err(_) => Ok(history),
        }
    }

    async fn of_log(
        &self,
        room: &Room,
        since: Option<Since>,
        until: Option<Offset>,
        limit: usize,
    ) -> Result<History, BrokerError> {
        let query = HistoryQuery { since, until, max_events: limit, max_bytes: HISTORY_BYTES };
        let mut history = self.0.broker.history(room, query).await?;
        // A log that rooms share has events of other rooms, too.
        history.events.retain(|event| event.is_of(room));
        Ok(history)
    }

    /// The newest events before a position; none where that is not of the log.
    async fn before(&self, room: &Room, before: &Since, limit: usize) -> Result<History, BrokerError> {
        let at = self.of_log(room, Some(before.clone()), Some(before.offset), 0).await?;
        let until = before.offset.saturating_sub(1);
        if at.complete && until > 0 {
            let history = self.of_log(room, None, Some(until), limit).await?;
            return Ok(History { complete: true, ..history });
        }
        Ok(History { after: until, offset: until, ..at })
    }

    /// The archive of a room that has one.
    fn archive_of(&self, room: &Room) -> Option<&Archive> {
        self.0.archive.as_deref().filter(|_| self.0.policy(room).archive != ArchiveMode::Off)
    }
}

/// Whether a part of a log may lack what is wanted: the archive is asked. `goes_back`: what is before a position is wanted.
fn lacks(history: &History, since: Option<&Since>, goes_back: bool, limit: usize) -> bool {
    let lacks = match since {
        // Where a log lives on under another name, and that is all, it says so.
        Some(since) => history.after != since.offset || (history.epoch != since.epoch && !history.complete),
        // A log that begins at its first event may have begun anew.
        None => {
            (history.complete && !goes_back) || (history.events.len() < limit.min(MOST_ARCHIVED) && !is_cut(history))
        }
    };
    lacks && limit > 0
}

/// Whether a part of a log may have been cut because of its bytes.
fn is_cut(history: &History) -> bool {
    let sizes = || history.events.iter().map(|event| event.payload.len());
    sizes().sum::<usize>() + sizes().max().unwrap_or(0) > HISTORY_BYTES
}

/// What an archive has before a part of a log; `None`: nothing. Of a log that it does not know, it says no more than that there is something.
async fn older(
    archive: &Archive,
    room: &Room,
    history: &History,
    limit: usize,
) -> Result<Option<History>, ArchiveError> {
    let first = Position::new(history.epoch.clone(), history.after + 1);
    let before = archive.cursor_of(room, &first, false).await?;
    let is_known = before.is_some();
    let most = limit.saturating_sub(history.events.len()).clamp(1, MOST_ARCHIVED);
    let messages = archive.page(room, &PageQuery { before, after: None, limit: most, user: None }).await?.messages;
    // What it has from there on is the log's own.
    let is_older = |at: &Position| is_known || at.epoch != first.epoch || at.offset < first.offset;
    Ok(part_of(messages, false).filter(|part| is_older(&Position::new(part.epoch.clone(), part.offset))))
}

/// The newest events of a log behind those that an archive has before them, as far as they follow each other.
fn joined(log: History, older: History, limit: usize) -> History {
    let mut all = History { complete: false, ..log };
    if older.epoch != all.epoch {
        return all;
    }
    let mut bytes: usize = all.events.iter().map(|event| event.payload.len()).sum();
    let free = limit.saturating_sub(all.events.len());
    let mut before: Vec<Arc<Event>> = Vec::new();
    for event in older.events.into_iter().rev().take(free) {
        bytes += event.payload.len();
        if event.offset != all.after || bytes > HISTORY_BYTES {
            break;
        }
        all.after -= 1;
        before.push(event);
    }
    before.reverse();
    before.append(&mut all.events);
    History { events: before, ..all }
}

/// A part of an archive, in one epoch; `None`: it has nothing there.
async fn of_archive(
    archive: &Archive,
    room: &Room,
    (since, before): (Option<Since>, Option<Since>),
    limit: usize,
) -> Result<Option<History>, ArchiveError> {
    let (mut query, goes_on) =
        (PageQuery { before: None, after: None, limit: limit.min(MOST_ARCHIVED), user: None }, since.is_some());
    if let Some(Since { epoch, offset }) = since.or(before) {
        let Some(cursor) = archive.cursor_of(room, &Position::new(epoch, offset), goes_on).await? else {
            return Ok(None);
        };
        *(if goes_on { &mut query.after } else { &mut query.before }) = Some(cursor);
    }
    Ok(part_of(archive.page(room, &query).await?.messages, goes_on))
}

/// Those of some messages that are of one epoch: the oldest's where a client `goes_on`, or else the newest's; `None`: there are none.
fn part_of(messages: Vec<ArchivedMessage>, goes_on: bool) -> Option<History> {
    let beside = if goes_on { messages.first() } else { messages.last() };
    let epoch = beside.map(|message| message.position.epoch.clone())?;
    // Those of one life follow each other.
    let events: Vec<_> = messages
        .into_iter()
        .filter(|message| message.position.epoch == epoch)
        .map(|message| Arc::new(event(message)))
        .collect();
    let (after, offset) = (events.first()?.offset.saturating_sub(1), events.last()?.offset);
    Some(History { epoch, after, offset, end: offset, complete: false, events })
}

/// A message as an event of the log.
fn event(message: ArchivedMessage) -> Event {
    let ArchivedMessage { position, time, topic, key, id, user, payload, status: _ } = message;
    // What was erased says nothing, as in the log.
    let payload = payload.unwrap_or_else(|| Payload::Json(RawValue::NULL.to_owned()));
    Event { offset: position.offset, time, room: None, topic, key, payload, user, id }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    /// Events behind an offset, each with so many bytes.
    fn part(epoch: &str, after: Offset, count: u64, bytes: usize) -> History {
        let said = Payload::Binary(vec![0; bytes].into());
        let event = |offset| {
            let (topic, payload) = ("t".into(), said.clone());
            Arc::new(Event { offset, time: 0, room: None, topic, key: None, payload, user: None, id: None })
        };
        let (end, events) = (after + count, (after + 1..=after + count).map(event).collect());
        History { epoch: Epoch::new(epoch), after, offset: end, end, complete: after == 0, events }
    }

    fn offsets(history: &History) -> Vec<Offset> {
        history.events.iter().map(|event| event.offset).collect()
    }

    #[test]
    fn the_archive_is_asked_only_where_the_log_may_lack_something() {
        let since = |epoch: &str, offset| Some(Since { epoch: Epoch::new(epoch), offset });
        let asked = |history: &History, since: Option<Since>, limit| lacks(history, since.as_ref(), false, limit);
        assert!(!asked(&part("e", 80, 20, 1), None, 20), "a full page");
        assert!(asked(&part("e", 80, 20, 1), None, 30), "a short one");
        assert!(!asked(&part("e", 800, 200, 1), None, 1_000), "as many as the archive gives");
        assert!(asked(&part("e", 0, 300, 1), None, 1_000), "a log that begins at 1 may have begun anew");
        assert!(!asked(&part("e", 0, 1, 1), None, 0), "of no events there is nothing to lack");
        assert!(
            !lacks(&part("e", 0, 20, 1), None, true, 20) && lacks(&part("e", 0, 19, 1), None, true, 20),
            "backwards"
        );
        assert!(!asked(&part("e", 80, 10, HISTORY_BYTES / 10), None, 30), "as many bytes as a log gives");
        let cut = |epoch: &str, after| History { complete: false, ..part(epoch, after, 5, 1) };
        assert!(!asked(&cut("e", 3), since("e", 3), 5) && asked(&cut("e", 4), since("e", 3), 5));
        assert!(asked(&cut("e", 0), since("old", 0), 5), "its events are other ones");
        let whole = History { complete: true, ..part("e.2", 3, 5, 1) };
        assert!(!asked(&whole, since("e.1", 3), 50), "a log that lives on under another name");
    }

    #[test]
    fn what_the_archive_has_before_the_log_comes_before_it() {
        let log = || part("e", 10, 5, 1);
        let all = joined(log(), part("e", 4, 6, 1), 30);
        assert_eq!((all.after, all.offset, all.complete, offsets(&all)), (4, 15, false, (5..=15).collect()));
        let cut = joined(log(), part("e", 4, 6, 1), 7);
        assert_eq!((cut.after, offsets(&cut)), (8, (9..=15).collect()));
        let hole = joined(log(), part("e", 4, 5, 1), 30);
        assert_eq!((hole.after, offsets(&hole)), (10, (11..=15).collect()), "10 may still come");
        let lost = joined(part("e", 0, 1, 1), part("old", 0, 5, 1), 30);
        assert_eq!((lost.after, lost.complete, offsets(&lost)), (0, false, vec![1]), "an answer has one epoch");
        let large = joined(part("e", 10, 5, HISTORY_BYTES / 10), part("e", 0, 10, HISTORY_BYTES / 10), 30);
        assert_eq!(offsets(&large), (6..=15).collect::<Vec<_>>());
    }
}
