//! Reads positions of rooms: at once for rooms that wait for theirs, and now and then for all, because a lost last message has
//! no successor that reveals it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fred::types::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{
    entry,
    partition::{KeyKind, PARTITIONS, Partition},
    presence::FleetMembers,
    publishing::base,
    reply::{ReplyError, ReplyFields},
    rooms::WantedPosition,
    script,
    state::RedisState,
};
use crate::{
    broker::BrokerError,
    model::{Position, Room},
};

/// The most rooms of one script: it must not hold up a server's other commands.
const ROOMS_A_CALL: usize = 128;

/// How long a request for a position waits for others.
const GATHER: Duration = Duration::from_millis(1);

/// The time before a position that could not be read is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// In how many steps all rooms are compared with their logs.
const STEPS: usize = 32;

/// How long an event may be on its way before its room counts as behind.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

impl RedisState {
    /// Reads the positions of rooms of one partition.
    async fn positions(&self, partition: Partition, rooms: &[Room]) -> Result<Vec<Position>, BrokerError> {
        let keys = rooms.iter().map(|room| self.names.of(room, KeyKind::Record));
        let args = [Value::from(base()?), self.empty_ttl(), self.room_ttl()];
        let frame = self.shards.call(partition, &script::POSITIONS, keys, args).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            rooms
                .iter()
                .map(|_| {
                    let epoch = fields.text()?;
                    let offset = entry::number(&fields.text()?).map_err(|_| ReplyError)?;
                    Ok(Position::new(crate::model::Epoch::new(&epoch), offset))
                })
                .collect::<Result<_, ReplyError>>()
        };
        read().map_err(|error| self.unexpected(&error))
    }

    /// Reads wanted positions for ever, those that came together in as few calls as possible.
    pub(super) async fn answer_questions(self: Arc<Self>) {
        let mut calls = JoinSet::new();
        loop {
            self.rooms.asked.notified().await;
            sleep(GATHER).await;
            while calls.try_join_next().is_some() {}
            let mut by_partition: HashMap<Partition, Vec<WantedPosition>> = HashMap::new();
            for wanted in self.rooms.wanted() {
                by_partition.entry(Partition::of(&wanted.0)).or_default().push(wanted);
            }
            for (partition, wanted) in by_partition {
                for wanted in wanted.chunks(ROOMS_A_CALL) {
                    calls.spawn(Arc::clone(&self).answer(partition, wanted.to_vec()));
                }
            }
        }
    }

    async fn answer(self: Arc<Self>, partition: Partition, wanted: Vec<WantedPosition>) {
        let rooms: Vec<Room> = wanted.iter().map(|(room, _)| room.clone()).collect();
        match self.positions(partition, &rooms).await {
            Ok(positions) => {
                for ((room, ticket), position) in wanted.into_iter().zip(positions) {
                    self.rooms.position(&room, ticket, position);
                }
            }
            Err(_) => {
                sleep(AGAIN).await;
                self.rooms.ask_again(wanted);
            }
        }
    }

    /// Compares rooms with their logs for ever, at each step those of a part of the partitions.
    pub(super) async fn look_after_rooms(self: Arc<Self>) {
        let all: Vec<Partition> = Partition::all().collect();
        let mut calls = JoinSet::new();
        // Each pod begins somewhere else.
        let first = usize::try_from(self.pod.number % STEPS as u64).unwrap_or(0);
        for step in (0..STEPS).cycle().skip(first) {
            sleep(self.settings.compare_every / STEPS as u32).await;
            while calls.try_join_next().is_some() {}
            for partition in &all[step * PARTITIONS / STEPS..(step + 1) * PARTITIONS / STEPS] {
                calls.spawn(Arc::clone(&self).compare(*partition));
            }
        }
    }

    /// Forgets rooms that were left, for ever.
    pub(super) async fn forget_rooms(self: Arc<Self>) {
        loop {
            sleep(Duration::from_secs(1)).await;
            for partition in Partition::all() {
                self.rooms.forget(partition, Instant::now(), |room| self.leave_channel(room));
            }
        }
    }

    async fn compare(self: Arc<Self>, partition: Partition) {
        let rooms = self.rooms.live(partition);
        let mut behind = Vec::new();
        for rooms in rooms.chunks(ROOMS_A_CALL) {
            let Ok(positions) = self.positions(partition, rooms).await else { continue };
            let pairs = rooms.iter().zip(positions);
            behind.extend(pairs.filter(|(room, log)| self.rooms.is_behind(room, log)).map(|(r, log)| (r.clone(), log)));
        }
        let members = FleetMembers(Arc::clone(&self));
        for room in &rooms {
            members.compare_members(room).await;
        }
        sleep(ON_ITS_WAY).await;
        for (room, log) in behind {
            if self.rooms.is_behind(&room, &log) {
                self.metrics.behind.increment(1);
                tracing::debug!(%room, "the room's log is ahead of what came; it is recovered");
                self.rooms.renew(&room);
            }
        }
    }
}
