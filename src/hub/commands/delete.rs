//! Deleting an event: of a backend, and of its author's client.
//!
//! Always holds: what the event says is out of the log before any client is told; what tells of it is one event of the same log, so that
//! every member is told, or comes back to it. To repeat it is harmless, and mends what a pod that died has left.

use std::sync::Arc;

use crate::{
    archive::ArchivedEvent,
    broker::{BrokerError, HistoryQuery},
    hub::{
        access::permit::Principal,
        commands::{refusal::refusal, take_out::take_out},
        connection::key::ConnectionKey,
        core::Core,
        users::authors::UserEvents,
        worker::services::Services,
    },
    model::{ArchiveMode, CommandId, Deletion, Epoch, ErrorCode, Event, Offset, Position, Reply, Retain, Room, Since},
};

/// Why an event is not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// Neither the log, the retained values nor an archive have it, or not any more.
    #[error("the log of {0} has no event {1} of this epoch, or not any more")]
    Absent(Room, Offset),
    /// Another user published it.
    #[error("this is not an event of this user: only its author deletes it")]
    NotAuthor,
    /// The backend says no, or nothing.
    #[error("{1}")]
    Refused(ErrorCode, String),
    /// The broker did not do it, or not all of it: it is to be repeated.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// The event that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventAt {
    /// Its room.
    pub room: Room,
    /// The epoch of its offset; `None`: the log's own.
    pub epoch: Option<Epoch>,
    /// Its offset.
    pub offset: Offset,
}

/// Deletes an event for a connection; what it sends behind that waits, so that one at a time is under way.
pub(crate) fn delete(core: &mut Core, key: ConnectionKey, id: Option<CommandId>, event: EventAt) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let (name, principal) = (connection.session.id, connection.principal(&services));
    connection.pause_input();
    tokio::task::spawn_local(async move {
        let reply = EventDeletion(&services).for_client(&principal, event).await;
        doorway.enter(|core| {
            core.clients.reply_to(key, name, &reply, id.as_ref());
            if core.clients.connections.is(key, name) {
                core.clients.resume_input(key);
            }
        });
    });
}

/// What is said of a failure behind the deletion itself. To an edge its home may say that it knows no good token of the author, too.
fn half_done(error: BrokerError) -> BrokerError {
    match error {
        BrokerError::Unavailable(_) | BrokerError::NoToken(_) => BrokerError::Unknown,
        other => other,
    }
}

/// What deletes events.
pub struct EventDeletion<'a>(pub &'a Services);

