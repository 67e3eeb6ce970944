//! The places that this pod's connections hold, and when Redis is told of each again. Never talks to Redis: `fleet_places` does.
//!
//! No I/O, no clock. Always holds: a place that Redis may not have is written soon, any other one once in [`EVERY`]; what is owed to
//! Redis is bounded.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    broker::{PlaceClaim, PlaceVerdict, place_table::PlaceTable},
    model::PlaceLimit,
};

/// How long a place counts of which its pod does not speak.
pub(super) const PLACE_TTL: Duration = Duration::from_secs(3_600);

/// How often a pod speaks of each place.
const EVERY: Duration = Duration::from_secs(900);

/// When what Redis may not have is written again.
const SOON: Duration = Duration::from_secs(1);

/// The most places that are owed back. Further ones count until [`PLACE_TTL`] is over.
const MOST_OWED: usize = 65_536;

#[derive(Debug)]
struct OwnPlace {
    user: Arc<str>,
    taken: Instant,
    due: Instant,
}

#[derive(Debug, Default)]
struct PlaceBooks {
    table: PlaceTable,
    held: HashMap<u64, OwnPlace>,
    /// All that are held, by when they are written next.
    due: BTreeSet<(Instant, u64)>,
    /// What Redis could not be told that it is given back.
    owed: VecDeque<PlaceClaim>,
    owed_due: Option<Instant>,
}

/// What Redis is to be told.
#[derive(Debug, Default)]
pub(super) struct DuePlaces {
    /// These are held, for so long.
    pub(super) held: Vec<(PlaceClaim, Duration)>,
    /// These are not.
    pub(super) given_back: Vec<PlaceClaim>,
}

/// The places of this pod.
#[derive(Debug, Default)]
pub(super) struct OwnPlaces {
    inner: Mutex<PlaceBooks>,
    /// Notified when something is due sooner than before.
    pub(super) sooner: Notify,
}

impl PlaceBooks {
    fn hold(&mut self, claim: &PlaceClaim, now: Instant, due: Instant) {
        self.table.put(claim);
        let taken = self.forget(claim.connection).map_or(now, |place| place.taken);
        self.due.insert((due, claim.connection));
        self.held.insert(claim.connection, OwnPlace { user: Arc::clone(&claim.user), taken, due });
    }

    fn forget(&mut self, connection: u64) -> Option<OwnPlace> {
        let place = self.held.remove(&connection)?;
        self.due.remove(&(place.due, connection));
        Some(place)
    }

    fn drop_place(&mut self, claim: &PlaceClaim) {
        self.table.give_back(claim);
        self.forget(claim.connection);
    }
}

impl OwnPlaces {
    fn lock(&self) -> MutexGuard<'_, PlaceBooks> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redis has this place.
    pub(super) fn hold(&self, claim: &PlaceClaim, now: Instant) {
        let mut books = self.lock();
        let was_idle = books.due.is_empty();
        books.hold(claim, now, now + EVERY);
        drop(books);
        if was_idle {
            self.sooner.notify_one();
        }
    }

    /// Judges a claim by this pod's own connections, because Redis cannot be asked.
    pub(super) fn judge(&self, claim: &PlaceClaim, limit: PlaceLimit, now: Instant) -> PlaceVerdict {
        let mut books = self.lock();
        let verdict = PlaceVerdict { alone: true, ..books.table.take(claim, limit) };
        if verdict.taken {
            books.hold(claim, now, now + SOON);
        }
        let displaced: Vec<_> = verdict.displaced.iter().map(|it| it.connection).collect();
        for connection in displaced {
            if let Some(place) = books.forget(connection) {
                owe(&mut books, PlaceClaim { user: place.user, connection }, now);
            }
        }
        if !verdict.taken {
            // The question that was not answered may have been carried out.
            owe(&mut books, claim.clone(), now);
        }
        drop(books);
        self.sooner.notify_one();
        verdict
    }

    /// A place is no longer this connection's.
    pub(super) fn lose(&self, claim: &PlaceClaim) {
        self.lock().drop_place(claim);
    }

    /// Redis could not be told that a place was given back.
    pub(super) fn owe(&self, claim: PlaceClaim, now: Instant) {
        owe(&mut self.lock(), claim, now);
        self.sooner.notify_one();
    }

    /// Redis may have lost every place, or given it away: all are written anew.
    pub(super) fn doubt_all(&self, now: Instant) {
        let mut books = self.lock();
        let books = &mut *books;
        books.due.clear();
        for (connection, place) in &mut books.held {
            place.due = now;
            books.due.insert((now, *connection));
        }
        self.sooner.notify_one();
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        let books = self.lock();
        let held = books.due.first().map(|(due, _)| *due);
        held.into_iter().chain(books.owed_due).min()
    }

