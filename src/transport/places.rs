//! The files that sockets of the public listeners may take, counted from accept to close.
//!
//! Never says what a socket is for. Always holds: a place is given back with its socket, however that ends; what is not among the
//! places stays free for the internal listeners, for Redis and for the log.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The files that a pod keeps for itself: internal listeners, Redis, backends, certificates.
const OWN_FILES: u64 = 256;

/// The places of a pod.
#[derive(Debug)]
pub struct SocketPlaces {
    taken: AtomicUsize,
    limit: usize,
}

/// A socket's place. It goes where the socket goes.
#[derive(Debug)]
pub struct SocketPlace(Arc<SocketPlaces>);

impl SocketPlaces {
    /// The places that a limit of open files leaves.
    #[must_use]
    pub fn of(open_files: u64) -> Self {
        let limit = open_files - OWN_FILES.min(open_files / 2);
        Self { taken: AtomicUsize::new(0), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Takes a place, if one is free.
    #[must_use]
    pub fn take(this: &Arc<Self>) -> Option<SocketPlace> {
        let place = Self::take_over(this);
        (this.taken() <= this.limit).then_some(place)
    }

    /// Takes a place that is about to be given back: its holder is told to end.
    #[must_use]
    pub fn take_over(this: &Arc<Self>) -> SocketPlace {
        this.taken.fetch_add(1, Relaxed);
        SocketPlace(Arc::clone(this))
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// How many there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_leave_files_to_the_pod_itself() {
        for (open_files, limit) in [(4_096, 3_840), (600, 344), (100, 50), (0, 0)] {
            assert_eq!(SocketPlaces::of(open_files).limit(), limit, "{open_files}");
        }
    }

    #[test]
    fn a_place_comes_back_with_its_holder() {
        let places = Arc::new(SocketPlaces::of(4));
        let (first, second) = (SocketPlaces::take(&places).unwrap(), SocketPlaces::take(&places).unwrap());
        assert!(SocketPlaces::take(&places).is_none() && places.taken() == places.limit());
        assert_eq!(places.taken(), 2, "a refusal takes nothing");
        drop(first);
        assert!(places.taken() < places.limit());
        drop((second, SocketPlaces::take(&places)));
        assert_eq!(places.taken(), 0);
    }
}
