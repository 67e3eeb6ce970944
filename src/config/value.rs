//! The kinds of value that a key can have: how each is read, written and described.
//!
//! Pure. A kind reads what any layer gives (the text of a flag or variable, a value of the file) and says what is wrong
//! with it. Never knows where the value was written: the caller adds that.

mod compound;
mod json;
mod kind;
mod scalar;

pub(crate) use compound::{List, Maybe, OrWord};
pub(crate) use json::{ConditionsKind, PointerKind, TemplateKind};
pub use kind::{GIB, KIB, MIB};
pub(crate) use kind::{Kind, MINUTES, SHORTEST, TextKind, quoted};
pub use scalar::duration;
pub(crate) use scalar::{Bytes, Choice, Count, File, Switch, Text, Time};

#[cfg(test)]
mod tests;
