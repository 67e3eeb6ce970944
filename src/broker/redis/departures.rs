//! Which pods have left: their leases are gone, or they said that they go.
//!
//! No I/O, no clock. Pods are numbers, as far as QUIC's connection IDs carry them. Always holds: a pod that no list named yet is not
//! taken for one that has gone until a list that was asked for later lacks it; what is remembered is bounded.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use roomcast_webtransport::pod_in_connection_ids;

/// How old the list may be when it is asked about a pod that it names: one that has died since is noticed so much later.
const FRESH: Duration = Duration::from_millis(250);

/// The most pods of each kind that are remembered. Only pods that had the fleet's keys can be asked about.
const MOST: usize = 4_096;

/// What is known of other pods' ends.
#[derive(Debug, Default)]
pub(super) struct Departures {
    live: HashSet<u64>,
    /// They said so. None takes that back: a pod that starts again is another one.
    announced: HashSet<u64>,
    /// They were in a list, or were asked about before one, and are not in it.
    gone: HashSet<u64>,
    /// They were asked about, and are in no list yet: since when.
    doubted: HashMap<u64, Instant>,
    listed_at: Option<Instant>,
    /// When a newer list was last wanted.
    wanted_at: Option<Instant>,
}

/// What is to be thought of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Departure {
    /// Whether it has left.
    pub(super) has_left: bool,
    /// Whether a newer list may tell more: it should be asked for now.
    pub(super) wants_list: bool,
}

impl Departures {
    /// Takes in a list of the pods whose lease runs and of those that said that they go, asked for at `asked`.
    pub(super) fn listed<'a>(
        &mut self,
        live: impl Iterator<Item = &'a String>,
        going: impl Iterator<Item = &'a String>,
        asked: Instant,
    ) {
        for set in [&mut self.gone, &mut self.announced] {
            if set.len() > MOST {
                set.clear();
            }
        }
        self.announced.extend(going.filter_map(|name| number_of(name)));
        if self.listed_at.is_some_and(|at| asked < at) {
            // A slow answer: a newer list is here.
            return;
        }
        let live: HashSet<u64> = live.filter_map(|name| number_of(name)).collect();
        let before = std::mem::replace(&mut self.live, live);
        self.gone.extend(before);
        let settled = self.doubted.extract_if(|_, since| *since <= asked);
        self.gone.extend(settled.map(|(pod, _)| pod));
        self.gone.retain(|pod| !self.live.contains(pod));
        self.doubted.retain(|pod, _| !self.live.contains(pod));
        self.listed_at = Some(asked);
    }

    /// Whether a pod has left. `trusted`: leases can be believed, because this pod could renew its own for a whole one.
    pub(super) fn of(&mut self, pod: u64, trusted: bool, now: Instant) -> Departure {
        if self.announced.contains(&pod) {
            return Departure { has_left: true, wants_list: false };
        }
        let has_left = self.gone.contains(&pod);
        if has_left && trusted {
            return Departure { has_left, wants_list: false };
        }
        if !has_left && !self.live.contains(&pod) && self.doubted.len() < MOST {
            self.doubted.entry(pod).or_insert(now);
        }
        let is_old = |at: &Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= FRESH);
        let wants_list = is_old(&self.wanted_at) && (is_old(&self.listed_at) || self.doubted.contains_key(&pod));
        if wants_list {
            self.wanted_at = Some(now);
        }
        Departure { has_left: false, wants_list }
    }
}

/// A pod's number, as far as connection IDs carry it. Other names are no pod's of this build.
fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name, 16).ok().map(pod_in_connection_ids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Fleet {
        departures: Departures,
        began: Instant,
    }

    impl Fleet {
        fn new() -> Self {
            Self { departures: Departures::default(), began: Instant::now() }
        }

        fn listed(&mut self, live: &[u64], going: &[u64], asked_ms: u32) {
            let names = |pods: &[u64]| pods.iter().map(|pod| format!("{pod:016x}")).collect::<Vec<_>>();
            self.departures.listed(names(live).iter(), names(going).iter(), self.began + asked_ms * MS);
        }

        /// Whether it has left, and whether a list is wanted.
        fn of(&mut self, pod: u64, now_ms: u32) -> (bool, bool) {
            let Departure { has_left, wants_list } = self.departures.of(pod, true, self.began + now_ms * MS);
            (has_left, wants_list)
        }
    }

    #[test]
    fn a_pod_that_was_there_and_is_not_has_left() {
        let mut fleet = Fleet::new();
        fleet.listed(&[1, 2], &[], 0);
        assert_eq!(fleet.of(1, 1), (false, false), "the list is new");
        assert_eq!(fleet.of(1, 300), (false, true), "it may have died since");
        assert_eq!(fleet.of(1, 301), (false, false), "a list is on its way");
        fleet.listed(&[2], &[], 302);
        assert_eq!((fleet.of(1, 303), fleet.of(2, 303)), ((true, false), (false, false)));
        let untrusted = fleet.departures.of(1, false, fleet.began + 303 * MS);
        assert!(!untrusted.has_left, "leases of an outage say nothing");
        fleet.listed(&[1, 2], &[], 400);
        assert!(!fleet.of(1, 401).0, "it was only late");
        fleet.listed(&[2], &[], 399);
        assert!(!fleet.of(1, 402).0, "that list is older, and came late");
    }

    #[test]
    fn a_pod_that_no_list_named_is_asked_about_first() {
        let mut fleet = Fleet::new();
        fleet.listed(&[2], &[], 0);
        assert_eq!(fleet.of(1, 10), (false, true), "it may have started since, whatever the list's age");
        fleet.listed(&[2], &[], 9);
        assert!(!fleet.of(1, 11).0, "this list was asked for before");
        fleet.listed(&[2], &[], 12);
        assert_eq!(fleet.of(1, 13), (true, false));
        assert_eq!(fleet.of(3, 300), (false, true));
        fleet.listed(&[2, 3], &[], 301);
        assert!(!fleet.of(3, 302).0, "it has started");
    }

    #[test]
    fn a_pod_that_says_so_has_left_whatever_the_leases_are() {
        let mut fleet = Fleet::new();
        fleet.listed(&[1, 2], &[1], 0);
        assert!(fleet.departures.of(1, false, fleet.began).has_left);
        fleet.listed(&[2], &[], 1);
        assert!(fleet.departures.of(1, false, fleet.began).has_left, "it does not come back");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut fleet = Fleet::new();
        for pod in 0..10_000 {
            fleet.of(pod, 0);
        }
        assert_eq!(fleet.departures.doubted.len(), MOST);
        for ms in 0..10 {
            let live: Vec<u64> = (0..1_000).map(|pod| u64::from(ms) * 1_000 + pod).collect();
            fleet.listed(&live, &live, ms);
        }
        let Departures { gone, announced, .. } = &fleet.departures;
        assert!(gone.len() <= 2 * MOST + 1_000 && announced.len() <= MOST + 1_000);
    }

    #[test]
    fn only_the_lowest_bits_of_a_name_count() {
        let mut fleet = Fleet::new();
        let names = ["ffff000000000001".to_owned(), "ghost".to_owned()];
        fleet.departures.listed([].iter(), names.iter(), fleet.began);
        assert!(fleet.of(1, 0).0);
    }
}
