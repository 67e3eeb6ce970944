//! The connections to the internal listener: backends, probes, and other pods that ask for sessions of this one.
//!
//! Counts them, and the files that they take. Bounded: [`MOST_CALLERS`], and [`MOST_SESSIONS`] beside them; until it has asked for something a
//! connection has any of these places. Beside all of them [`MOST_PROBES`]. Always holds: what clients have other pods ask takes neither the
//! places nor the files that backends and probes have of their own, and these take none of sessions once they have asked; whatever backends
//! keep, a probe has a place.

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

/// So many more, where all of these are taken, for probes alone: a pod is not killed because its backends leak connections.
const MOST_PROBES: usize = 16;

/// So many callers have files that nothing else takes. Those above them, and sessions, share the files of the public listeners.
const OWN_FILES: usize = 128;

/// The connections.
pub(super) struct Callers {
    /// Those that have asked for no session: newcomers, backends and probes.
    callers: AtomicUsize,
    /// Of these, those that have asked for something.
    backends: AtomicUsize,
    sessions: AtomicUsize,
    /// Those that came when there was no other place.
    probes: AtomicUsize,
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
    /// Whatever it asks for: it may be a probe's, and nothing else.
    Probe,
}

impl Callers {
    /// None yet. `has_sessions`: whether other pods may ask for sessions of this one.
    pub(super) fn new(has_sessions: bool, files: &Arc<SocketPlaces>) -> Arc<Self> {
        let most_sessions = if has_sessions { MOST_SESSIONS } else { 0 };
        Arc::new(Self {
            callers: AtomicUsize::new(0),
            backends: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            most_sessions,
            files: Arc::clone(files),
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.callers.load(Relaxed) + self.sessions.load(Relaxed) + self.probes.load(Relaxed)
    }

    /// Takes one in. What it is for is not known yet. `None`: there is no place for it.
    pub(super) fn take(self: &Arc<Self>) -> Option<Caller> {
        self.take_for_any().or_else(|| self.take_for_probe())
    }

    fn caller(self: &Arc<Self>, purpose: Purpose) -> Caller {
        Caller { all: Arc::clone(self), purpose: Cell::new(purpose), file: RefCell::default() }
    }

    /// A place for what is not known yet.
    fn take_for_any(self: &Arc<Self>) -> Option<Caller> {
        let before = self.callers.fetch_add(1, Relaxed);
        let caller = self.caller(Purpose::Nothing);
        if before + self.sessions.load(Relaxed) >= MOST_CALLERS + self.most_sessions {
            return None;
        }
        if before >= OWN_FILES {
            *caller.file.borrow_mut() = Some(SocketPlaces::take(&self.files)?);
        }
        Some(caller)
    }

    /// A place for a probe, of whose file the public listeners know nothing.
    fn take_for_probe(self: &Arc<Self>) -> Option<Caller> {
        let before = self.probes.fetch_add(1, Relaxed);
        let caller = self.caller(Purpose::Probe);
        (before < MOST_PROBES).then_some(caller)
    }
}

impl Caller {
    /// It asks for something that is no session: it is a backend or a probe. `false`: there is no place for it.
    pub(super) fn asks_the_api(&self) -> bool {
        match self.purpose.get() {
            Purpose::Nothing => {}
            Purpose::Api | Purpose::Sessions => return true,
            Purpose::Probe => return false,
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
        match self.purpose.get() {
            Purpose::Nothing | Purpose::Api => {}
            Purpose::Sessions => return true,
            Purpose::Probe => return false,
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

    /// Whether it came when there was no place for anything but a probe.
    pub(super) fn is_for_probe(&self) -> bool {
        self.purpose.get() == Purpose::Probe
    }

    /// Its file, for the socket that goes on as something else.
    pub(super) fn take_file(&self) -> Option<SocketPlace> {
        self.file.borrow_mut().take()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let purpose = self.purpose.get();
        let count = match purpose {
            Purpose::Nothing | Purpose::Api => &self.all.callers,
            Purpose::Sessions => &self.all.sessions,
            Purpose::Probe => &self.all.probes,
        };
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
        assert!(callers.take_for_any().is_none() && !probes[0].asks_for_session(), "no file is free");
        drop(sessions);
        assert!(callers.take_for_any().is_some() && callers.count() == OWN_FILES);
    }

    #[test]
    fn sessions_leave_backends_their_places() {
        let files = files(100_000);
        let callers = Callers::new(true, &files);
        let mut sessions: Vec<_> = (0..MOST_SESSIONS).map(|_| callers.take().unwrap()).collect();
        assert!(sessions.iter().all(Caller::asks_for_session) && sessions[0].asks_for_session());
        let backends: Vec<_> = std::iter::from_fn(|| callers.take_for_any()).collect();
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
    fn probes_have_places_whatever_others_keep() {
        for (has_sessions, open_files) in [(false, 100_000), (true, 100_000), (false, 600)] {
            let callers = Callers::new(has_sessions, &files(open_files));
            let others: Vec<_> = std::iter::from_fn(|| callers.take_for_any()).collect();
            let probes: Vec<_> = std::iter::from_fn(|| callers.take()).collect();
            assert_eq!(probes.len(), MOST_PROBES);
            let asks = |probe: &Caller| probe.asks_the_api() || probe.asks_for_session() || !probe.is_for_probe();
            assert!(!probes.iter().any(asks), "it has a place for nothing else");
            assert_eq!(callers.count(), others.len() + MOST_PROBES);
            drop(probes);
            assert!(callers.take().is_some_and(|probe| probe.is_for_probe()));
            drop(others);
            assert!(callers.take().is_some_and(|caller| caller.asks_the_api()) && callers.count() == 0);
        }
    }

    #[test]
    fn a_pod_without_sessions_has_no_places_for_them() {
        let callers = Callers::new(false, &files(100_000));
        let backends: Vec<_> = std::iter::from_fn(|| callers.take_for_any()).collect();
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
