//! Which members of an edge go, and why. Pure.
//!
//! Always holds: it is asked again of each member when its turn has come, so that one that came back meanwhile stays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// For how long the members of an edge without a link stay.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Why members of an edge go.
#[derive(Clone, Copy)]
pub(super) enum MemberDeparture<'a> {
    /// It has told all over this link, and has not named them in this round.
    Unnamed { link: u64 },
    /// Over this link, no good token of their users counts any more, as this says: they are hidden.
    Ended { link: u64, has_ended: &'a (dyn Fn(&str) -> bool + Sync) },
    /// It tells of them elsewhere, and not over this link any more.
    Elsewhere { link: u64 },
    /// Its link was lost, [`GRACE`] before this or longer.
    Lost(Instant),
}

impl MemberDeparture<'_> {
    /// Whether an edge is where this holds. `link`: over which it tells of its members; `lost`: since when over none.
    pub(super) fn is_now(&self, link: Option<u64>, lost: Option<Instant>) -> bool {
        match *self {
            Self::Unnamed { link: over } | Self::Ended { link: over, .. } | Self::Elsewhere { link: over } => {
                link == Some(over)
            }
            Self::Lost(now) => lost.is_some_and(|lost| now.duration_since(lost) >= GRACE),
        }
    }

    /// Whether a member goes that is shown, has this user, and was named in the one round; the other is the present one.
    pub(super) fn takes(&self, user: Option<&Arc<str>>, (named, round): (u64, u64)) -> bool {
        match *self {
            Self::Unnamed { .. } => named < round,
            Self::Ended { has_ended, .. } => user.is_some_and(|user| has_ended(user)),
            Self::Elsewhere { .. } | Self::Lost(_) => true,
        }
    }

    /// The same of one that is hidden.
    pub(super) fn takes_hidden(&self, rounds: (u64, u64)) -> bool {
        !self.hides() && self.takes(None, rounds)
    }

    /// Whether those that go are hidden, until a good token of their users counts.
    pub(super) fn hides(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    /// Whether all members of an edge go.
    pub(super) fn takes_all(&self) -> bool {
        matches!(self, Self::Elsewhere { .. } | Self::Lost(_))
    }
}
