//! How much each client that sends commands without a connection may still ask for. Shared by a pod's workers.
//!
//! Locks one of a few maps for each request. Always holds: the maps are bounded; a client that cannot be counted any more is let in
//! with the rates of a newcomer, because limits by client must not keep strangers out.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    config::counted,
    session::{CommandRates, SessionLimits},
};

/// How many maps there are: workers seldom wait for each other.
const SHARDS: usize = 16;

/// The most clients of one map.
const MOST: usize = 1024;

/// A client that sent nothing for so long is forgotten, if the map is full: by then it may ask for a whole burst again, at usual rates.
const FORGET_MS: u64 = 60_000;

/// A map that is full is looked through no more often than this.
const SWEEP_MS: u64 = 1_000;

/// What a client is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Its user, wherever it comes from.
    User(Arc<str>),
    /// Its address, if it has no user.
    Address(IpAddr),
    /// Nothing: all of these share one rate.
    Unknown,
}

impl Sender {
    /// The client of a request.
    #[must_use]
    pub fn of(user: Option<&Arc<str>>, address: Option<IpAddr>) -> Self {
        match (user, address) {
            (Some(user), _) => Self::User(Arc::clone(user)),
            (None, Some(address)) => Self::Address(counted(address)),
            (None, None) => Self::Unknown,
        }
    }
}

/// The clients.
pub struct Senders {
    shards: Vec<Mutex<SenderShard>>,
    hasher: RandomState,
}

/// Some of the clients.
#[derive(Default)]
struct SenderShard {
    known: HashMap<Sender, (CommandRates, u64)>,
    /// When it is looked through again, if it is full.
    sweep_at_ms: u64,
}

impl Default for Senders {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Senders {
    fn shard(&self, sender: &Sender) -> MutexGuard<'_, SenderShard> {
        let at = usize::try_from(self.hasher.hash_one(sender) % SHARDS as u64).unwrap_or_default();
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a client may read something long now, by its rates.
    pub fn may_read(&self, sender: Sender, limits: &SessionLimits, now_ms: u64) -> bool {
        self.with(sender, now_ms, || CommandRates::new(limits, now_ms), |rates| rates.take_read(limits, now_ms))
    }

    /// Does something with a client's rates; `new`: those of a newcomer.
    pub fn with<T>(
        &self,
        sender: Sender,
        now_ms: u64,
        new: impl FnOnce() -> CommandRates,
        act: impl FnOnce(&mut CommandRates) -> T,
    ) -> T {
        let mut shard = self.shard(&sender);
        if !shard.has_room_for(&sender, now_ms) {
            drop(shard);
            return act(&mut new());
        }
        let (rates, seen_ms) = shard.known.entry(sender).or_insert_with(|| (new(), now_ms));
        *seen_ms = now_ms;
        act(rates)
    }
}

impl SenderShard {
    /// Whether a client is known, or can be.
    fn has_room_for(&mut self, sender: &Sender, now_ms: u64) -> bool {
        if self.known.len() < MOST || self.known.contains_key(sender) {
            return true;
        }
        if now_ms >= self.sweep_at_ms {
            self.sweep_at_ms = now_ms + SWEEP_MS;
            self.known.retain(|_, (_, seen_ms)| now_ms.saturating_sub(*seen_ms) < FORGET_MS);
        }
        self.known.len() < MOST
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        model::Limits,
        session::{Session, SessionLimits, Verdict},
    };

    const LIMITS: SessionLimits = SessionLimits {
        in_welcome: Limits { max_message_bytes: 1, max_rooms: 1, commands_per_second: 1, command_burst: 2 },
        control_frames_per_second: 1,
        ping_interval_ms: 1,
        signals_per_second: 1,
        acks_per_second: 1,
        calls: crate::model::Access::User,
        calls_per_second: 1,
        call_burst: 1,
    };

    fn ask(senders: &Senders, sender: &Sender, now_ms: u64) -> Verdict {
        let mut session = Session::new(crate::session::ConnectionId(0), None, &LIMITS, now_ms);
        senders.with(
            sender.clone(),
            now_ms,
            || CommandRates::new(&LIMITS, now_ms),
            |rates| {
                session.swap_rates(rates);
                let verdict = session.connects(false, &LIMITS, now_ms);
                session.swap_rates(rates);
                verdict
            },
        )
    }

    #[test]
    fn a_clients_requests_share_its_rate() {
        let senders = Senders::default();
        let (ann, address) = (Arc::from("ann"), Some([10, 0, 0, 1].into()));
        let (user, nobody) = (Sender::of(Some(&ann), address), Sender::of(None, address));
        assert_eq!([0, 0, 0].map(|now| ask(&senders, &user, now)), [Verdict::Fine, Verdict::Fine, Verdict::Limited]);
        assert_eq!(ask(&senders, &nobody, 0), Verdict::Fine);
        assert_eq!(Sender::of(Some(&ann), None), user, "a user is one client, wherever it comes from");
        assert_eq!(ask(&senders, &user, 1_000), Verdict::Fine);
        assert_eq!(ask(&senders, &Sender::of(None, None), 0), Verdict::Fine);
    }

    #[test]
    fn strangers_are_let_in_and_none_is_kept_beyond_the_bound() {
        let senders = Senders::default();
        let stranger = |n: u32| Sender::User(n.to_string().as_str().into());
        for n in 0..40_000 {
            assert_eq!(ask(&senders, &stranger(n), 0), Verdict::Fine);
        }
        let known = || senders.shards.iter().map(|shard| shard.lock().unwrap().known.len()).sum::<usize>();
        assert_eq!(known(), SHARDS * MOST);
        assert_eq!(ask(&senders, &stranger(50_000), FORGET_MS), Verdict::Fine);
        assert!(known() < SHARDS * MOST, "those that have gone are forgotten");
    }
}
