//! What the fleet keeps of users, and on which pods they are.

use std::time::Duration;

use bytes::Bytes;

use super::Answer;
use crate::model::{Room, UnixMillis};

/// A user's record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUser {
    /// The time of the store.
    pub now: UnixMillis,
    /// The record; `None`: there is none.
    pub record: Option<Bytes>,
}

/// A record that takes the place of another.
#[derive(Debug)]
pub struct UserWrite<'a> {
    /// The user.
    pub user: &'a str,
    /// What must be stored until now.
    pub was: Option<Bytes>,
    /// What is stored from now on; empty: nothing.
    pub becomes: Bytes,
    /// For how long.
    pub keep: Duration,
    /// Whether the user is among those that this pod looks after; `None`: as it was.
    pub looked_after: Option<bool>,
    /// The pod that does not look after it any more.
    pub released_by: Option<&'a str>,
}

/// A pod that looked after users and whose lease does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GonePod {
    /// Its name.
    pub pod: String,
    /// For how long the lease has not run (ms); `None`: it gave the lease up, or that was long ago.
    pub for_ms: Option<u64>,
    /// How long ago it said that it looks after users (ms).
    pub looked_ms: u64,
}

/// How often a pod's lease had run out, and how long it may take until all pods know that it is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseLapses {
    /// How often.
    pub count: u64,
    /// How long a lease is.
    pub lease: Duration,
}

/// Records of users. A record lies where the log of the room lies in which it is told: the room names it.
pub trait UserRecords: Send + Sync {
    /// Reads a record. `renew`: its user is here, so that it is kept for so long from now on, if half of the time is over.
    fn read_user<'a>(&'a self, room: &'a Room, renew: Option<Duration>) -> Answer<'a, StoredUser>;
    /// Replaces a record. `false`: another one is stored by now, and nothing was done.
    fn write_user<'a>(&'a self, room: &'a Room, write: UserWrite<'a>) -> Answer<'a, bool>;
    /// The pods that looked after users and are gone. Also says that this pod looks after some; what it leaves behind is known for `keep`
    /// after the last time. It answers once this pod has its lease.
    fn pods_gone(&self, keep: Duration) -> Answer<'_, Vec<GonePod>>;
    /// Whether a pod is gone, as far as this one knows without asking. In doubt it is not.
    fn is_gone(&self, _pod: &str) -> bool {
        false
    }
    /// In how many parts the users of a pod are kept.
    fn parts(&self) -> usize;
    /// In which of them those are that are told of in this room.
    fn part_of(&self, _room: &Room) -> usize {
        0
    }
    /// Some of the users that a pod looks after, of one part.
    fn users_of<'a>(&'a self, pod: &'a str, part: usize, limit: usize) -> Answer<'a, Vec<String>>;
    /// A pod that is gone does not look after these of that part any more.
    fn release<'a>(&'a self, _pod: &'a str, _part: usize, _users: &'a [String]) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// A pod that is gone looks after none any more.
    fn forget_pod<'a>(&'a self, pod: &'a str) -> Answer<'a, ()>;
    /// For how long a repeated idempotency key is known.
    fn remembers(&self) -> Duration;
    /// How often this pod's lease had run out: then others may have taken its users for gone.
    fn lapses(&self) -> LeaseLapses;
}
