//! The members of a room, over all pods: they are written when they join and leave, and count while their pod's lease runs.
//!
//! A pod renews one lease, not its members. When it dies, lists leave its members out as soon as its lease has run out. The
//! first pod that sees them takes them out of Redis, and publishes `left` for each where the policy says so. A pod whose own
//! lease has run out, or that finds its members missing in Redis, writes its rooms anew.

use std::{
    collections::HashSet,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use fred::types::Value;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    arguments::millis,
    entry,
    leases::PodList,
    local_presence::{Change, Work},
    node::Lane,
    partition::{KeyKind, Partition},
    reply::{ReplyError, ReplyFields, bytes_of, text_of},
    script,
    state::RedisState,
};
use crate::{
    broker::BrokerError,
    model::{Member, PresenceList, PresenceMode, Room},
};

/// The most rooms that are written at once.
const AT_ONCE: usize = 256;

/// The time before a room that could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// How long it is known of a pod that it has left: longer than any of its clients' packets find no answer.
const LEAVING_IS_KNOWN: Duration = Duration::from_secs(300);

/// The members of rooms, over all pods.
#[derive(Clone)]
pub(super) struct FleetMembers(pub(super) Arc<RedisState>);

impl Deref for FleetMembers {
    type Target = RedisState;

    fn deref(&self) -> &RedisState {
        &self.0
    }
}

impl FleetMembers {
    /// Renews this pod's lease for ever.
    pub(super) async fn keep_lease(self) {
        loop {
            let pause = if self.renew_lease().await.is_ok() { self.settings.lease / 4 } else { AGAIN };
            // It is wanted earlier four times a second at most (`departures`).
            let _ = timeout(pause, self.leases.wanted.notified()).await;
        }
    }

    /// Renews this pod's lease, and notes the pods whose lease runs.
    async fn renew_lease(&self) -> Result<(), BrokerError> {
        let asked = Instant::now();
        let (ran, list) = self.lease(self.settings.lease, self.leases.is_leaving()).await?;
        // Before the first lease nothing was written.
        if !ran && self.leases.held() {
            tracing::warn!("this pod's lease had run out; its members are written anew");
            self.members.doubt_all();
            self.places.doubt_all(asked);
        }
        self.leases.renewed(ran, list, self.settings.lease, asked, Instant::now());
        Ok(())
    }

    /// Has this pod's lease run for so long from now, and says that it goes if it is `leaving`. Returns whether the lease had not run
    /// out, and the pods.
    async fn lease(&self, lasts: Duration, leaving: bool) -> Result<(bool, PodList), BrokerError> {
        let keys = [self.names.leases(), self.names.address(&self.pod.name), self.names.leaving()];
        let address = self.settings.advertise.as_deref().unwrap_or_default();
        let marked = if leaving { LEAVING_IS_KNOWN } else { Duration::ZERO };
        let args = [Value::from(self.pod.name.as_str()), millis(lasts), Value::from(address), millis(marked)];
        let frame = self.shards.call(Partition::FIRST, &script::LEASE, keys, args).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            let ran = fields.number()? == 1;
            let mut list = PodList::default();
            for _ in 0..fields.number()? {
                list.live.insert(fields.text()?);
            }
            list.going.extend(fields.rest()?);
            Ok::<_, ReplyError>((ran, list))
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// Gives the lease up at the end, so that other pods need not wait for it to run out.
    pub(super) async fn give_up_lease(&self) {
        if self.leases.held() {
            let _ = timeout(AGAIN, self.lease(Duration::ZERO, true)).await;
        }
    }

    /// Where a pod is found, as long as it lives.
    pub(super) async fn address_of(&self, pod: &str) -> Result<Option<String>, BrokerError> {
        let frame = self.shards.call(Partition::FIRST, &script::LOOK_UP, [self.names.address(pod)], []).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            if fields.number()? == 0 { Ok(None) } else { fields.text().map(Some) }
        };
        read().map_err(|error: ReplyError| self.unexpected(&error))
    }

