//! `{"*": "{data}", …}`: which members an object has, and their text.

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::dialect::Lacking;

/// Copies the members of an object as they are written, and notes which of those that it may lack it has.
pub(super) fn copy_members(object: &[u8], lacking: &[Lacking], has: &mut [bool], out: &mut Vec<u8>) {
    let inside = std::str::from_utf8(object).ok().and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
    if let Some(inside) = inside.map(str::trim_ascii).filter(|inside| !inside.is_empty()) {
        let mut parser = serde_json::Deserializer::from_slice(object);
        // It is JSON: it was checked where it came in.
        let _ = parser.deserialize_map(Has(lacking, has));
        out.extend_from_slice(inside.as_bytes());
    }
}

/// Notes which members an object has.
struct Has<'a>(&'a [Lacking], &'a mut [bool]);

impl<'de> Visitor<'de> for Has<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            members.next_value::<IgnoredAny>()?;
            for (lacking, has) in self.0.iter().zip(self.1.iter_mut()) {
                *has |= *lacking.name == *name;
            }
        }
        Ok(())
    }
}
