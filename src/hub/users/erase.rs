//! Erases a user: what is kept under its name, on all pods and by the broker.
//!
//! Always holds: its followers are told first that it is offline, without the time at which it was seen; then its connections end on
//! every pod, and what pods still hold of it goes; then what the broker keeps. To repeat it is harmless.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    broker::{BrokerError, FleetQuestion},
    hub::{
        users::{authors::UserEvents, presence::StatusError},
        worker::{
            call::CallError,
            fleet::{ANSWER_WITHIN, FleetError, Ordered, done_on_all},
            services::Services,
        },
    },
    model::{Act, Order, Room, Target},
};

/// How long followers, and what is on its way to the broker, are waited for.
const MOST_WAIT: Duration = Duration::from_millis(800);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a user was not erased, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// Its followers are not told yet that it is offline.
    #[error("the followers of this user are not told yet: its announcements wait for their turn; erase it again")]
    Untold,
    /// A room of its own shares the log of others.
    #[error(
        "the room {0} of this user shares a log with others, so that its events cannot be deleted: give its policy no `log`"
    )]
    SharedLog(Room),
    /// Pods could not do it.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The broker did not do it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// What erases users.
pub struct UserErasure<'a>(pub &'a Services);

impl UserErasure<'_> {
    /// Erases a user.
    ///
    /// # Errors
    /// [`ErasureError`]: some of it may be erased.
    pub async fn erase(&self, user: &str) -> Result<Ordered, ErasureError> {
        let services = self.0;
        let own = self.own_rooms(user);
        if let Some(room) = own.iter().find(|room| services.policy(room).log_of(room).is_some()) {
            return Err(ErasureError::SharedLog(room.clone()));
        }
        self.hide(user).await?;
        let here = self.erase_here(user).await.map_err(FleetError::from)?;
        let answers = services.control.ask_others(&FleetQuestion::Erase(user.into()), ANSWER_WITHIN).await?;
        let began = std::time::Instant::now();
        for room in services.erasure.forget_user(user, &own).await? {
            UserEvents(services).erase(user, &room, began).await?;
        }
        services.erasure.forget_beyond(user).await?;
        Ok(done_on_all(here, answers))
    }

    /// The rooms that are about a user alone.
    fn own_rooms(&self, user: &str) -> Vec<Room> {
        let presence_room = self.0.user_presence.as_ref().and_then(|presence| presence.room_of(user));
        let personal = self.0.config.load().tokens.personal_room.as_ref().and_then(|room| room.of(user));
        personal.into_iter().chain(presence_room).collect()
    }

    /// Has a user be offline for its followers.
    async fn hide(&self, user: &str) -> Result<(), ErasureError> {
        let Some(presence) = &self.0.user_presence else { return Ok(()) };
        let began = Instant::now();
        loop {
            match presence.hide(user).await {
                Ok(true) | Err(StatusError::Name) => return Ok(()),
                Ok(false) if began.elapsed() < MOST_WAIT => tokio::time::sleep(LOOK_EVERY).await,
                Ok(false) | Err(StatusError::TooOften) => return Err(ErasureError::Untold),
                Err(StatusError::Broker(error)) => return Err(error.into()),
            }
        }
    }

    /// Ends a user's connections on this pod, and has what it holds of the user go. How many connections there were.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn erase_here(&self, user: &str) -> Result<Option<usize>, CallError> {
        let services = self.0;
        let connections = services.queues.obey(Order { target: Target::User(user.into()), act: Act::Erase }).await?;
        if let Some(presence) = &services.user_presence {
            presence.dismiss(user);
        }
        if let Some(absent) = &services.absent {
            absent.forget(user);
        }
        // A round that is under way writes what it has taken, or puts it back where that failed. So it is with the record of a session
        // whose connection was closing already, and with an event that was on its way.
        let (own, began) = (self.own_rooms(user), Instant::now());
        loop {
            services.acks.book().forget(user);
            services.acks.delivered.forget(user);
            let is_told = services.acks.untold.forget(user);
            services.author_notes.forget(user, &own);
            let is_leaving = !services.acks.of(user).is_empty();
            // Behind the acks, from which they come.
            let is_archived = services.archive.as_ref().is_some_and(|archive| archive.forget_reads(user));
            let is_written = services.user_writes.make_void(user) || is_archived || is_told;
            if !is_leaving && !is_written {
                break;
            }
            if began.elapsed() > MOST_WAIT {
                return Err(CallError);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(connections)
    }
}
