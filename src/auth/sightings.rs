//! When tokens first named keys that are not known.
//!
//! No I/O, no clock. Always holds: a key is only missing for good if a fetch that began after its name was first seen has not brought it;
//! what is remembered is bounded, and what is not remembered counts as missing.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// The most names that are remembered.
const NAMES: usize = 1_024;

/// A name that was seen longer ago is as good as new: the key set may have it by now.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Names of unknown keys, each with the moment when it was first seen.
#[derive(Debug, Default)]
pub(super) struct Sightings(HashMap<Box<str>, Instant>);

impl Sightings {
    /// A token names an unknown key. When that name was first seen; `None`: too many others were.
    pub(super) fn see(&mut self, name: &str, now: Instant) -> Option<Instant> {
        let is_fresh = |seen: Instant| now.duration_since(seen) < REMEMBERED;
        if let Some(seen) = self.0.get(name).copied().filter(|seen| is_fresh(*seen)) {
            return Some(seen);
        }
        if self.0.len() >= NAMES {
            self.0.retain(|_, seen| is_fresh(*seen));
        }
        if self.0.len() >= NAMES {
            return None;
        }
        self.0.insert(name.into(), now);
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_seen_first_once_a_minute() {
        let (mut sightings, now) = (Sightings::default(), Instant::now());
        assert_eq!(sightings.see("a", now), Some(now));
        assert_eq!(sightings.see("a", now + REMEMBERED / 2), Some(now));
        assert_eq!(sightings.see("a", now + REMEMBERED), Some(now + REMEMBERED));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut sightings, now) = (Sightings::default(), Instant::now());
        for number in 0..NAMES {
            assert_eq!(sightings.see(&number.to_string(), now), Some(now));
        }
        assert_eq!(sightings.see("one more", now), None);
        assert_eq!(sightings.see("0", now), Some(now), "it is still remembered");
        let later = now + REMEMBERED;
        assert_eq!(sightings.see("one more", later), Some(later));
        assert_eq!(sightings.0.len(), 1);
    }
}
