//! From measured points to the size of a fleet, without I/O and without a clock: `points` (what was measured) → `fit` (least squares) →
//! `laws` (which law each curve follows) → `rollout` (where clients go meanwhile) → `load`, `plan` (how many pods) → `answer` (as a table).
//!
//! Never measures, never reads a file. Always holds: whatever is asked beyond what was measured is answered and said to be extrapolated.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod fit;
pub(crate) mod laws;
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod points;
pub(crate) mod rollout;
