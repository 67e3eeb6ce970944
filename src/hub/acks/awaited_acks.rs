//! The backends that wait for acks of users.
//!
//! Always holds: it is bounded; an ack costs it no lock while no backend waits.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Those that wait for acks, by the user whose acks they are.
#[derive(Debug, Default)]
pub struct AwaitedAcks {
    waiting: AtomicUsize,
    users: Mutex<HashMap<Arc<str>, UserAwaited>>,
}

/// Those that wait for one user.
#[derive(Debug, Default)]
struct UserAwaited {
    waiting: usize,
    heard: Arc<Notify>,
}

impl AwaitedAcks {
    /// The most that wait at once.
    pub const MAX: usize = 512;

    /// A place for one that waits for acks of a user; `None`: there is none.
    pub(super) fn take(&self, user: &str) -> Option<WaitPlace<'_>> {
        // Counted first: an ack that the caller does not see in the book yet finds it here.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= Self::MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let user: Arc<str> = user.into();
        let mut users = self.users();
        let awaited = users.entry(Arc::clone(&user)).or_default();
        awaited.waiting += 1;
        let heard = Arc::clone(&awaited.heard);
        drop(users);
        Some(WaitPlace { all: self, user, heard })
    }

    /// Wakes those that wait for acks of a user.
    pub(super) fn hear(&self, user: &str) {
        if self.waiting.load(Ordering::Relaxed) > 0
            && let Some(awaited) = self.users().get(user)
        {
            awaited.heard.notify_waiters();
        }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Arc<str>, UserAwaited>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given back when it is dropped.
pub(super) struct WaitPlace<'a> {
    all: &'a AwaitedAcks,
    user: Arc<str>,
    /// Told when an ack of the user came to this pod.
    pub(super) heard: Arc<Notify>,
}

impl Drop for WaitPlace<'_> {
    fn drop(&mut self) {
        let mut users = self.all.users();
        if let Some(awaited) = users.get_mut(&self.user) {
            awaited.waiting -= 1;
            if awaited.waiting == 0 {
                users.remove(&self.user);
            }
        }
        drop(users);
        self.all.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn those_that_wait_are_bounded() {
        let awaited = AwaitedAcks::default();
        let mut places: Vec<_> = (0..AwaitedAcks::MAX).map_while(|_| awaited.take("ann")).collect();
        assert_eq!((places.len(), awaited.take("bob").is_none()), (AwaitedAcks::MAX, true));
        places.pop();
        assert!(awaited.take("bob").is_some());
        drop(places);
        assert!(awaited.users().is_empty());
    }

    #[test]
    fn an_ack_wakes_those_that_wait_for_its_user() {
        let awaited = AwaitedAcks::default();
        let [ann, bob] = ["ann", "bob"].map(|user| awaited.take(user));
        let (Some(ann), Some(bob)) = (ann, bob) else { panic!("there is room") };
        let (anns, bobs) = (ann.heard.notified(), bob.heard.notified());
        awaited.hear("ann");
        assert!(anns.now_or_never().is_some() && bobs.now_or_never().is_none());
    }
}
