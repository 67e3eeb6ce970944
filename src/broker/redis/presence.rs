//! Who is in a room, over all pods: members are written when they join and leave, and count as long as their pod's lease
//! runs.
//!
//! A pod renews one lease, not its members. When it dies, its members are left out of lists as soon as its lease has run
//! out; whoever sees them first takes them out of Redis, and tells `left` for each where the policy says so. A pod that
//! finds its own lease run out, or Redis without what it wrote, writes its rooms anew.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fred::types::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Shared, entry,
    local_presence::{Change, Work},
    partition::{Kind, Partition},
    reply::{Fields, Unexpected, text_of},
    script,
};
use crate::{
    broker::BrokerError,
    model::{Member, PresenceList, PresenceMode, Room},
};

/// The most rooms that are written at once.
const AT_ONCE: usize = 256;

/// Before a room that could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of the leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    inner: Mutex<Renewals>,
    /// Whether this pod ever had its lease; before, it writes no members, for others would take them for a dead pod's.
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Renewals {
    /// The pods whose lease ran when it was looked at last.
    live: HashSet<String>,
    last: Option<Instant>,
    /// Since when every renewal was in time.
    unbroken: Option<Instant>,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Renewals> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this pod ever had its lease.
    pub(super) fn held(&self) -> bool {
        *self.held.borrow()
    }

    /// Takes in an answer. `ran`: our own lease had not run out.
    fn renewed(&self, ran: bool, live: HashSet<String>, lease: Duration, now: Instant) {
        let mut inner = self.lock();
        let in_time = ran && inner.last.is_some_and(|last| now.duration_since(last) < lease);
        if !in_time {
            inner.unbroken = Some(now);
        }
        inner.last = Some(now);
        inner.live = live;
        self.held.send_replace(true);
    }

    /// Whether a pod's lease runs. In doubt it does: an outage of Redis in which nobody could renew must not empty the
    /// rooms, so that everybody gets a whole lease of ours to renew theirs.
    fn is_live(&self, pod: &str, lease: Duration, now: Instant) -> bool {
        let inner = self.lock();
        let current = inner.last.is_some_and(|last| now.duration_since(last) < lease);
        let trusted = current && inner.unbroken.is_some_and(|since| now.duration_since(since) >= lease);
        !trusted || inner.live.contains(pod)
    }
}

impl Shared {
    /// Renews this pod's lease for ever.
    pub(super) async fn keep_lease(self: Arc<Self>) {
        loop {
            let pause = if self.renew_lease().await.is_ok() { self.settings.lease / 4 } else { AGAIN };
            sleep(pause).await;
        }
    }

    /// Renews this pod's lease, and sees whose run.
    async fn renew_lease(&self) -> Result<(), BrokerError> {
        let (ran, live) = self.lease(self.settings.lease).await?;
        // Before the first lease nothing was written.
        if !ran && self.leases.held() {
            tracing::warn!("this pod's lease had run out; its members are written anew");
            self.members.doubt_all();
        }
        self.leases.renewed(ran, live, self.settings.lease, Instant::now());
        Ok(())
    }

