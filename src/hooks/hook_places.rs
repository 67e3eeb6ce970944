//! Places for calls of the backend that are under way. Without I/O.
//!
//! Bounded. Always holds: a user that asks without end leaves places for others: of what is left it takes a quarter at most, and a few
//! whatever others do. Clients without a user are told apart by nothing here: an address may be that of a proxy.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many calls of one user may be under way as long as there is any place.
const FEW: usize = 8;

#[derive(Debug, Default)]
struct TakenPlaces {
    all: usize,
    of: HashMap<Arc<str>, usize>,
}

/// The places.
#[derive(Debug)]
pub(super) struct HookPlaces {
    most: usize,
    taken: Mutex<TakenPlaces>,
}

/// A call's place. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct HookPlace {
    places: Arc<HookPlaces>,
    user: Option<Arc<str>>,
}

impl HookPlaces {
    /// So many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, TakenPlaces> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a call of a user, if one is known. `None`: all are taken, or the user has its share.
    pub(super) fn take(self: &Arc<Self>, user: Option<&Arc<str>>) -> Option<HookPlace> {
        let mut taken = self.lock();
        if taken.all >= self.most {
            return None;
        }
        if let Some(user) = user {
            let own = taken.of.get(user).copied().unwrap_or(0);
            if own >= ((self.most - taken.all) / 4).max(FEW) {
                return None;
            }
            taken.of.insert(Arc::clone(user), own + 1);
        }
        taken.all += 1;
        Some(HookPlace { places: Arc::clone(self), user: user.cloned() })
    }
}

impl Drop for HookPlace {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        let Some(user) = &self.user else { return };
        if let Some(own) = taken.of.get_mut(user) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_asks_without_end_leaves_places_for_others() {
        let places = HookPlaces::new(256);
        let (eve, ann) = (Arc::from("eve"), Arc::from("ann"));
        let of_eve: Vec<_> = std::iter::from_fn(|| places.take(Some(&eve))).collect();
        assert_eq!(of_eve.len(), 51);
        let of_ann: Vec<_> = std::iter::from_fn(|| places.take(Some(&ann))).collect();
        assert!(of_ann.len() > FEW, "{}", of_ann.len());
        drop(of_eve);
        assert_eq!(places.lock().all, of_ann.len());
        drop(of_ann);
        assert!(places.lock().all == 0 && places.lock().of.is_empty());
    }

    #[test]
    fn all_places_are_taken_in_the_end_and_no_more() {
        let places = HookPlaces::new(256);
        let users: Vec<Arc<str>> = (0..1_000).map(|n| Arc::from(n.to_string())).collect();
        let taken: Vec<_> = users.iter().filter_map(|user| places.take(Some(user))).collect();
        assert_eq!((taken.len(), places.take(None).is_none()), (256, true));
        drop(taken);
        let taken: Vec<_> = std::iter::from_fn(|| places.take(None)).collect();
        assert_eq!(taken.len(), 256, "of clients without a user");
        let few = HookPlaces::new(2);
        let taken: Vec<_> = std::iter::from_fn(|| few.take(Some(&users[0]))).collect();
        assert_eq!(taken.len(), 2, "one alone may have them all");
    }
}
