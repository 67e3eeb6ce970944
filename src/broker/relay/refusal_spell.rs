//! A time in which an edge acts in vain in users' names: one line of the log where it begins, one where it ends. Without I/O.

use std::sync::{Mutex, PoisonError};

use crate::model::UnixMillis;

/// It is over once nothing was refused for so long (ms).
const QUIET: UnixMillis = 60_000;

struct OpenSpell {
    count: u64,
    last: UnixMillis,
}

/// Whether there is such a time now.
#[derive(Default)]
pub struct RefusalSpell(Mutex<Option<OpenSpell>>);

impl RefusalSpell {
    /// So many were refused. Whether it begins.
    pub fn note(&self, count: u64, now: UnixMillis) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = open.is_none();
        let all = open.as_ref().map_or(0, |open| open.count) + count;
        *open = Some(OpenSpell { count: all, last: now });
        begins
    }

    /// Ends it, if it is over: how many were refused in it.
    pub fn over(&self, now: UnixMillis) -> Option<u64> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.take_if(|open| now.saturating_sub(open.last) >= QUIET).map(|open| open.count)
    }

    /// Ends it, if there is one: how many were refused in it.
    pub(super) fn end(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(|open| open.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_and_ends_once() {
        let spell = RefusalSpell::default();
        assert_eq!((spell.over(QUIET), spell.end()), (None, None));
        assert!(spell.note(1, 1_000) && !spell.note(2, 2_000));
        assert_eq!(spell.over(2_000 + QUIET - 1), None);
        assert_eq!((spell.over(2_000 + QUIET), spell.over(9 * QUIET)), (Some(3), None));
        assert!(spell.note(1, 0));
        assert_eq!(spell.end(), Some(1));
    }
}
