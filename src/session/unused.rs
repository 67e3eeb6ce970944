//! Engine.IO sessions that were opened and never used: counted for the TCP connection that opened them, and for the pod.
//!
//! Never ends a session. Always holds: a session counts until its first request, or until it ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many there are.
#[derive(Debug, Default)]
pub struct UnusedSessions(AtomicUsize);

/// One of them. Dropped when the session is used.
#[derive(Debug)]
pub struct UnusedSession([Arc<UnusedSessions>; 2]);

impl UnusedSessions {
    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl UnusedSession {
    /// One more, of both; `None`: one of the two has as many as its limit.
    #[must_use]
    pub fn begin(of: [(&Arc<UnusedSessions>, usize); 2]) -> Option<Self> {
        let this = Self(of.map(|(counted, _)| {
            counted.0.fetch_add(1, Relaxed);
            Arc::clone(counted)
        }));
        of.iter().all(|(counted, limit)| counted.count() <= *limit).then_some(this)
    }
}

impl Drop for UnusedSession {
    fn drop(&mut self) {
        for counted in &self.0 {
            counted.0.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_until_it_is_dropped() {
        let (own, pod) = (Arc::new(UnusedSessions::default()), Arc::new(UnusedSessions::default()));
        let begin = || UnusedSession::begin([(&own, 2), (&pod, 3)]);
        let (first, second) = (begin().unwrap(), begin().unwrap());
        assert!(begin().is_none() && own.count() == 2 && pod.count() == 2, "a refusal counts nothing");
        drop(first);
        let _third = begin().unwrap();
        let other = Arc::new(UnusedSessions::default());
        let _fourth = UnusedSession::begin([(&other, 2), (&pod, 3)]).unwrap();
        assert!(UnusedSession::begin([(&other, 2), (&pod, 3)]).is_none(), "the pod has as many as it may");
        drop(second);
        assert_eq!((own.count(), pod.count()), (1, 2));
    }
}
