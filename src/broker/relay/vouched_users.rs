//! The users whose good tokens an edge has shown over one link. Without I/O.
//!
//! Bounded: [`MOST_BYTES`] of one link; those of all links by what the pod's queues may hold. At the limit no other user is taken, until those go
//! whose tokens have ended. Always holds: a user counts no longer than its token is good, and [`GRACE`].

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::model::UnixMillis;

/// For how long (ms) what was begun with a token still counts: what a user read last, a token that is on its way, clocks that are apart.
pub(super) const GRACE: UnixMillis = 5_000;

/// For how long (ms) a user counts whose token is to be shown again: an edge may have many.
const AGAIN: UnixMillis = 60_000;

/// How often (ms) it is looked whose tokens have ended.
const SWEEP_EVERY: UnixMillis = 5_000;

/// The most bytes of one link's users.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What an entry takes beside its name.
const ENTRY: usize = 96;

#[derive(Default)]
struct VouchedTable {
    /// Until when each counts.
    users: HashMap<Arc<str>, UnixMillis>,
    bytes: usize,
    swept: UnixMillis,
}

/// The users of one link.
#[derive(Default)]
pub(super) struct VouchedUsers {
    table: Mutex<VouchedTable>,
    /// The bytes of all links' users.
    of_all: Arc<AtomicUsize>,
}

fn cost(user: &str) -> usize {
    ENTRY + user.len()
}

impl VouchedUsers {
    /// None yet. `of_all`: the bytes of all links' users.
    pub(super) fn new(of_all: Arc<AtomicUsize>) -> Self {
        Self { table: Mutex::default(), of_all }
    }

    fn lock(&self) -> MutexGuard<'_, VouchedTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out users that do not count any more.
    fn remove_ended(&self, table: &mut VouchedTable, now: UnixMillis) -> HashSet<Arc<str>> {
        let mut ended = HashSet::new();
        table.users.retain(|user, ends| {
            if *ends <= now {
                ended.insert(Arc::clone(user));
            }
            *ends > now
        });
        let freed = ended.iter().map(|user| cost(user)).sum();
        table.bytes -= freed;
        self.of_all.fetch_sub(freed, Ordering::Relaxed);
        ended
    }

    /// A user's token is good until then; `None`: for good. `most`: the bytes that the users of all links may take. `false`: there is no place
    /// for it.
    pub(super) fn put(&self, user: Arc<str>, expires_at: Option<UnixMillis>, most: usize) -> bool {
        let ends = expires_at.map_or(UnixMillis::MAX, |ends| ends.saturating_add(GRACE));
        let mut table = self.lock();
        if let Some(known) = table.users.get_mut(&user) {
            *known = (*known).max(ends);
            return true;
        }
        let more = cost(&user);
        let fits = table.bytes + more <= MOST_BYTES && self.of_all.load(Ordering::Relaxed) + more <= most;
        if fits {
            table.bytes += more;
            self.of_all.fetch_add(more, Ordering::Relaxed);
            table.users.insert(user, ends);
        }
        fits
    }

    /// Whether the edge may act for a user.
    pub(super) fn has(&self, user: &str, now: UnixMillis) -> bool {
        self.lock().users.get(user).is_some_and(|ends| *ends > now)
    }

    /// The keys of tokens have changed: users whose tokens are not shown again count for [`AGAIN`] yet.
    pub(super) fn doubt(&self, now: UnixMillis) {
        self.lock().users.values_mut().for_each(|ends| *ends = (*ends).min(now.saturating_add(AGAIN)));
    }

    /// Lets go of users that do not count any more, now and then. They are returned.
    pub(super) fn sweep(&self, now: UnixMillis) -> HashSet<Arc<str>> {
        let mut table = self.lock();
        if now.abs_diff(table.swept) < SWEEP_EVERY {
            return HashSet::new();
        }
        table.swept = now;
        self.remove_ended(&mut table, now)
    }
}

impl Drop for VouchedUsers {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.of_all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX / 2;

    #[test]
    fn a_user_counts_for_as_long_as_its_token() {
        let users = VouchedUsers::default();
        assert!(!users.has("ann", 0));
        assert!(users.put("ann".into(), Some(1_000), ALL) && users.put("bob".into(), None, ALL));
        assert!(users.has("ann", 1_000 + GRACE - 1) && !users.has("ann", 1_000 + GRACE));
        assert!(users.put("ann".into(), Some(5_000), ALL) && users.put("ann".into(), Some(2_000), ALL));
        assert!(users.has("ann", 5_000 + GRACE - 1), "an older token takes nothing away");
        assert!(users.has("bob", UnixMillis::MAX - 1));
        assert!(users.sweep(SWEEP_EVERY + 1).is_empty() && users.sweep(5_000 + GRACE).is_empty(), "not so soon");
        assert_eq!(users.sweep(GRACE + 2 * SWEEP_EVERY), HashSet::from(["ann".into()]));
        assert!(users.has("bob", 0) && !users.has("ann", 0));
    }

    #[test]
    fn with_other_keys_tokens_are_to_be_shown_again() {
        let users = VouchedUsers::default();
        assert!(users.put("ann".into(), None, ALL) && users.put("bob".into(), Some(1), ALL));
        users.doubt(100_000);
        assert!(users.has("ann", 100_000 + AGAIN - 1) && !users.has("ann", 100_000 + AGAIN));
        assert!(!users.has("bob", 100_000));
        assert!(users.put("ann".into(), Some(500_000), ALL) && users.has("ann", 500_000));
    }

    #[test]
    fn all_of_them_have_a_bound() {
        let of_all = Arc::new(AtomicUsize::new(0));
        let users = VouchedUsers::new(Arc::clone(&of_all));
        let name = |n: usize| format!("{n:0250}").into();
        let count = (0..).take_while(|n| users.put(name(*n), Some(1), ALL)).count();
        assert!((100_000..300_000).contains(&count), "{count}");
        assert!(users.put(name(0), Some(1), 0), "it is known");
        let other = VouchedUsers::new(Arc::clone(&of_all));
        assert!(!other.put("ann".into(), None, 2 * MOST_BYTES / 3), "the links together");
        assert!(other.put("ann".into(), None, 2 * MOST_BYTES));
        // Those that have ended make place.
        assert_eq!(users.sweep(2 * GRACE).len(), count);
        assert!(users.put("ann".into(), Some(1), ALL));
        drop((users, other));
        assert_eq!(of_all.load(Ordering::Relaxed), 0);
    }
}