impl EventDeletion<'_> {
    /// Deletes an event of a client's user.
    pub(crate) async fn for_client(&self, principal: &Principal, event: EventAt) -> Reply {
        let room = event.room.clone();
        let refuse = |code, message: String| Reply::Error { code, message, room: Some(room.clone()) };
        match self.delete(event, Some(principal)).await {
            Ok(_) => Reply::Done { expires_at: None },
            Err(DeleteError::Broker(error)) => refusal(&error),
            Err(DeleteError::Refused(code, message)) => refuse(code, message),
            Err(error @ DeleteError::Absent(..)) => refuse(ErrorCode::BadPosition, error.to_string()),
            Err(error @ DeleteError::NotAuthor) => refuse(ErrorCode::Forbidden, error.to_string()),
        }
    }

    /// Deletes an event, and has the members of its room told. `by`: the client that wants it, which must be of the event's author;
    /// `None`: the backend. Where it is told.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub async fn delete(&self, event: EventAt, by: Option<&Principal>) -> Result<Position, DeleteError> {
        let EventAt { room, epoch, offset } = event;
        let found = self.event_at(&room, epoch, offset).await?;
        let user = by.and_then(|principal| principal.grant.user());
        // The author of one that is deleted already is not known any more, and there is nothing left to be done but telling of it.
        let is_author = found.user.is_some() && found.user.as_deref() == user.map(|user| &**user);
        if by.is_some() && !is_author && !found.is_tombstone {
            return Err(DeleteError::NotAuthor);
        }
        if let Some(principal) = by.filter(|_| !is_author)
            && !principal.grant.may_publish(&room, self.0.policy(&room).publish)
        {
            // A client that may only read does not tell of it again.
            return Ok(found.at);
        }
        let is_of_log = found.is_of_log;
        let deletion = Deletion { at: found.at, id: found.id, leaves: None };
        let notice = deletion.notice(user.filter(|_| is_author).map(|user| &**user), is_of_log);
        if let Some(principal) = by {
            // As it decides about what is published; it changes nothing of this.
            self.0
                .to_publish(Some(principal), &room, notice.clone())
                .await
                .map_err(|(code, message)| DeleteError::Refused(code, message))?;
        }
        match take_out(self.0, &room, &deletion).await {
            Ok(true) => {}
            Ok(false) => return Err(DeleteError::Absent(room, offset)),
            // If the log's part is done, members are told of it; the rest is for when it is repeated.
            Err(BrokerError::Unknown) => {
                let found = self.event_at(&room, Some(deletion.at.epoch), offset).await;
                if found.is_ok_and(|found| found.is_tombstone) {
                    let told = UserEvents(self.0).publish(&room, notice).await;
                    told.map_or_else(
                        |error| tracing::debug!(%room, %error, "a deleted event is told of later"),
                        |_| (),
                    );
                }
                return Err(BrokerError::Unknown.into());
            }
            Err(error) => return Err(error.into()),
        }
        // It is deleted: "nothing was done" would be untrue. Its author is noted, for the id that is in there.
        let told = UserEvents(self.0).publish(&room, notice).await.map_err(half_done)?;
        self.0.metrics.events_deleted.increment(1);
        Ok(told)
    }

    /// An event of a room's log, its retained values or its archive.
    async fn event_at(&self, room: &Room, epoch: Option<Epoch>, offset: Offset) -> Result<ArchivedEvent, DeleteError> {
        let absent = || DeleteError::Absent(room.clone(), offset);
        let before = offset.checked_sub(1).ok_or_else(absent)?;
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => {
                let query = HistoryQuery { since: None, until: None, max_events: 0, max_bytes: 0 };
                self.0.broker.history(room, query).await?.epoch
            }
        };
        let since = Some(Since { epoch: epoch.clone(), offset: before });
        let query = HistoryQuery { since, until: Some(offset), max_events: 1, max_bytes: usize::MAX };
        let history = self.0.broker.history(room, query).await?;
        // Only an exact continuation says that the event of that epoch is this log's own.
        let found = history.events.into_iter().next().filter(|event| event.offset == offset && history.complete);
        let found = match found {
            Some(event) => Some(event),
            None => self.value_at(room, &epoch, offset).await?,
        };
        let at = Position::new(epoch, offset);
        let Some(found) = found else { return self.archived(room, &at).await?.ok_or_else(absent) };
        let is_tombstone = found.is_tombstone();
        if found.is_deletion() && !is_tombstone {
            return Err(absent());
        }
        let (id, user) = (found.id.clone(), found.user.clone());
        Ok(ArchivedEvent { at, id, user, is_tombstone, is_of_log: true })
    }

    /// An event that the log does not have any more.
    async fn archived(&self, room: &Room, at: &Position) -> Result<Option<ArchivedEvent>, BrokerError> {
        match &self.0.archive {
            Some(archive) if self.0.policy(room).archive != ArchiveMode::Off => Ok(archive.event(room, at).await?),
            _ => Ok(None),
        }
    }

    /// A retained value that has outlasted its event.
    async fn value_at(&self, room: &Room, epoch: &Epoch, offset: Offset) -> Result<Option<Arc<Event>>, BrokerError> {
        if self.0.policy(room).retain == Retain::None {
            return Ok(None);
        }
        let retained = self.0.broker.retained(room).await?;
        let value = retained.events.into_iter().find(|event| event.offset == offset);
        Ok(value.filter(|_| retained.epoch == *epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_behind_a_deletion_does_not_say_that_nothing_was_done() {
        for error in
            [BrokerError::Unavailable("full".to_owned()), BrokerError::NoToken("ann".into()), BrokerError::Unknown]
        {
            assert_eq!(half_done(error), BrokerError::Unknown);
        }
        assert_eq!(half_done(BrokerError::Conflict), BrokerError::Conflict, "it was told of already");
    }
}