    /// Parts pods into those whose lease runs and those that are gone.
    pub(super) async fn part(&self, pods: Vec<String>) -> (Vec<String>, Vec<String>) {
        let part = |pods: Vec<String>| -> (Vec<String>, Vec<String>) {
            let now = Instant::now();
            let live = |pod: &String| *pod == self.pod.name || self.leases.is_live(pod, self.settings.lease, now);
            pods.into_iter().partition(live)
        };
        let (mut live, unknown) = part(pods);
        if unknown.is_empty() {
            return (live, unknown);
        }
        // A pod that started after the last renewal had its lease before it had members: the next renewal knows it.
        if self.renew_lease().await.is_err() {
            live.extend(unknown);
            return (live, Vec::new());
        }
        let (newcomers, gone) = part(unknown);
        live.extend(newcomers);
        (live, gone)
    }

    /// Writes joins and leaves for ever.
    pub(super) async fn write_members(self) {
        let _ = self.leases.held.subscribe().wait_for(|held| *held).await;
        let mut writes = JoinSet::new();
        loop {
            while writes.len() < AT_ONCE
                && let Some(work) = self.members.next()
            {
                writes.spawn(self.clone().carry_out(work));
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

    async fn carry_out(self, work: Work) {
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
        let mut keys = vec![self.names.members(room, &self.pod.name), self.names.of(room, KeyKind::Pods)];
        let told_on = self.told_on(room);
        if !told_on.is_empty() && changes.iter().any(|change| change.of_edge) {
            let (_, pods) = self.pods(room, Lane::Commands).await?;
            keys.extend(self.members_on(room, pods.iter().filter(|pod| **pod != self.pod.name)));
        }
        let mut args =
            vec![Value::from(self.pod.name.as_str()), self.room_ttl(), Value::from(told_on), self.publish_command()];
        for change in changes {
            args.push(Value::from(match (change.joined, change.of_edge) {
                (true, false) => "+",
                (true, true) => "+@",
                (false, false) => "-",
                (false, true) => "-@",
            }));
            args.push(Value::from(&*change.member.connection));
            args.push(Value::from(entry::stored_user(change.member.user.as_deref())));
        }
        let frame = self.shards.call(Partition::of(room), &script::MEMBERS, keys, args).await?;
        if let Ok(answer) = bytes_of(frame).and_then(text_of)
            && answer != "OK"
        {
            self.shards.refused_in_part(Partition::of(room), &script::MEMBERS, &answer);
        }
        Ok(())
    }

    /// Makes Redis have exactly this pod's members.
    async fn resync(&self, room: &Room, members: Vec<Member>) -> Result<(), BrokerError> {
        let stored = self.list_of(room, vec![self.pod.name.clone()], usize::MAX).await?;
        let here: HashSet<&str> = members.iter().map(|member| &*member.connection).collect();
        let stale = stored.members.iter().filter(|member| !here.contains(&*member.connection));
        // Whose each was is not known any more.
        let change = |joined| move |member: &Member| Change { joined, of_edge: true, member: member.clone() };
        let changes: Vec<Change> = stale.map(change(false)).chain(members.iter().map(change(true))).collect();
        for changes in changes.chunks(1_024) {
            self.write(room, changes).await?;
        }
        Ok(())
    }

    /// The keys of a room's members on these pods.
    fn members_on<'a>(&self, room: &Room, pods: impl Iterator<Item = &'a String>) -> Vec<String> {
        pods.map(|pod| self.names.members(room, pod)).collect()
    }

    /// The channel for a room's joins and leaves; empty: they are not published.
    fn told_on(&self, room: &Room) -> String {
        match self.policy(room).presence {
            PresenceMode::Events => self.names.of(room, KeyKind::Channel),
            _ => String::new(),
        }
    }

    /// The pods with members in a room, and how many of them are this pod's.
    async fn pods(&self, room: &Room, lane: Lane) -> Result<(u64, Vec<String>), BrokerError> {
        let keys = [self.names.members(room, &self.pod.name), self.names.of(room, KeyKind::Pods)];
        let (target, args) = (Partition::of(room), [self.room_ttl()]);
        let frame = match lane {
            Lane::Reads => self.shards.read(target, &script::PODS, keys, args).await?,
            lane => self.shards.call_on(lane, target, &script::PODS, keys, args).await?,
        };
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            Ok::<_, ReplyError>((fields.number()?, fields.rest()?))
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// The members of a room on the pods that live.
    pub(super) async fn list_members(&self, room: &Room, limit: usize) -> Result<PresenceList, BrokerError> {
        // Clients ask for it, as often as they may: no publish waits for them.
        let (_, pods) = self.pods(room, Lane::Reads).await?;
        let (live, gone) = self.part(pods).await;
        if !gone.is_empty() {
            let (shared, room, live) = (self.clone(), room.clone(), live.clone());
            self.runtime.spawn(async move { shared.evict(&room, gone, live).await });
        }
        Ok(each_once(self.list_of(room, live, limit).await?))
    }

    async fn list_of(&self, room: &Room, pods: Vec<String>, limit: usize) -> Result<PresenceList, BrokerError> {
        if pods.is_empty() {
            return Ok(PresenceList::default());
        }
        let keys = pods.iter().map(|pod| self.names.members(room, pod));
        let limit = Value::from(i64::try_from(limit).unwrap_or(i64::MAX).min(1 << 40));
        let frame = self.shards.read(Partition::of(room), &script::LIST, keys, [limit]).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            let total = usize::try_from(fields.number()?).map_err(|_| ReplyError)?;
            let mut members = Vec::new();
            while let Some(connection) = fields.next_bytes() {
                let (connection, user) = (text_of(connection?)?, fields.bytes()?);
                members.push(entry::member(&connection, &user).map_err(|_| ReplyError)?);
            }
            Ok::<_, ReplyError>(PresenceList { members, total })
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// Takes the members of pods that are gone out of a room. Of those that another pod has, too, nothing is told.
    async fn evict(&self, room: &Room, mut gone: Vec<String>, live: Vec<String>) {
        while let Some(pod) = gone.pop() {
            let mut keys = vec![self.names.members(room, &pod), self.names.of(room, KeyKind::Pods)];
            keys.extend(self.members_on(room, live.iter().chain(&gone)));
            let args = [Value::from(pod.as_str()), Value::from(self.told_on(room)), self.publish_command()];
            // If this fails, the next look tries again.
            if self.shards.call(Partition::of(room), &script::EVICT, keys, args).await.is_ok() {
                tracing::info!(%room, pod, "the members of a pod that is gone were taken out");
            }
        }
    }

    /// Compares Redis with this pod's members of a room, and takes out pods that are gone.
    pub(super) async fn compare_members(&self, room: &Room) {
        if self.policy(room).presence == PresenceMode::Off {
            return;
        }
        let before = self.members.settled(room);
        let Ok((own, pods)) = self.pods(room, Lane::Commands).await else { return };
        let after = self.members.settled(room);
        if let (Some(before), Some(after)) = (before, after)
            && before == after
            && own != after as u64
        {
            self.members.doubt(room);
        }
        let (live, gone) = self.part(pods).await;
        self.evict(room, gone, live).await;
    }
}

/// A list without what two pods say alike: members of an edge that tells of them over another link stay for a moment where it told of them
/// before.
fn each_once(mut list: PresenceList) -> PresenceList {
    let mut seen = HashSet::with_capacity(list.members.len());
    let before = list.members.len();
    list.members.retain(|member| seen.insert(member.clone()));
    list.total -= before - list.members.len();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_pods_say_alike_is_listed_once() {
        let member = |connection: &str, user: &str| Member { connection: connection.into(), user: Some(user.into()) };
        let members = vec![member("1", "ann"), member("2", "bob"), member("1", "ann"), member("2", "mal")];
        let list = each_once(PresenceList { members, total: 7 });
        assert_eq!(list.members, [member("1", "ann"), member("2", "bob"), member("2", "mal")]);
        assert_eq!(list.total, 6);
    }
}
