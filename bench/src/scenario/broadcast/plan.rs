//! What each repetition of a broadcast run does.
//!
//! Always holds: every side of a run is measured by the same plan.

use crate::{content::Recipe, scenario::schedule::Schedule};

/// What each repetition does.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) schedule: Schedule,
    pub(super) recipe: Recipe,
    /// Whether receivers ask for compression.
    pub(super) deflate: bool,
    /// How many receivers each side has.
    pub(super) connections: usize,
}
