//! The text of a message: JSON with placeholders in its strings, compiled to a flat list of steps.
//!
//! `{"type": "events", "at": "{now}", "for": "all of {room}"}`: a string that is one placeholder becomes the value itself,
//! whatever its type; a placeholder among other text becomes text. `"{key?}"` leaves its member or element out where the
//! field has no value. `{"*": "{data}", …}` begins with the members of an object, and adds those that the object lacks.
//! Always holds: what the steps write is JSON, without a line feed of the description's own.

mod compile;
mod step;

pub use step::{Clock, Field, Lacking, Piece, Placeholder, Step};

/// The text of a message, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate {
    steps: Vec<Step>,
}

impl MessageTemplate {
    /// Compiles a text whose placeholders may name the fields `may_name`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str, may_name: &[&str]) -> Result<Self, String> {
        Ok(Self { steps: compile::steps(text, may_name)? })
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether it writes an array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Bytes(bytes)) if bytes.starts_with(b"["))
    }

    /// Whether it names this field.
    #[must_use]
    pub fn names(&self, field: &Field) -> bool {
        self.any(&|named| named == field)
    }

    /// Whether it names a field for which `is` holds.
    pub(super) fn any(&self, is: &dyn Fn(&Field) -> bool) -> bool {
        fn in_steps(steps: &[Step], is: &dyn Fn(&Field) -> bool) -> bool {
            steps.iter().any(|step| match step {
                Step::Bytes(_) | Step::Comma => false,
                Step::Value(fields) | Step::Optional(_, fields) => fields.iter().any(is),
                Step::Text(pieces) => {
                    pieces.iter().any(|p| matches!(p, Piece::Placeholder(fields) if fields.iter().any(is)))
                }
                Step::Spread(fields, lacking) => {
                    fields.iter().any(is) || lacking.iter().any(|lacking| in_steps(&lacking.steps, is))
                }
            })
        }
        in_steps(&self.steps, is)
    }
}

#[cfg(test)]
mod tests;
