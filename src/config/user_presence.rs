//! `[user_presence]`: whether users are online, over all their devices.

use std::time::Duration;

use super::{
    policies::Policies,
    section::section,
    tokens::{PersonalRoom, PersonalRoomKind},
    value::{Count, Maybe, Time},
};
use crate::model::{Access, PresenceMode, Retain, among};

section! {
    /// Whether users are online, away, busy or offline, over all their devices and pods. Off until `room` is set.
    pub struct UserPresenceSettings in "user_presence" {
        /// The room in which a user's followers are told, with `{user}` for its name. Policies decide which clients may join such a room.
        room: Option<PersonalRoom> = None, Maybe(PersonalRoomKind), restart, unset("none: users have no presence", "\"presence:{user}\"");
        /// How long a user whose last connection ended is shown as before. One that comes back in time is not announced.
        offline_after: Duration = Duration::from_secs(10), Time(Duration::ZERO..=Duration::from_secs(600)), restart;
        /// How many announcements a second this pod makes at most, of all its users. More wait, and only the newest of each user is made.
        announcements_per_second: u32 = 500, Count(1..=100_000), restart;
        /// How many times at once a user may change its status, over all its devices on a pod; for long, once a second.
        change_burst: u32 = 10, Count(1..=1_000), restart;
        /// How long the status that a user chose, and when it was seen, are kept after it was here last.
        keep: Duration = Duration::from_secs(30 * 86_400), Time(Duration::from_secs(3600)..=Duration::from_secs(365 * 86_400)), restart;
    }
}

impl UserPresenceSettings {
    /// What is allowed, but probably not meant.
    pub(super) fn warnings(&self, policies: &Policies) -> Vec<String> {
        let Some(room) = self.room.as_ref().and_then(|template| template.of("ann")) else { return Vec::new() };
        let policy = policies.of(&room);
        let mut warnings = Vec::new();
        let mut warn = |wrong: bool, why: &str| {
            if wrong {
                warnings.push(format!("`user_presence.room` is set, but {why}: the policy of {room}, for example"));
            }
        };
        warn(policy.publish != Access::Nobody, "clients may publish there, and so say that others are online");
        warn(policy.presence != PresenceMode::Off, "followers are listed there: set `presence = \"off\"`");
        warn(policy.retain == Retain::None, "a follower hears nothing before the next change: set `retain = \"room\"`");
        warn(
            !among(&policy.topics, "presence"),
            "`topics` does not name `presence`, so that nothing can be told there",
        );
        warnings
    }
}
