//! Forgetting what Redis keeps of a room or a user.
//!
//! Always holds: the keys of a room go in one step, in which every pod that follows it hears that it begins anew. What is kept of a user
//! under other names is looked for among all keys of each master, some at a time and for one user at a time, so that nothing need be kept
//! only to find it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use fred::types::Value;
use roomcast_redis_subscriber::Address;
use tokio::sync::Mutex;

use super::{
    arguments::{count, millis},
    entry,
    partition::{KeyKind, Names, Partition},
    reply::ReplyFields,
    script,
    state::RedisState,
};
use crate::{
    broker::{Answer, BrokerError, Erasure},
    model::{Deletion, EraseMode, IdempotencyKey, PublisherSide, Retain, Room},
};

/// What has Redis forget.
pub(super) struct FleetErasure {
    state: Arc<RedisState>,
    /// Held while all keys are looked through.
    sweeping: Mutex<()>,
}

impl Deref for FleetErasure {
    type Target = RedisState;

    fn deref(&self) -> &RedisState {
        &self.state
    }
}

impl FleetErasure {
    pub(super) fn new(state: Arc<RedisState>) -> Self {
        Self { state, sweeping: Mutex::new(()) }
    }

    /// Forgets keys of one partition. How many there were. `told`: how their room's channel, the last of them, hears of it.
    async fn forget<const WORDS: usize>(
        &self,
        partition: Partition,
        keys: Vec<String>,
        told: [Value; WORDS],
    ) -> Result<u64, BrokerError> {
        let frame = self.shards.call(partition, &script::FORGET, keys, told).await?;
        ReplyFields::of(frame).and_then(|mut fields| fields.number()).map_err(|error| self.unexpected(&error))
    }

    async fn forget_room(&self, room: &Room) -> Result<bool, BrokerError> {
        let kinds = [
            KeyKind::Record,
            KeyKind::Log,
            KeyKind::Deleted,
            KeyKind::Authors,
            KeyKind::Values,
            KeyKind::Order,
            KeyKind::Channel,
        ];
        let keys = kinds.map(|kind| self.names.of(room, kind)).to_vec();
        let told = [self.publish_command(), Value::from_static_str(entry::FORGOTTEN)];
        Ok(self.forget(Partition::of(room), keys, told).await? > 0)
    }

    async fn forget_user(&self, user: &str, own: &[Room]) -> Result<Vec<Room>, BrokerError> {
        let ((partition, acks), (_, places)) = (self.names.acks(user), self.names.places(user));
        let untold = self.names.untold(partition);
        let words = [count(0), count(0), Value::from(acks.as_str()), Value::from(untold.as_str())];
        self.shards.call(partition, &script::UNTOLD_ACKS, [untold], words).await?;
        self.forget(partition, vec![acks, places], []).await?;
        for room in own {
            self.forget_room(room).await?;
            self.forget(Partition::of(room), vec![self.names.of(room, KeyKind::User)], []).await?;
        }
        let mut words = vec![
            Value::from(self.names.pattern()),
            Value::from(IdempotencyKey::of_client("".into()).name(Some(user))),
            Value::from(format!("\"user\":{}", serde_json::Value::from(user))),
            Value::from(user),
        ];
        for room in own {
            let names = [PublisherSide::Backend, PublisherSide::Clients].map(|side| Names::once(room, side, ""));
            let names = names.into_iter().chain([Names::named(room, "")]);
            words.extend(names.map(|name| Value::from(self.names.place(room) + &name)));
        }
        // One partition of each master.
        let masters = Partition::all().map(|partition| Some((self.shards.address(partition)?, partition)));
        let masters: Option<BTreeMap<_, _>> = masters.collect();
        let Some(masters) = masters else { return Err(servers_changed()) };
        // One of a pod at a time: each has all keys looked at, and publishes wait behind that.
        let _alone = self.sweeping.lock().await;
        let mut rooms = BTreeSet::new();
        for (server, partition) in masters {
            self.sweep(&server, partition, &words, user, &mut rooms).await?;
        }
        Ok(rooms.into_iter().collect())
    }

    /// Notes that a user publishes in a room.
    async fn note_author(&self, room: &Room, user: &str) -> Result<(), BrokerError> {
        // Longer than an event lasts by what a pod goes by one note, and by what logs are trimmed late.
        self.author("note", room, user, self.policy(room).history_age.mul_f32(1.5)).await
    }

    async fn author(&self, act: &'static str, room: &Room, user: &str, time: Duration) -> Result<(), BrokerError> {
        let args = [Value::from(act), Value::from(user), millis(time)];
        self.shards
            .call(Partition::of(room), &script::NOTE_AUTHOR, [self.names.of(room, KeyKind::Authors)], args)
            .await?;
        Ok(())
    }

    /// Whether a room has a retained value of a user that is to go with it. A value may outlast its event, and the note of its author.
    async fn has_value_of(&self, room: &Room, user: &str) -> Result<bool, BrokerError> {
        let policy = self.policy(room);
        if policy.erase == EraseMode::Keep || policy.retain == Retain::None {
            return Ok(false);
        }
        Ok(self.retained(room).await?.events.iter().any(|event| event.user.as_deref() == Some(user)))
    }

    /// Looks through all keys of the master that has a partition, and adds the rooms of which the user is an author.
    async fn sweep(
        &self,
        server: &Address,
        partition: Partition,
        words: &[Value],
        user: &str,
        rooms: &mut BTreeSet<Room>,
    ) -> Result<(), BrokerError> {
        let mut cursor = "0".to_owned();
        loop {
            let args = [Value::from(cursor)].into_iter().chain(words.iter().cloned());
            let key = self.names.value_in(partition);
            let frame = self.shards.call(partition, &script::SWEEP, [key], args.collect::<Vec<_>>()).await?;
            let read = ReplyFields::of(frame).and_then(|mut fields| fields.rest());
            let read = read.map_err(|error| self.unexpected(&error))?;
            // Where to go on means nothing to another server.
            if self.shards.address(partition).as_ref() != Some(server) {
                return Err(servers_changed());
            }
            let mut read = read.into_iter();
            cursor = read.next().unwrap_or_default();
            for found in read {
                let Some((kind, Ok(room))) = found.split_at_checked(1).map(|(kind, room)| (kind, Room::parse(room)))
                else {
                    continue;
                };
                if kind == "a" || self.has_value_of(&room, user).await? {
                    rooms.insert(room);
                }
            }
            if cursor.is_empty() || cursor == "0" {
                return Ok(());
            }
        }
    }
}

fn servers_changed() -> BrokerError {
    BrokerError::Unavailable(
        "the servers of Redis changed while their keys were looked through: erase it again".to_owned(),
    )
}

impl Erasure for FleetErasure {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        Box::pin(Self::forget_room(self, room))
    }

    fn delete_event<'a>(&'a self, room: &'a Room, deletion: &'a Deletion) -> Answer<'a, bool> {
        Box::pin(self.state.delete_event(room, deletion))
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, Vec<Room>> {
        Box::pin(Self::forget_user(self, user, own))
    }

    fn note_author<'a>(&'a self, room: &'a Room, user: &'a str) -> Answer<'a, ()> {
        Box::pin(Self::note_author(self, room, user))
    }

    fn forget_author<'a>(&'a self, room: &'a Room, user: &'a str, since: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            // What no reader sees any more is of its authors, too.
            self.trim_log(room).await?;
            self.author("forget", room, user, since).await
        })
    }
}
