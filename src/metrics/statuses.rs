//! What becomes of the presence of users.

use metrics::{Counter, Gauge, counter, gauge};

use crate::model::UserStatus;

/// The presence of users, as one pod keeps it.
#[derive(Debug, Clone)]
pub struct StatusMetrics {
    /// Announcements, by what they say.
    announced: [Counter; 4],
    /// Users that came back before they counted as gone.
    pub returned: Counter,
    /// Changes of a status above a user's rate.
    pub limited: Counter,
    /// Announcements that the room did not take.
    pub refused: Counter,
    /// Looks at a record that the broker did not answer; each is tried again.
    pub failed: Counter,
    /// The users of this pod.
    pub users: Gauge,
    /// The records that wait to be looked at or told.
    pub waiting: Gauge,
}

impl StatusMetrics {
    /// The counter of announcements of a status.
    pub fn announced(&self, status: UserStatus) -> &Counter {
        &self.announced[status as usize]
    }
}

impl Default for StatusMetrics {
    fn default() -> Self {
        let outcome = |outcome: &'static str| counter!("roomcast_user_presence_total", "outcome" => outcome);
        Self {
            announced: UserStatus::ALL
                .map(|status| counter!("roomcast_user_presence_announced_total", "status" => status.as_str())),
            returned: outcome("returned"),
            limited: outcome("limited"),
            refused: outcome("refused"),
            failed: outcome("failed"),
            users: gauge!("roomcast_user_presence_users"),
            waiting: gauge!("roomcast_user_presence_waiting"),
        }
    }
}
