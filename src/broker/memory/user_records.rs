//! Records of users in this process. There is one pod: none other is ever gone.

use std::time::Duration;

use super::{MemoryBroker, ready};
use crate::{
    broker::{Answer, GonePod, LeaseLapses, StoredUser, UserRecords, UserWrite},
    model::Room,
};

impl UserRecords for MemoryBroker {
    fn read_user<'a>(&'a self, room: &'a Room, renew: Option<Duration>) -> Answer<'a, StoredUser> {
        let now = (self.clock)();
        if let Some(keep) = renew {
            self.users.renew(room.as_str(), keep, now);
        }
        ready(Ok(StoredUser { now, record: self.users.get(room.as_str(), now) }))
    }

    fn write_user<'a>(&'a self, room: &'a Room, write: UserWrite<'a>) -> Answer<'a, bool> {
        let UserWrite { was, becomes, keep, .. } = write;
        ready(self.users.replace(room.as_str(), was.as_ref(), becomes, keep, (self.clock)()))
    }

    fn pods_gone(&self, _: Duration) -> Answer<'_, Vec<GonePod>> {
        ready(Ok(Vec::new()))
    }

    fn parts(&self) -> usize {
        1
    }

    fn users_of<'a>(&'a self, _: &'a str, _: usize, _: usize) -> Answer<'a, Vec<String>> {
        ready(Ok(Vec::new()))
    }

    fn forget_pod<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        ready(Ok(()))
    }

    fn remembers(&self) -> Duration {
        self.limits.idempotency_age
    }

    fn lapses(&self) -> LeaseLapses {
        LeaseLapses::default()
    }
}
