//! An array of JSON values of which a reader takes only so many.
//!
//! Pure. Always holds: of an array of any length `MOST + 1` elements are held, so that its reader can tell that there are too many.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The first elements of an array, not looked at yet: `MOST`, and one more where there are more. The rest is checked and skipped.
#[derive(Debug)]
pub struct RawArray<'a, const MOST: usize>(pub Vec<&'a RawValue>);

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for RawArray<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<const MOST: usize>;
        impl<'de, const MOST: usize> Visitor<'de> for Elements<MOST> {
            type Value = RawArray<'de, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while elements.len() <= MOST {
                    match seq.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(RawArray(elements)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(RawArray(elements))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_allowed_is_held_and_all_is_checked() {
        let held = |json: &str| serde_json::from_str::<RawArray<'_, 2>>(json).map(|array| array.0.len());
        assert_eq!([held("[]").unwrap(), held("[1,{}]").unwrap(), held("[1,2,3]").unwrap()], [0, 2, 3]);
        assert_eq!(held(&format!("[{}1]", "1,".repeat(99))).unwrap(), 3);
        assert!(held("[1,2,3,4,x]").is_err() && held("[1,2,3,4").is_err() && held("{}").is_err());
    }
}
