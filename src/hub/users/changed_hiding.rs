//! The users that hide or show, which the other pods are to be told.
//!
//! Always holds: however often a user hides and shows, it waits once, and no more than so many wait.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The users whose hiding has changed on this pod, and which the others were not told yet.
#[derive(Debug, Default)]
pub(super) struct ChangedHiding {
    users: Mutex<HashSet<Box<str>>>,
    activity: Notify,
}

impl ChangedHiding {
    /// The most users that wait.
    const MAX: usize = 10_000;

    /// The most users of one question.
    const A_QUESTION: usize = 500;

    fn lock(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A user's hiding may have changed.
    pub(super) fn add(&self, user: &str) {
        let mut users = self.lock();
        if users.len() < Self::MAX {
            users.insert(user.into());
        }
        drop(users);
        self.activity.notify_one();
    }

    /// Some of those that wait, which wait no more.
    fn take(&self) -> Vec<Box<str>> {
        let mut users = self.lock();
        let some: Vec<Box<str>> = users.iter().take(Self::A_QUESTION).cloned().collect();
        for user in &some {
            users.remove(user);
        }
        some
    }

    /// Some of them, once there are any.
    pub(super) async fn wait(&self) -> Vec<Box<str>> {
        loop {
            let users = self.take();
            if !users.is_empty() {
                return users;
            }
            self.activity.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_once_and_what_waits_is_bounded() {
        let hiding = ChangedHiding::default();
        for n in 0..ChangedHiding::MAX + 5 {
            hiding.add(&format!("user{n}"));
            hiding.add("user0");
        }
        let mut told = HashSet::new();
        loop {
            let some = hiding.take();
            assert!(some.len() <= ChangedHiding::A_QUESTION);
            if some.is_empty() {
                break;
            }
            told.extend(some);
        }
        assert_eq!(told.len(), ChangedHiding::MAX);
        hiding.add("user0");
        assert_eq!(hiding.take(), [Box::from("user0")]);
    }
}
