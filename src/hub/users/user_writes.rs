//! What is being written under users' names in tasks of their own, so that erasing a user need not be followed by a write of before.
//!
//! Never writes. Always holds: a write that had not begun to reach the broker when its user was erased never does; one that had is waited
//! for. As many users are known as have a write under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The writes of one user.
#[derive(Debug, Default)]
struct OfUser {
    count: usize,
    /// The user was erased since the first of them began.
    is_void: bool,
}

/// The writes that are under way on a pod, by user.
#[derive(Debug, Default)]
pub struct UserWrites(Mutex<HashMap<Box<str>, OfUser>>);

impl UserWrites {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, OfUser>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write begins, and is under way for as long as there is what this returns.
    #[must_use]
    pub fn begin(self: &Arc<Self>, user: Option<&str>) -> UserWrite {
        if let Some(user) = user {
            self.lock().entry(user.into()).or_default().count += 1;
        }
        UserWrite { all: Arc::clone(self), user: user.map(Into::into) }
    }

    /// A user is erased: what is under way must not be written any more. Whether there is something that may be reaching the broker.
    #[must_use]
    pub fn make_void(&self, user: &str) -> bool {
        self.lock().get_mut(user).map(|of_user| of_user.is_void = true).is_some()
    }
}

/// A write that is under way.
#[derive(Debug)]
pub struct UserWrite {
    all: Arc<UserWrites>,
    user: Option<Box<str>>,
}

impl UserWrite {
    /// Whether its user was erased since it began: it is not to be carried out.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.user.as_ref().is_some_and(|user| self.all.lock().get(user).is_some_and(|of_user| of_user.is_void))
    }
}

impl Drop for UserWrite {
    fn drop(&mut self) {
        let Some(user) = &self.user else { return };
        let mut all = self.all.lock();
        if let Some(of_user) = all.get_mut(user) {
            of_user.count -= 1;
            if of_user.count == 0 {
                all.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_before_is_void_and_one_of_after_is_not() {
        let writes = Arc::new(UserWrites::default());
        let (first, other, anonymous) = (writes.begin(Some("ann")), writes.begin(Some("bob")), writes.begin(None));
        assert!(!first.is_void() && writes.make_void("ann"));
        let second = writes.begin(Some("ann"));
        assert!(first.is_void() && second.is_void(), "as long as one of before is under way");
        assert!(!other.is_void() && !anonymous.is_void());
        drop(first);
        assert!(writes.make_void("ann"));
        drop(second);
        assert!(!writes.make_void("ann"), "nothing can follow any more");
        assert!(!writes.begin(Some("ann")).is_void());
        drop(other);
        assert!(writes.lock().is_empty());
    }
}