    /// Takes at most `most` of what is due of each kind. What is held counts as written until [`OwnPlaces::failed`] says otherwise.
    pub(super) fn take_due(&self, most: usize, now: Instant) -> DuePlaces {
        let mut books = self.lock();
        let books = &mut *books;
        let mut due = DuePlaces::default();
        while due.held.len() < most
            && let Some((at, connection)) = books.due.first().copied()
            && at <= now
        {
            books.due.pop_first();
            let Some(place) = books.held.get_mut(&connection) else { continue };
            place.due = now + EVERY;
            books.due.insert((place.due, connection));
            let claim = PlaceClaim { user: Arc::clone(&place.user), connection };
            due.held.push((claim, now.duration_since(place.taken)));
        }
        if books.owed_due.is_some_and(|at| at <= now) {
            let portion = books.owed.len().min(most);
            due.given_back = books.owed.drain(..portion).collect();
            books.owed_due = (!books.owed.is_empty()).then_some(now);
        }
        due
    }

    /// Redis was told of a place that is held, or not; whether it is still held.
    pub(super) fn told(&self, claim: &PlaceClaim, written: bool, now: Instant) {
        let mut books = self.lock();
        if !books.table.has(claim) {
            // It was given back meanwhile, and may have been written after that.
            owe(&mut books, claim.clone(), now);
        } else if !written {
            books.hold(claim, now, now + SOON);
        }
    }
}

fn owe(books: &mut PlaceBooks, claim: PlaceClaim, now: Instant) {
    if books.owed.len() < MOST_OWED {
        books.owed.push_back(claim);
    }
    books.owed_due.get_or_insert(now + SOON);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::WhenFull;

    const LIMIT: PlaceLimit = PlaceLimit { connections: 1, when_full: WhenFull::CloseOldest };

    fn claim(user: &str, connection: u64) -> PlaceClaim {
        PlaceClaim { user: user.into(), connection }
    }

    /// The connections that are written as held, and those that are given back.
    fn due(places: &OwnPlaces, now: Instant) -> (Vec<u64>, Vec<u64>) {
        let DuePlaces { held, given_back } = places.take_due(100, now);
        (held.iter().map(|(it, _)| it.connection).collect(), given_back.iter().map(|it| it.connection).collect())
    }

    #[test]
    fn a_place_is_spoken_of_now_and_then_as_long_as_it_is_held() {
        let (places, began) = (OwnPlaces::default(), Instant::now());
        assert_eq!(places.next(), None);
        places.hold(&claim("ann", 1), began);
        places.hold(&claim("bob", 2), began + SOON);
        assert_eq!(places.next(), Some(began + EVERY));
        assert_eq!(due(&places, began + EVERY - SOON), (vec![], vec![]));
        let first = places.take_due(100, began + EVERY).held;
        assert_eq!((first[0].0.connection, first[0].1), (1, EVERY), "with its age");
        places.lose(&claim("ann", 1));
        assert_eq!(due(&places, began + 2 * EVERY), (vec![2], vec![]));
        assert_eq!(places.next(), Some(began + 3 * EVERY));
        places.doubt_all(began + 2 * EVERY + SOON);
        assert_eq!(due(&places, began + 2 * EVERY + SOON), (vec![2], vec![]));
    }

    #[test]
    fn what_this_pod_decides_alone_is_written_later() {
        let (places, began) = (OwnPlaces::default(), Instant::now());
        assert_eq!(
            places.judge(&claim("ann", 1), LIMIT, began),
            PlaceVerdict { taken: true, displaced: vec![], alone: true }
        );
        let second = places.judge(&claim("ann", 2), LIMIT, began);
        assert_eq!((second.taken, second.displaced[0].connection), (true, 1));
        let refusing = PlaceLimit { when_full: WhenFull::RefuseNewest, ..LIMIT };
        assert!(!places.judge(&claim("ann", 3), refusing, began).taken);
        assert_eq!(due(&places, began), (vec![], vec![]));
        assert_eq!(due(&places, began + SOON), (vec![2], vec![1, 3]));
        places.told(&claim("ann", 2), false, began + SOON);
        assert_eq!(places.next(), Some(began + 2 * SOON));
        assert_eq!(due(&places, began + 2 * SOON), (vec![2], vec![]));
        // Given back while it was being written.
        places.lose(&claim("ann", 2));
        places.told(&claim("ann", 2), true, began + 2 * SOON);
        assert_eq!(due(&places, began + 3 * SOON), (vec![], vec![2]));
        assert_eq!(places.next(), None);
    }

    #[test]
    fn what_is_owed_is_bounded_and_leaves_in_portions() {
        let (places, began) = (OwnPlaces::default(), Instant::now());
        for connection in 0..MOST_OWED as u64 + 10 {
            places.owe(claim("ann", connection), began);
        }
        let mut all = 0;
        while places.next().is_some() {
            let portion = places.take_due(4_096, began + SOON).given_back.len();
            assert!(portion <= 4_096);
            all += portion;
        }
        assert_eq!(all, MOST_OWED);
    }
}
