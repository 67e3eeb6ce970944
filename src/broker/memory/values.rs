//! Values with an expiry in this process.
//!
//! Holds at most a share of the broker's bytes: a value beyond it is refused, and no other value is dropped for it. Always
//! holds: a value whose time is up is not there, swept or not.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use crate::{broker::BrokerError, model::UnixMillis};

/// The shortest time between two looks for values whose time is up, in milliseconds.
const EXPIRE_EVERY: u64 = 1_000;

/// What a value costs beside its bytes and its name: its place in the map.
const VALUE: usize = 128;

#[derive(Debug)]
struct StoredValue {
    value: Bytes,
    until: UnixMillis,
}

#[derive(Debug, Default)]
struct ValueTable {
    kept: HashMap<Box<str>, StoredValue>,
    bytes: usize,
    /// When it was last looked for values whose time is up.
    expired: UnixMillis,
}

/// The values of a pod without a fleet.
#[derive(Debug)]
pub(super) struct ExpiringValues {
    inner: Mutex<ValueTable>,
    limit: usize,
}

fn cost(name: &str, value: &Bytes) -> usize {
    VALUE + name.len() + value.len()
}

impl ValueTable {
    fn get(&self, name: &str, now: UnixMillis) -> Option<&Bytes> {
        self.kept.get(name).filter(|kept| now < kept.until).map(|kept| &kept.value)
    }

    fn remove(&mut self, name: &str) -> Option<StoredValue> {
        let kept = self.kept.remove(name)?;
        self.bytes -= cost(name, &kept.value);
        Some(kept)
    }

    fn expire(&mut self, now: UnixMillis) {
        self.expired = now;
        let bytes = &mut self.bytes;
        self.kept.retain(|name, kept| {
            let stays = now < kept.until;
            if !stays {
                *bytes -= cost(name, &kept.value);
            }
            stays
        });
    }

    /// What is held beside the value of this name.
    fn bytes_beside(&self, name: &str) -> usize {
        self.bytes - self.kept.get(name).map_or(0, |kept| cost(name, &kept.value))
    }

    /// `false`: it does not fit, and what was there is still there.
    fn set(&mut self, name: &str, value: Bytes, until: UnixMillis, now: UnixMillis, limit: usize) -> bool {
        let cost = cost(name, &value);
        let is_full = self.bytes_beside(name) + cost > limit;
        // To look through a full table costs the more the more it holds.
        if is_full && now >= self.expired.saturating_add(EXPIRE_EVERY) {
            self.expire(now);
        }
        let fits = self.bytes_beside(name) + cost <= limit;
        if fits {
            self.remove(name);
            self.bytes += cost;
            self.kept.insert(name.into(), StoredValue { value, until });
        }
        fits
    }
}

impl ExpiringValues {
    pub(super) fn new(limit: usize) -> Self {
        Self { inner: Mutex::default(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, ValueTable> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(
        &self,
        inner: &mut ValueTable,
        name: &str,
        value: Bytes,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<(), BrokerError> {
        let until = now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        if inner.set(name, value, until, now, self.limit) {
            return Ok(());
        }
        Err(BrokerError::Unavailable(format!("its memory of {} bytes for values is full", self.limit)))
    }

    pub(super) fn set(&self, name: &str, value: Bytes, ttl: Duration, now: UnixMillis) -> Result<(), BrokerError> {
        self.keep(&mut self.lock(), name, value, ttl, now)
    }

    pub(super) fn get(&self, name: &str, now: UnixMillis) -> Option<Bytes> {
        self.lock().get(name, now).cloned()
    }

    pub(super) fn take(&self, name: &str, now: UnixMillis) -> Option<Bytes> {
        self.lock().remove(name).filter(|kept| now < kept.until).map(|kept| kept.value)
    }

    pub(super) fn claim(
        &self,
        name: &str,
        value: Bytes,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<Option<Bytes>, BrokerError> {
        let mut inner = self.lock();
        if let Some(held) = inner.get(name, now).filter(|held| **held != value) {
            return Ok(Some(held.clone()));
        }
        self.keep(&mut inner, name, value, ttl, now)?;
        Ok(None)
    }

    /// Keeps a value in the place of another; an empty one is not kept. `false`: another one is there by now.
    pub(super) fn replace(
        &self,
        name: &str,
        was: Option<&Bytes>,
        becomes: Bytes,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<bool, BrokerError> {
        let mut inner = self.lock();
        if inner.get(name, now) != was {
            return Ok(false);
        }
        if becomes.is_empty() {
            inner.remove(name);
            return Ok(true);
        }
        self.keep(&mut inner, name, becomes, ttl, now).map(|()| true)
    }

    /// Keeps a value for its whole time again, if half of it is over.
    pub(super) fn renew(&self, name: &str, ttl: Duration, now: UnixMillis) {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        if let Some(kept) = inner.kept.get_mut(name).filter(|kept| now < kept.until && kept.until - now < ttl / 2) {
            kept.until = now.saturating_add(ttl);
        }
    }

    /// Drops the values whose time is up.
    pub(super) fn sweep(&self, now: UnixMillis) {
        self.lock().expire(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_over_makes_place() {
        let values = ExpiringValues::new(2 * cost("a", &Bytes::from_static(b"12345678")));
        let set = |name: &str, now| values.set(name, Bytes::from_static(b"12345678"), Duration::from_millis(10), now);
        assert_eq!((set("a", 0), set("b", 5)), (Ok(()), Ok(())));
        let full = |result| matches!(result, Err(BrokerError::Unavailable(_)));
        assert!(full(set("c", EXPIRE_EVERY - 1)), "the table is not looked through for each");
        assert_eq!(set("b", EXPIRE_EVERY - 1), Ok(()), "a value takes its own place");
        assert_eq!((set("c", EXPIRE_EVERY), values.get("a", EXPIRE_EVERY)), (Ok(()), None));
        values.sweep(EXPIRE_EVERY + 20);
        let inner = values.lock();
        assert!(inner.kept.is_empty() && inner.bytes == 0);
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let (old, long) = (Bytes::from_static(b"old"), Bytes::from_static(b"longer than there is place for"));
        let values = ExpiringValues::new(cost("a", &old));
        let ttl = Duration::from_millis(10);
        assert_eq!(values.replace("a", None, old.clone(), ttl, 0), Ok(true));
        assert!(values.replace("a", Some(&old), long.clone(), ttl, 1).is_err());
        assert!(values.set("a", long, ttl, 1).is_err());
        assert_eq!(values.get("a", 9), Some(old));
    }

    #[test]
    fn a_value_is_renewed_in_its_second_half() {
        let values = ExpiringValues::new(1_000);
        let ttl = Duration::from_millis(100);
        assert_eq!(values.set("a", Bytes::from_static(b"x"), ttl, 0), Ok(()));
        values.renew("a", ttl, 40);
        assert_eq!(values.get("a", 100), None, "the time is told no more exactly than that");
        assert_eq!(values.set("a", Bytes::from_static(b"x"), ttl, 0), Ok(()));
        values.renew("a", ttl, 60);
        assert!(values.get("a", 159).is_some() && values.get("a", 160).is_none());
        values.renew("a", ttl, 160);
        assert_eq!(values.get("a", 161), None, "what is over stays so");
    }
}
