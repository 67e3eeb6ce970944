//! What the operator decides: flags over environment over file over defaults.

mod policies;

pub use policies::Policies;