    /// Has this pod's lease run for so long from now: whether it had not run out, and the pods whose run.
    async fn lease(&self, lasts: Duration) -> Result<(bool, HashSet<String>), BrokerError> {
        let keys = [self.names.leases(), self.names.address(&self.pod.name)];
        let address = self.settings.advertise.as_deref().unwrap_or_default();
        let args = [Value::from(self.pod.name.as_str()), super::millis(lasts), Value::from(address)];
        let frame = self.shards.call(Partition::FIRST, &script::LEASE, keys, args).await?;
        let read = || {
            let mut fields = Fields::of(frame)?;
            let ran = fields.number()? == 1;
            Ok::<_, Unexpected>((ran, fields.rest()?.into_iter().collect()))
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// Gives the lease up at the end: the other pods need not wait for it to run out.
    pub(super) async fn give_up_lease(&self) {
        if self.leases.held() {
            let _ = timeout(AGAIN, self.lease(Duration::ZERO)).await;
        }
    }

    /// Where a pod is found, as long as it lives.
    pub(super) async fn address_of(&self, pod: &str) -> Result<Option<String>, BrokerError> {
        let frame = self.shards.call(Partition::FIRST, &script::LOOK_UP, [self.names.address(pod)], []).await?;
        let read = || {
            let mut fields = Fields::of(frame)?;
            if fields.number()? == 0 { Ok(None) } else { fields.text().map(Some) }
        };
        read().map_err(|error: Unexpected| self.unexpected(&error))
    }

    /// Parts pods into those whose lease runs and those that are gone.
    async fn part(&self, pods: Vec<String>) -> (Vec<String>, Vec<String>) {
        let part = |pods: Vec<String>| -> (Vec<String>, Vec<String>) {
            let now = Instant::now();
            let live = |pod: &String| *pod == self.pod.name || self.leases.is_live(pod, self.settings.lease, now);
            pods.into_iter().partition(live)
        };
        let (mut live, unknown) = part(pods);
        if unknown.is_empty() {
            return (live, unknown);
        }
        // A pod that came after we looked had its lease before it had members: a fresh look knows it.
        if self.renew_lease().await.is_err() {
            live.extend(unknown);
            return (live, Vec::new());
        }
        let (newcomers, gone) = part(unknown);
        live.extend(newcomers);
        (live, gone)
    }

    /// Writes joins and leaves for ever.
    pub(super) async fn write_members(self: Arc<Self>) {
        let _ = self.leases.held.subscribe().wait_for(|held| *held).await;
        let mut writes = JoinSet::new();
        loop {
            while writes.len() < AT_ONCE
                && let Some(work) = self.members.next()
            {
                writes.spawn(Arc::clone(&self).carry_out(work));
            }
            if writes.is_empty() {
                self.members.ready.notified().await;
            } else {
                tokio::select! {
                    _ = writes.join_next() => {}
                    () = self.members.ready.notified(), if writes.len() < AT_ONCE => {}
                }
            }
        }
    }

    async fn carry_out(self: Arc<Self>, work: Work) {
        let (room, result) = match work {
            Work::Write(room, changes) => {
                let result = self.write(&room, &changes).await;
                (room, result)
            }
            Work::Resync(room, members) => {
                self.metrics.resyncs.increment(1);
                let result = self.resync(&room, members).await;
                (room, result)
            }
        };
        if result.is_err() {
            sleep(AGAIN).await;
        }
        self.members.done(&room, result.is_ok());
    }

    async fn write(&self, room: &Room, changes: &[Change]) -> Result<(), BrokerError> {
        let keys = [self.names.members(room, &self.pod.name), self.names.of(room, Kind::Pods)];
        let mut args = vec![
            Value::from(self.pod.name.as_str()),
            self.room_ttl(),
            Value::from(self.told_on(room)),
            self.publish_command(),
        ];
        for change in changes {
            args.push(Value::from(if change.joined { "+" } else { "-" }));
            args.push(Value::from(&*change.member.connection));
            args.push(Value::from(entry::stored_user(change.member.user.as_deref())));
        }
        self.shards.call(Partition::of(room), &script::MEMBERS, keys, args).await.map(drop)
    }

    /// Makes what Redis has of this pod's members what they are.
    async fn resync(&self, room: &Room, members: Vec<Member>) -> Result<(), BrokerError> {
        let stored = self.list_of(room, vec![self.pod.name.clone()], usize::MAX).await?;
        let here: HashSet<&str> = members.iter().map(|member| &*member.connection).collect();
        let stale = stored.members.iter().filter(|member| !here.contains(&*member.connection));
        let leave = stale.map(|member| Change { joined: false, member: member.clone() });
        let join = members.iter().map(|member| Change { joined: true, member: member.clone() });
        let changes: Vec<Change> = leave.chain(join).collect();
        for changes in changes.chunks(1_024) {
            self.write(room, changes).await?;
        }
        Ok(())
    }

    /// The channel on which a room is told of joins and leaves; empty where it is not.
    fn told_on(&self, room: &Room) -> String {
        match self.policy(room).presence {
            PresenceMode::Events => self.names.of(room, Kind::Channel),
            _ => String::new(),
        }
    }

    /// The pods with members in a room, and how many of them are this pod's.
    async fn pods(&self, room: &Room) -> Result<(u64, Vec<String>), BrokerError> {
        let keys = [self.names.members(room, &self.pod.name), self.names.of(room, Kind::Pods)];
        let frame = self.shards.call(Partition::of(room), &script::PODS, keys, [self.room_ttl()]).await?;
        let read = || {
            let mut fields = Fields::of(frame)?;
            Ok::<_, Unexpected>((fields.number()?, fields.rest()?))
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// The members of a room on the pods that live.
    pub(super) async fn list_members(self: &Arc<Self>, room: &Room, limit: usize) -> Result<PresenceList, BrokerError> {
        let (_, pods) = self.pods(room).await?;
        let (live, gone) = self.part(pods).await;
        if !gone.is_empty() {
            let (shared, room) = (Arc::clone(self), room.clone());
            self.runtime.spawn(async move { shared.evict(&room, gone).await });
        }
        self.list_of(room, live, limit).await
    }

    async fn list_of(&self, room: &Room, pods: Vec<String>, limit: usize) -> Result<PresenceList, BrokerError> {
        if pods.is_empty() {
            return Ok(PresenceList::default());
        }
        let keys = pods.iter().map(|pod| self.names.members(room, pod));
        let limit = Value::from(i64::try_from(limit).unwrap_or(i64::MAX).min(1 << 40));
        let frame = self.shards.call(Partition::of(room), &script::LIST, keys, [limit]).await?;
        let read = || {
            let mut fields = Fields::of(frame)?;
            let total = usize::try_from(fields.number()?).map_err(|_| Unexpected)?;
            let mut members = Vec::new();
            while let Some(connection) = fields.next_bytes() {
                let (connection, user) = (text_of(connection?)?, fields.bytes()?);
                members.push(entry::member(&connection, &user).map_err(|_| Unexpected)?);
            }
            Ok::<_, Unexpected>(PresenceList { members, total })
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// Takes the members of pods that are gone out of a room.
    async fn evict(&self, room: &Room, pods: Vec<String>) {
        for pod in pods {
            let keys = [self.names.members(room, &pod), self.names.of(room, Kind::Pods)];
            let args = [Value::from(pod.as_str()), Value::from(self.told_on(room)), self.publish_command()];
            // Whoever looks next tries again.
            if self.shards.call(Partition::of(room), &script::EVICT, keys, args).await.is_ok() {
                tracing::info!(%room, pod, "the members of a pod that is gone were taken out");
            }
        }
    }

    /// Looks whether Redis has this pod's members of a room, and whether it has pods that are gone.
    pub(super) async fn compare_members(&self, room: &Room) {
        if self.policy(room).presence == PresenceMode::Off {
            return;
        }
        let before = self.members.settled(room);
        let Ok((own, pods)) = self.pods(room).await else { return };
        let after = self.members.settled(room);
        if let (Some(before), Some(after)) = (before, after)
            && before == after
            && own != after as u64
        {
            self.members.doubt(room);
        }
        let (_, gone) = self.part(pods).await;
        self.evict(room, gone).await;
    }
}
