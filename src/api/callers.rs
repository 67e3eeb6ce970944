//! The connections to the internal listener: backends, probes, and other pods that ask for sessions of this one.
//!
//! Counts them, and the files that they take. Bounded: [`MOST_CALLERS`], and [`MOST_SESSIONS`] beside them; until it has asked for something a
//! connection has any of these places. Always holds: what clients have other pods ask takes neither the places nor the files that backends
//! and probes have of their own, and these take none of sessions once they have asked.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::transport::places::{SocketPlace, SocketPlaces};

/// The most connections of backends and probes; the excess is refused.
pub(super) const MOST_CALLERS: usize = 1_024;

/// So many more by which other pods ask for sessions of this one, where there are any: each poll waits in one.
const MOST_SESSIONS: usize = 16 * 1_024;

/// So many callers have files that nothing else takes. Those above them, and sessions, share the files of the public listeners.
const OWN_FILES: usize = 128;

/// The connections.
pub(super) struct Callers {
    /// Those that have asked for no session: newcomers, backends and probes.
    callers: AtomicUsize,
    /// Of these, those that have asked for something.
    backends: AtomicUsize,
    sessions: AtomicUsize,
    most_sessions: usize,
    files: Arc<SocketPlaces>,
}

/// One connection's place. Given back when it is dropped.
pub(super) struct Caller {
    all: Arc<Callers>,
    purpose: Cell<Purpose>,
    /// Its file among the public ones, if it needs one.
    file: RefCell<Option<SocketPlace>>,
}

/// What a connection has asked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Nothing,
    Api,
    Sessions,
}

impl Callers {
    /// None yet. `has_sessions`: whether other pods may ask for sessions of this one.
    pub(super) fn new(has_sessions: bool, files: &Arc<SocketPlaces>) -> Arc<Self> {
        let most_sessions = if has_sessions { MOST_SESSIONS } else { 0 };
        Arc::new(Self {
            callers: AtomicUsize::new(0),
            backends: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            most_sessions,
            files: Arc::clone(files),
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.callers.load(Relaxed) + self.sessions.load(Relaxed)
    }

    /// Takes one in. What it is for is not known yet. `None`: there is no place for it.
    pub(super) fn take(self: &Arc<Self>) -> Option<Caller> {
        let before = self.callers.fetch_add(1, Relaxed);
        let caller = Caller { all: Arc::clone(self), purpose: Cell::new(Purpose::Nothing), file: RefCell::default() };
        if before + self.sessions.load(Relaxed) >= MOST_CALLERS + self.most_sessions {
            return None;
        }
        if before >= OWN_FILES {
            *caller.file.borrow_mut() = Some(SocketPlaces::take(&self.files)?);
        }
        Some(caller)
    }
}

impl Caller {
    /// It asks for something that is no session: it is a backend or a probe. `false`: there is no place for it.
    pub(super) fn asks_the_api(&self) -> bool {
        if self.purpose.get() != Purpose::Nothing {
            return true;
        }
        if self.all.backends.fetch_add(1, Relaxed) >= MOST_CALLERS {
            self.all.backends.fetch_sub(1, Relaxed);
            return false;
        }
        self.purpose.set(Purpose::Api);
        true
    }

    /// It asks for a session of this pod: it is none of the backends and probes from now on. `false`: there is no place for it.
    pub(super) fn asks_for_session(&self) -> bool {
        if self.purpose.get() == Purpose::Sessions {
            return true;
        }
        if self.file.borrow().is_none() {
            let Some(file) = SocketPlaces::take(&self.all.files) else { return false };
            *self.file.borrow_mut() = Some(file);
        }
        if self.all.sessions.fetch_add(1, Relaxed) >= self.all.most_sessions {
            self.all.sessions.fetch_sub(1, Relaxed);
            return false;
        }
        self.all.callers.fetch_sub(1, Relaxed);
        if self.purpose.replace(Purpose::Sessions) == Purpose::Api {
            self.all.backends.fetch_sub(1, Relaxed);
        }
        true
    }

    /// Its file, for the socket that goes on as something else.
    pub(super) fn take_file(&self) -> Option<SocketPlace> {
        self.file.borrow_mut().take()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let purpose = self.purpose.get();
        let count = if purpose == Purpose::Sessions { &self.all.sessions } else { &self.all.callers };
        count.fetch_sub(1, Relaxed);
        if purpose == Purpose::Api {
            self.all.backends.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn files(open_files: u64) -> Arc<SocketPlaces> {
        Arc::new(SocketPlaces::of(open_files))
    }

    #[test]
    fn sessions_leave_probes_their_files() {
        let files = files(600);
        let callers = Callers::new(true, &files);
        let sessions: Vec<_> = (0..OWN_FILES + 20).map(|_| callers.take().unwrap()).collect();
        assert!(sessions.iter().all(Caller::asks_for_session));
        let clients: Vec<_> = std::iter::from_fn(|| SocketPlaces::take(&files)).collect();
        assert!(SocketPlaces::take(&files).is_none() && !clients.is_empty());
        let probes: Vec<_> = (0..OWN_FILES).map_while(|_| callers.take()).collect();
        assert_eq!(probes.len(), OWN_FILES, "whatever clients do");
        assert!(callers.take().is_none() && !probes[0].asks_for_session(), "no file is free");
        drop(sessions);
        assert!(callers.take().is_some() && callers.count() == OWN_FILES);
    }

    #[test]
    fn sessions_leave_backends_their_places() {
        let files = files(100_000);
        let callers = Callers::new(true, &files);
        let mut sessions: Vec<_> = (0..MOST_SESSIONS).map(|_| callers.take().unwrap()).collect();
        assert!(sessions.iter().all(Caller::asks_for_session) && sessions[0].asks_for_session());
        let backends: Vec<_> = std::iter::from_fn(|| callers.take()).collect();
        assert_eq!(backends.len(), MOST_CALLERS);
        assert!(!backends[0].asks_for_session(), "there are as many sessions as may be");
        sessions.clear();
        assert!(backends[0].asks_for_session() && callers.count() == MOST_CALLERS);
        drop(backends);
        assert_eq!((callers.count(), files.taken()), (0, 0));
    }

    #[test]
    fn backends_that_keep_their_connections_leave_sessions_their_places() {
        let callers = Callers::new(true, &files(100_000));
        let leaked: Vec<_> = (0..2 * MOST_CALLERS).map(|_| callers.take().unwrap()).collect();
        assert_eq!(leaked.iter().filter(|caller| caller.asks_the_api()).count(), MOST_CALLERS);
        assert!(leaked[0].asks_the_api() && !callers.take().unwrap().asks_the_api());
        assert!(callers.take().unwrap().asks_for_session());
        assert!(leaked[0].asks_for_session() && callers.take().unwrap().asks_the_api(), "one has become another pod's");
        drop(leaked);
        assert_eq!(callers.backends.load(Relaxed), 0);
    }

    #[test]
    fn a_pod_without_sessions_has_no_places_for_them() {
        let callers = Callers::new(false, &files(100_000));
        let backends: Vec<_> = std::iter::from_fn(|| callers.take()).collect();
        assert_eq!(backends.len(), MOST_CALLERS);
        assert!(!backends[0].asks_for_session());
    }

    #[test]
    fn a_file_goes_with_the_socket() {
        let files = files(600);
        let callers = Callers::new(true, &files);
        let caller = callers.take().unwrap();
        assert!(caller.asks_for_session());
        let file = caller.take_file().unwrap();
        drop(caller);
        assert_eq!((callers.count(), files.taken()), (0, 1));
        drop(file);
        assert_eq!(files.taken(), 0);
    }
}
