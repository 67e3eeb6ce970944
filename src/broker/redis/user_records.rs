//! Records of users in Redis, and which of them each pod looks after.
//!
//! A record lies with the keys of the room in which it is told. Beside it, in each partition, lies a set a pod: the users that it looks
//! after, so that another pod finds them once it is gone. Always holds: a record and its place in these sets change in one step.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use fred::types::Value;

use super::{
    arguments::{count, millis},
    partition::{KeyKind, Partition},
    reply::{ReplyError, ReplyFields},
    script,
    state::RedisState,
};
use crate::{
    broker::{Answer, BrokerError, GonePod, LeaseLapses, StoredUser, UserRecords, UserWrite},
    model::Room,
};

/// The records of the users of a fleet.
pub(super) struct FleetUsers(pub(super) Arc<RedisState>);

impl Deref for FleetUsers {
    type Target = RedisState;

    fn deref(&self) -> &RedisState {
        &self.0
    }
}

impl FleetUsers {
    async fn read_user(&self, room: &Room, renew: Option<Duration>) -> Result<StoredUser, BrokerError> {
        let keys = [self.names.of(room, KeyKind::User)];
        let frame = self.shards.call(Partition::of(room), &script::READ_USER, keys, renew.map(millis)).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            let now = fields.number()?;
            Ok::<_, ReplyError>(StoredUser { now, record: fields.next_bytes().transpose()? })
        };
        read().map_err(|error| self.unexpected(&error))
    }

    async fn write_user(&self, room: &Room, write: UserWrite<'_>) -> Result<bool, BrokerError> {
        let UserWrite { user, was, becomes, keep, looked_after, released_by } = write;
        let partition = Partition::of(room);
        let own = self.names.looked_after(partition, &self.pod.name);
        let other = released_by.map_or_else(|| own.clone(), |pod| self.names.looked_after(partition, pod));
        let kept = [KeyKind::Record, KeyKind::Log, KeyKind::Values, KeyKind::Order];
        let keys = [self.names.of(room, KeyKind::User), own, other].into_iter();
        let keys = keys.chain(kept.map(|kind| self.names.of(room, kind)));
        let args = [
            Value::Bytes(was.unwrap_or_default()),
            Value::Bytes(becomes),
            millis(keep),
            Value::from(user),
            Value::from(looked_after.map_or("", |looked_after| if looked_after { "+" } else { "-" })),
            Value::from(if released_by.is_some() { "-" } else { "" }),
            self.room_ttl(),
        ];
        let frame = self.shards.call(partition, &script::WRITE_USER, keys.collect::<Vec<_>>(), args).await?;
        let read = || Ok::<_, ReplyError>(ReplyFields::of(frame)?.number()? == 1);
        read().map_err(|error| self.unexpected(&error))
    }

    async fn pods_gone(&self, keep: Duration) -> Result<Vec<GonePod>, BrokerError> {
        let _ = self.leases.held.subscribe().wait_for(|held| *held).await;
        let fields = self.user_pods("", keep).await?;
        let (pods, _) = fields.as_chunks::<3>();
        let gone = |[pod, ended, looked]: &[String; 3]| {
            let looked_ms = looked.parse().unwrap_or_default();
            GonePod { pod: pod.clone(), for_ms: ended.parse().ok(), looked_ms }
        };
        Ok(pods.iter().filter(|[pod, ..]| self.is_gone(pod)).map(gone).collect())
    }

    /// In doubt it lives.
    fn is_gone(&self, pod: &str) -> bool {
        !self.leases.is_live(pod, self.settings.lease, Instant::now())
    }

    async fn user_pods(&self, forget: &str, keep: Duration) -> Result<Vec<String>, BrokerError> {
        let keys = [self.names.leases(), self.names.user_pods()];
        let args = [Value::from(self.pod.name.as_str()), Value::from(forget), millis(keep)];
        let frame = self.shards.call(Partition::FIRST, &script::USER_PODS, keys, args).await?;
        ReplyFields::of(frame).and_then(|mut fields| fields.rest()).map_err(|error| self.unexpected(&error))
    }

    async fn release(&self, pod: &str, part: usize, users: &[String]) -> Result<(), BrokerError> {
        let Some(partition) = Partition::all().nth(part) else { return Ok(()) };
        let keys = [self.names.looked_after(partition, pod)];
        let users = users.iter().map(|user| Value::from(user.as_str()));
        self.shards.call(partition, &script::RELEASE_USERS, keys, users).await.map(drop)
    }

    async fn users_of(&self, pod: &str, part: usize, limit: usize) -> Result<Vec<String>, BrokerError> {
        let Some(partition) = Partition::all().nth(part) else { return Ok(Vec::new()) };
        let keys = [self.names.looked_after(partition, pod)];
        let frame = self.shards.call(partition, &script::USERS_OF, keys, [count(limit)]).await?;
        ReplyFields::of(frame).and_then(|mut fields| fields.rest()).map_err(|error| self.unexpected(&error))
    }
}

impl UserRecords for FleetUsers {
    fn read_user<'a>(&'a self, room: &'a Room, renew: Option<Duration>) -> Answer<'a, StoredUser> {
        Box::pin(Self::read_user(self, room, renew))
    }

    fn write_user<'a>(&'a self, room: &'a Room, write: UserWrite<'a>) -> Answer<'a, bool> {
        Box::pin(Self::write_user(self, room, write))
    }

    fn pods_gone(&self, keep: Duration) -> Answer<'_, Vec<GonePod>> {
        Box::pin(Self::pods_gone(self, keep))
    }

    fn is_gone(&self, pod: &str) -> bool {
        Self::is_gone(self, pod)
    }

    fn part_of(&self, room: &Room) -> usize {
        Partition::of(room).index()
    }

    fn release<'a>(&'a self, pod: &'a str, part: usize, users: &'a [String]) -> Answer<'a, ()> {
        Box::pin(Self::release(self, pod, part, users))
    }

    fn parts(&self) -> usize {
        super::partition::PARTITIONS
    }

    fn users_of<'a>(&'a self, pod: &'a str, part: usize, limit: usize) -> Answer<'a, Vec<String>> {
        Box::pin(Self::users_of(self, pod, part, limit))
    }

    fn forget_pod<'a>(&'a self, pod: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.user_pods(pod, Duration::ZERO).await.map(drop) })
    }

    fn remembers(&self) -> Duration {
        self.settings.idempotency_age
    }

    fn lapses(&self) -> LeaseLapses {
        LeaseLapses { count: self.leases.lapses(), lease: self.settings.lease }
    }
}
