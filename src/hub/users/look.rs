//! A look at a user's record: what is known before, and what came of it.
//!
//! Pure.

use std::sync::Arc;

use crate::model::UnixMillis;

/// A look at a user's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) user: Arc<str>,
    /// Whether it is on this pod.
    pub(super) here: bool,
    /// When it was seen last, if it is not; `None`: it never was.
    pub(super) seen: Option<UnixMillis>,
    /// Whether the broker may name it among those that this pod looks after.
    pub(super) listed: bool,
    /// The pod that is gone, and when it was seen there last.
    pub(super) left: Option<(Arc<str>, UnixMillis)>,
    /// Whether the rate allows to tell something now.
    pub(super) may_tell: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookOutcome {
    /// The record says how it is, and that was told.
    Settled {
        /// Whether the broker names it among those that this pod looks after.
        listed: bool,
    },
    /// The record says how it is. That is to be told as soon as the rate allows.
    Owes,
    /// The broker did not do it.
    Failed,
}
