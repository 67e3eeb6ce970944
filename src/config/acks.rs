//! Keys of what users have read.

use std::time::Duration;

use super::{
    section::section,
    value::{Count, Time},
};

const DAY: u64 = 86_400;

section! {
    /// How far users have read, in rooms whose policy keeps it (`acks`).
    pub struct AckSettings in "acks" {
        /// The most rooms of one user. Beyond them those go in which the user has read nothing for longest.
        rooms: usize = 500, Count(1..=1_000), live;
        /// How long it is kept how far a user has read in a room, from the last time that the user read there.
        age: Duration = Duration::from_secs(90 * DAY),
            Time(Duration::from_secs(1)..=Duration::from_secs(366 * DAY)), live;
        /// The shortest time between two writes. What the users of a pod read meanwhile is written together, and a pod that dies loses it.
        every: Duration = Duration::from_secs(1), Time(Duration::from_millis(10)..=Duration::from_secs(60)), live;
    }
}
