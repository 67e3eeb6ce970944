//! What a pod knows of its users, and what is asked and changed of any user.
//!
//! Decides nothing: the record and the registry do. Always holds: a record is replaced only if it is still the one that was read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use super::{
    attempts::Attempts,
    changed_hiding::ChangedHiding,
    pod_watch::PodWatch,
    record::UserRecord,
    registry::{RegistrySettings, UserRegistry},
};
use crate::{
    broker::{Broker, BrokerError, Control, StoredUser, UserRecords, UserWrite},
    config::{PersonalRoom, UserPresenceSettings},
    hub::worker::clock::{millis, unix_millis},
    metrics::{RareWarning, StatusMetrics},
    model::{Room, StatusChange, UserState},
};

/// How many records are read or written at once.
pub(super) const AT_ONCE: usize = 64;

/// Why a user's status was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// It was changed too often.
    #[error("the status of this user was changed too often: once a second for long; try again")]
    TooOften,
    /// No room can have the user's name.
    #[error("the presence of this user cannot be followed: no room can have its name")]
    Name,
    /// The broker did not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// The presence of users, as a pod keeps it.
pub struct UserPresence {
    registry: Mutex<UserRegistry>,
    pub(super) activity: Notify,
    pub(super) settings: UserPresenceSettings,
    room: PersonalRoom,
    pub(super) pod: Box<str>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) records: Arc<dyn UserRecords>,
    pub(super) control: Arc<dyn Control>,
    pub(super) hiding: ChangedHiding,
    pub(super) metrics: StatusMetrics,
    unreadable: RareWarning,
    pub(super) refused: RareWarning,
    began: Instant,
}

