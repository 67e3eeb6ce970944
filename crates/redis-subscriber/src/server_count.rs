//! The server's own count of this connection's subscriptions (`CLIENT INFO`), compared with what stands.
//!
//! Finds what nothing else would: a subscription that the server forgot without a word. No I/O, no clock. Always holds: a count
//! is compared only if nothing was unsubscribed between question and answer.

use std::time::{Duration, Instant};

use crate::error::NodeError;

/// The time between counts.
const COUNT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CountState {
    Idle,
    Asked,
    /// Asked, and something was unsubscribed since.
    Stale,
    /// The server does not tell.
    Forbidden,
}

/// When the server is asked next, and whether its answer counts.
#[derive(Debug)]
pub(super) struct ServerCount {
    state: CountState,
    due: Instant,
}

impl ServerCount {
    /// The first count is due a while after `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { state: CountState::Idle, due: now + COUNT }
    }

    /// Whether `CLIENT INFO` is to be sent now.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if now < self.due || self.state == CountState::Forbidden {
            return false;
        }
        (self.state, self.due) = (CountState::Asked, now + COUNT);
        true
    }

    /// Something was unsubscribed: an answer that is under way counts no more.
    pub(super) fn distrust(&mut self) {
        if self.state == CountState::Asked {
            self.state = CountState::Stale;
        }
    }

    /// The server's ACL forbids the question.
    pub(super) fn forbid(&mut self) {
        self.state = CountState::Forbidden;
    }

    /// Compares an answer in plain text, which may be one to something else, with the number of subscriptions that stand.
    ///
    /// # Errors
    /// [`NodeError::Miscounted`].
    pub(super) fn compare(&mut self, text: &[u8], sharded: bool, ours: usize) -> Result<(), NodeError> {
        if !text.starts_with(b"id=") || matches!(self.state, CountState::Idle | CountState::Forbidden) {
            return Ok(());
        }
        let valid = self.state == CountState::Asked;
        self.state = CountState::Idle;
        let name = if sharded { "ssub=" } else { "sub=" };
        let text = String::from_utf8_lossy(text);
        let theirs = text.split_ascii_whitespace().find_map(|field| field.strip_prefix(name)?.parse().ok());
        match theirs {
            Some(theirs) if valid && theirs != ours => Err(NodeError::Miscounted { theirs, ours }),
            _ => Ok(()),
        }
    }
}
