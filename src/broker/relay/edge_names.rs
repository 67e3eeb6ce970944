//! The names under which edges have links, and whose each is. Without I/O.
//!
//! A name is its first holder's: the key and the secret that the first link of that name showed. Always holds: no link of another holder has
//! the name while one of its holder's stands, nor for as long after it as the edge's members stay ([`GRACE`]). Bounded: the names of links
//! that stand, and [`MOST_FREE`] of those that do not any more, of which the one that has been free for longest goes first.

use std::{collections::HashMap, time::Instant};

use subtle::ConstantTimeEq;

use super::member_departure::GRACE;

/// The most names of which no link stands.
const MOST_FREE: usize = 4_096;

/// What a link shows that only its edge and its homes know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LinkHolder {
    /// The header with its key.
    pub(super) authorization: Vec<u8>,
    /// What the edge has drawn by lot at its start. Empty: it is of an older build.
    pub(super) secret: String,
}

impl LinkHolder {
    fn is(&self, other: &Self) -> bool {
        let same =
            self.authorization.ct_eq(&other.authorization) & self.secret.as_bytes().ct_eq(other.secret.as_bytes());
        same.into()
    }
}

struct HeldName {
    holder: LinkHolder,
    links: usize,
    /// Since when none of its links stands.
    free: Option<Instant>,
}

/// The names.
#[derive(Default)]
pub(super) struct EdgeNames(HashMap<String, HeldName>);

impl EdgeNames {
    /// A link takes a name. `false`: it is another holder's.
    pub(super) fn take(&mut self, pod: &str, holder: &LinkHolder, now: Instant) -> bool {
        self.forget(now);
        match self.0.get_mut(pod) {
            Some(held) if !held.holder.is(holder) => return false,
            Some(held) => (held.links, held.free) = (held.links + 1, None),
            None => {
                self.0.insert(pod.to_owned(), HeldName { holder: holder.clone(), links: 1, free: None });
            }
        }
        true
    }

    /// A link that had it has ended.
    pub(super) fn give(&mut self, pod: &str, now: Instant) {
        if let Some(held) = self.0.get_mut(pod) {
            held.links = held.links.saturating_sub(1);
            held.free = (held.links == 0).then_some(now);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, held| held.free.is_none_or(|free| now.duration_since(free) < GRACE));
        let free = |(pod, held): (&String, &HeldName)| Some((held.free?, pod.clone()));
        if self.0.values().filter(|held| held.free.is_some()).count() > MOST_FREE
            && let Some((_, oldest)) = self.0.iter().filter_map(free).min()
        {
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn holder(key: &str, secret: &str) -> LinkHolder {
        LinkHolder { authorization: key.into(), secret: secret.into() }
    }

    #[test]
    fn a_name_is_its_first_holders_until_its_members_are_gone() {
        let (mut names, now) = (EdgeNames::default(), Instant::now());
        let own = holder("key", "secret");
        assert!(names.take("e", &own, now));
        for other in [holder("key", "other"), holder("other", "secret"), holder("key", ""), holder("", "secret")] {
            assert!(!names.take("e", &other, now), "{other:?}");
        }
        // It comes back before its old link was seen to have ended.
        assert!(names.take("e", &own, now));
        names.give("e", now);
        let other = holder("key", "other");
        assert!(!names.take("e", &other, now + 2 * GRACE), "one of its links stands");
        names.give("e", now);
        assert!(!names.take("e", &other, now + GRACE - Duration::from_millis(1)));
        assert!(names.take("e", &other, now + GRACE));
        assert!(!names.take("e", &own, now + GRACE));
    }

    #[test]
    fn names_that_are_free_have_a_bound() {
        let (mut names, now, own) = (EdgeNames::default(), Instant::now(), holder("key", "secret"));
        assert!(names.take("stays", &own, now));
        for n in 0..MOST_FREE + 100 {
            let (name, now) = (n.to_string(), now + Duration::from_nanos(n as u64));
            assert!(names.take(&name, &own, now));
            names.give(&name, now);
        }
        assert!(names.0.len() <= MOST_FREE + 3, "{}", names.0.len());
        assert!(names.0.contains_key("stays") && !names.0.contains_key("0"));
    }
}
