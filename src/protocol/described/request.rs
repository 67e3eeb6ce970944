//! What a described dialect takes from a connection's request and token.

use serde_json::value::RawValue;

use crate::{
    dialect::{Pointer, Source, Template, text_of},
    protocol::opening::Opening,
};

/// A template, filled from a connection's request; `None`: a placeholder has no text.
pub(super) fn filled(template: &Template, opening: &Opening<'_>) -> Option<String> {
    let filled = template.fill(|source, text| {
        match source {
            Source::Query(name) => text.push_str(&opening.query(name).unwrap_or_default()),
            Source::User => text.push_str(opening.grant.user().map_or("", |user| user)),
            Source::Claim(pointer) => {
                if let Some(value) = claim(opening, pointer) {
                    // A value without a text counts as none.
                    let _ = text_of(value, text);
                }
            }
            Source::Channel | Source::Matched(_) | Source::Value(_) => {}
        }
        Ok::<_, std::convert::Infallible>(true)
    });
    let Ok(filled) = filled;
    filled
}

/// A value of the claims of a connection's token, where they are kept.
pub(super) fn claim<'a>(opening: &Opening<'a>, pointer: &Pointer) -> Option<&'a RawValue> {
    let content = opening.grant.claims()?.content.as_deref()?;
    pointer.find(serde_json::from_str(content).ok()?).ok()?.filter(|value| value.get() != "null")
}
