//! What the fleet knows of one user, and what is to be told of it.
//!
//! Pure: no I/O, no clock. Always holds: one announcement at a time is decided and not confirmed, and the next one is not decided
//! before; versions grow; of a user that hides nothing is stored but its choices.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::model::{StatusChange, UnixMillis, UserState, UserStatus};

/// What is told of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Announcement {
    pub(super) status: UserStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_seen: Option<UnixMillis>,
    /// Its number: the time at which it was decided, or one more than the one before.
    pub(super) version: u64,
}

/// What the fleet knows of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct UserRecord {
    /// The pods on which it is, or was a moment ago.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pods: BTreeSet<Box<str>>,
    #[serde(default)]
    chosen: UserStatus,
    #[serde(default)]
    hidden: bool,
    /// When it was there last, as others may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen: Option<UnixMillis>,
    /// What was told last; of a user of which nothing was, that it is offline.
    #[serde(default = "Announcement::untold")]
    told: Announcement,
    /// What was decided since. Whether it was told is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Announcement>,
}

impl Announcement {
    fn untold() -> Self {
        Self { status: UserStatus::Offline, last_seen: None, version: 0 }
    }
}

impl UserRecord {
    /// That of a user of which nothing is known.
    pub(super) fn new() -> Self {
        Self { told: Announcement::untold(), ..Self::default() }
    }

    /// Reads a stored record.
    pub(super) fn read(stored: Option<&Bytes>) -> Result<Self, serde_json::Error> {
        stored.map_or_else(|| Ok(Self::new()), |stored| serde_json::from_slice(stored))
    }

    /// As it is stored. The same record is always the same text.
    pub(super) fn write(&self) -> Bytes {
        // Only a map with keys that are no text cannot be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Whether it says nothing of its user.
    pub(super) fn is_unknown(&self) -> bool {
        *self == Self::new()
    }

    /// Whether it hides.
    pub(super) fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// It is on a pod.
    pub(super) fn arrive(&mut self, pod: &str) {
        if !self.hidden && !self.pods.contains(pod) {
            self.pods.insert(pod.into());
        }
    }

    /// It is not on a pod any more, and was seen there last at that time.
    pub(super) fn leave(&mut self, pod: &str, seen: UnixMillis) {
        let before = self.status();
        self.pods.remove(pod);
        self.note_end(before, seen);
    }

    /// Takes over what the user wants.
    pub(super) fn change(&mut self, change: StatusChange, now: UnixMillis) {
        let before = self.status();
        if let Some(chosen) = change.chosen {
            self.chosen = chosen;
            self.note_end(before, now);
        }
        if let Some(hidden) = change.hidden
            && hidden != self.hidden
        {
            self.hidden = hidden;
            self.pods.clear();
            self.last_seen = None;
        }
    }

    /// The time at which it was seen last, if others saw it until now.
    fn note_end(&mut self, before: UserStatus, seen: UnixMillis) {
        if before != UserStatus::Offline && self.status() == UserStatus::Offline {
            self.last_seen = Some(seen);
        }
    }

    /// What it is shown as.
    fn status(&self) -> UserStatus {
        if self.hidden || self.pods.is_empty() { UserStatus::Offline } else { self.chosen }
    }

    /// What the backend is told of it.
    pub(super) fn state(&self) -> UserState {
        let status = self.status();
        let last_seen = self.last_seen.filter(|_| status == UserStatus::Offline);
        UserState { status, last_seen, chosen: self.chosen, hidden: self.hidden }
    }

    /// Whether there is something to be told.
    pub(super) fn owes(&self) -> bool {
        let shows_more = self.hidden && self.told.last_seen.is_some();
        self.pending.is_some() || self.told.status != self.status() || shows_more
    }

    /// Decides what is to be told next: what was decided and may not have been told, or else what has changed.
    pub(super) fn decide(&mut self, now: UnixMillis) -> Option<Announcement> {
        if self.pending.is_none() && self.owes() {
            let UserState { status, last_seen, .. } = self.state();
            self.pending = Some(Announcement { status, last_seen, version: now.max(self.told.version + 1) });
        }
        self.pending
    }

    /// What was decided was told.
    pub(super) fn confirm(&mut self) {
        if let Some(told) = self.pending.take() {
            self.told = told;
        }
    }
}

#[cfg(test)]
mod tests;
