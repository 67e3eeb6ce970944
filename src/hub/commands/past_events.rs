//! Past events of a room, for a client that asks: of its log, and of its archive where the log has them no more.
//!
//! Always holds: the events of an answer follow each other in one epoch, so that each has a position by which a client goes on, in either
//! direction; what comes from the archive is never said to be all.

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

/// The most events of one answer out of an archive.
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
        let lacks = match &since {
            Some(since) => history.after != since.offset,
            None => history.events.is_empty(),
        };
        if let Some(archive) = self.archive_of(&room).filter(|_| lacks && limit > 0) {
            match of_archive(archive, &room, (since, before), limit).await {
                Ok(Some(reply)) => return reply,
                Err(error) if history.events.is_empty() => return refusal(&error.into()),
                Ok(None) | Err(_) => {}
            }
        }
        let History { epoch, after, offset, complete, events, .. } = history;
        Reply::History { room, epoch, after, offset, complete, events }
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

/// A part of an archive, in one epoch; `None`: it has nothing there.
async fn of_archive(
    archive: &Archive,
    room: &Room,
    (since, before): (Option<Since>, Option<Since>),
    limit: usize,
) -> Result<Option<Reply>, ArchiveError> {
    let (mut query, goes_on) =
        (PageQuery { before: None, after: None, limit: limit.min(MOST_ARCHIVED), user: None }, since.is_some());
    if let Some(Since { epoch, offset }) = since.or(before) {
        let Some(cursor) = archive.cursor_of(room, &Position::new(epoch, offset), goes_on).await? else {
            return Ok(None);
        };
        *(if goes_on { &mut query.after } else { &mut query.before }) = Some(cursor);
    }
    let messages = archive.page(room, &query).await?.messages;
    let beside = if goes_on { messages.first() } else { messages.last() };
    let Some(epoch) = beside.map(|message| message.position.epoch.clone()) else { return Ok(None) };
    // Those of one life follow each other.
    let events: Vec<_> = messages
        .into_iter()
        .filter(|message| message.position.epoch == epoch)
        .map(|message| Arc::new(event(message)))
        .collect();
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
    let (after, offset) = (first.offset.saturating_sub(1), last.offset);
    Ok(Some(Reply::History { room: room.clone(), epoch, after, offset, complete: false, events }))
}

/// A message as an event of the log.
fn event(message: ArchivedMessage) -> Event {
    let ArchivedMessage { position, time, topic, key, id, user, payload, status: _ } = message;
    // What was erased says nothing, as in the log.
    let payload = payload.unwrap_or_else(|| Payload::Json(RawValue::NULL.to_owned()));
    Event { offset: position.offset, time, room: None, topic, key, payload, user, id }
}