impl UserPresence {
    /// Presence as the settings say it; `None`: users have none.
    #[must_use]
    pub fn new(
        settings: &UserPresenceSettings,
        control: Arc<dyn Control>,
        broker: Arc<dyn Broker>,
        records: Arc<dyn UserRecords>,
        metrics: StatusMetrics,
    ) -> Option<Self> {
        let registry = RegistrySettings {
            offline_after_ms: millis(settings.offline_after),
            announcements_per_second: settings.announcements_per_second,
            change_burst: settings.change_burst,
        };
        Some(Self {
            registry: Mutex::new(UserRegistry::new(registry, 0)),
            activity: Notify::new(),
            room: settings.room.clone()?,
            settings: settings.clone(),
            pod: control.pod().into(),
            broker,
            records,
            control,
            hiding: ChangedHiding::default(),
            metrics,
            unreadable: RareWarning::new(),
            refused: RareWarning::new(),
            began: Instant::now(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, UserRegistry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// The room in which a user's followers are told; `None`: none can have its name.
    pub(super) fn room_of(&self, user: &str) -> Option<Room> {
        self.room.of(user).filter(|_| !user.is_empty())
    }

    /// A connection of a user began.
    pub fn connected(&self, user: &Arc<str>) {
        if self.lock().connect(user, self.now_ms()) {
            self.metrics.returned.increment(1);
        }
        self.activity.notify_one();
    }

    /// A connection of a user ended.
    pub fn disconnected(&self, user: &str) {
        self.lock().disconnect(user, self.now_ms(), unix_millis());
        self.activity.notify_one();
    }

    /// Users hid or showed on another pod.
    pub fn changed_elsewhere(&self, users: &[Box<str>]) {
        let (mut registry, now) = (self.lock(), self.now_ms());
        users.iter().for_each(|user| registry.recheck_known(user, now));
        drop(registry);
        self.activity.notify_one();
    }

    /// Changes a user's status as its client wants.
    ///
    /// # Errors
    /// [`StatusError`].
    pub async fn change_by_client(&self, user: &str, change: StatusChange) -> Result<UserState, StatusError> {
        if !self.lock().may_change(user, self.now_ms()) {
            self.metrics.limited.increment(1);
            return Err(StatusError::TooOften);
        }
        self.change(user, change).await
    }

    /// Changes a user's status.
    ///
    /// # Errors
    /// [`StatusError`].
    pub async fn change(&self, user: &str, change: StatusChange) -> Result<UserState, StatusError> {
        let room = self.room_of(user).ok_or(StatusError::Name)?;
        let changed = self.change_record(user, &room, change).await;
        // A write whose answer was lost may have been carried out: then it is for this pod to tell what is owed.
        if !changed.as_ref().is_ok_and(|(record, tried)| !tried && !record.owes()) {
            self.lock().changed(user, self.now_ms());
            self.activity.notify_one();
            if change.hidden.is_some() {
                self.hiding.add(user);
            }
        }
        Ok(changed?.0.state())
    }

    /// Stores a change. The record, and whether it was tried to write it.
    async fn change_record(
        &self,
        user: &str,
        room: &Room,
        change: StatusChange,
    ) -> Result<(UserRecord, bool), BrokerError> {
        let mut attempts = Attempts::default();
        loop {
            let tried = attempts.begin()?;
            let StoredUser { now, record: stored } = self.records.read_user(room, None).await?;
            let record = self.read(room, stored.as_ref())?;
            let mut becomes = record.clone();
            becomes.change(change, now);
            if becomes == record {
                return Ok((becomes, tried));
            }
            // If this pod dies, another one tells what is owed.
            let looked_after = becomes.owes().then_some(true);
            if self.write(user, room, stored, &becomes, looked_after, None).await? {
                return Ok((becomes, true));
            }
        }
    }

    /// Has a user hide. Whether its followers were told by now.
    ///
    /// # Errors
    /// [`StatusError`].
    pub(super) async fn hide(&self, user: &str) -> Result<bool, StatusError> {
        let room = self.room_of(user).ok_or(StatusError::Name)?;
        let stored = self.records.read_user(&room, None).await?;
        let record = self.read(&room, stored.record.as_ref())?;
        if record.is_hidden() {
            return Ok(!record.owes());
        }
        self.change(user, StatusChange { chosen: None, hidden: Some(true) }).await?;
        Ok(false)
    }

    /// A user counts as gone from this pod, whatever connections it had.
    pub(super) fn dismiss(&self, user: &str) {
        self.lock().dismiss(&user.into(), self.now_ms());
        self.activity.notify_one();
    }

    /// What users are shown as, in the order of their names here. `None`: no room can have the name.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn states(&self, users: &[String]) -> Result<Vec<Option<UserState>>, BrokerError> {
        let read = |user: &String| {
            let room = self.room_of(user);
            async move {
                let Some(room) = room else { return Ok(None) };
                let stored = self.records.read_user(&room, None).await?;
                Ok(Some(self.read(&room, stored.record.as_ref())?.state()))
            }
        };
        let answers: Vec<_> = stream::iter(users).map(read).buffered(AT_ONCE).collect().await;
        answers.into_iter().collect()
    }

    pub(super) fn read(&self, room: &Room, stored: Option<&Bytes>) -> Result<UserRecord, BrokerError> {
        UserRecord::read(stored).map_err(|error| {
            if let Some(count) = self.unreadable.due(Instant::now()) {
                tracing::warn!(%room, %error, count, "records of users are unreadable: is there another version of roomcast?");
            }
            BrokerError::Unavailable("the record of this user is unreadable".to_owned())
        })
    }

    pub(super) async fn write(
        &self,
        user: &str,
        room: &Room,
        was: Option<Bytes>,
        record: &UserRecord,
        looked_after: Option<bool>,
        released_by: Option<&str>,
    ) -> Result<bool, BrokerError> {
        // What says nothing is not kept.
        let becomes = if record.is_unknown() { Bytes::new() } else { record.write() };
        let keep = self.settings.keep;
        self.records.write_user(room, UserWrite { user, was, becomes, keep, looked_after, released_by }).await
    }

    /// Does what is to be done, until the pod ends.
    pub async fn run(&self) {
        // Before it has its lease, other pods would take this one's users for a dead pod's.
        let mut watch = PodWatch::default();
        while self.look_for_pods(&mut watch).await.is_err() {
            tokio::time::sleep(Self::LOOK_EVERY).await;
        }
        tokio::join!(self.settle_all(), self.look_after_pods(watch), self.look_for_ghosts(), self.tell_of_hiding());
    }
}
