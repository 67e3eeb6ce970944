//! `{"*": "{data}", …}`: which members an object has, and their text.
//!
//! Pure. Always holds: a member that may be lacking and is `null` or an empty text is lacking.

use std::borrow::Cow;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json_text::comma;
use crate::dialect::Lacking;

/// Copies the members of an object as they are written, and notes which of those that it may lack it has.
pub(super) fn copy_members(object: &[u8], lacking: &[Lacking], has: &mut [bool], out: &mut Vec<u8>) {
    let inside = std::str::from_utf8(object).ok().and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
    if let Some(inside) = inside.map(str::trim_ascii).filter(|inside| !inside.is_empty()) {
        let mut empty = false;
        // It is JSON: it was checked where it came in.
        let _ = each_member(object, |name, value| {
            let Some(at) = place_of(name, lacking) else { return };
            match is_empty(value) {
                true => empty = true,
                false => has[at] = true,
            }
        });
        if !empty {
            return out.extend_from_slice(inside.as_bytes());
        }
        let _ = each_member(object, |name, value| {
            if !is_empty(value) || place_of(name, lacking).is_none() {
                comma(out);
                out.extend_from_slice(name.get().as_bytes());
                out.push(b':');
                out.extend_from_slice(value.get().as_bytes());
            }
        });
    }
}

fn is_empty(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "\"\"")
}

/// Which of those that may be lacking has this name.
fn place_of(name: &RawValue, lacking: &[Lacking]) -> Option<usize> {
    let name: Cow<'_, str> = serde_json::from_str(name.get()).ok()?;
    lacking.iter().position(|lacking| *lacking.name == *name)
}

/// Hands over each member of an object, as it is written.
fn each_member(object: &[u8], take: impl FnMut(&RawValue, &RawValue)) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_slice(object).deserialize_map(Members(take))
}

struct Members<F>(F);

impl<'de, F: FnMut(&RawValue, &RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some((name, value)) = members.next_entry::<&'de RawValue, &'de RawValue>()? {
            (self.0)(name, value);
        }
        Ok(())
    }
}
