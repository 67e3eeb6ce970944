//! Halves of surrogate pairs in JSON. JavaScript cuts texts between the two, and its `JSON.stringify` then writes an escape that no UTF-8 can
//! say and strict parsers refuse.
//!
//! Pure. Owns the one rule for them: each half is U+FFFD. Never touches a whole pair, or anything else. Always holds: what was JSON still is.

use std::borrow::Cow;

/// JSON in which each half of a surrogate pair, which no UTF-8 can say, is U+FFFD: JavaScript cuts texts between the two, and its readers
/// do the same with what they get.
///
/// JSON without an escape that could be a half is looked through once, and borrowed.
#[must_use]
pub fn with_whole_pairs(json: &str) -> Cow<'_, str> {
    if !may_have_halves(json) {
        return Cow::Borrowed(json);
    }
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(next) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += next;
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str(json.get(copied..at).unwrap_or_default());
                out.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            (Some(_), _) => at += 6,
            // What stands behind a backslash may be longer than a byte only in what is no JSON.
            (None, _) => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Whether an escape of a surrogate may be in it: `\ud`, in either case. The backslash before it may be one that is escaped itself.
fn may_have_halves(json: &str) -> bool {
    json.split('\\').skip(1).any(|rest| rest.starts_with("ud") || rest.starts_with("uD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_replaced_and_nothing_else() {
        for (given, kept) in [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#""\uDE00 b\ud83d\ud83d\ude00\uD83D""#, r#""\ufffd b\ufffd\ud83d\ude00\ufffd""#),
            (r#""\ud83d\u0061""#, r#""\ufffd\u0061""#),
            (r#"{"\udfff":"é\ud83d"}"#, r#"{"\ufffd":"é\ufffd"}"#),
        ] {
            assert_eq!(with_whole_pairs(given), kept);
        }
        for whole in
            ["", "7", r#""\ud83d\ude00""#, r#""\\ud83d \"\u00e9\n\\""#, r#""\uD83D\uDE00 ud83d é""#, "\\u", "\\ud"]
        {
            assert!(matches!(with_whole_pairs(whole), Cow::Borrowed(same) if same == whole), "{whole}");
        }
    }
}
