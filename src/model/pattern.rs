//! Patterns on names: literal text, and `*` for any characters.

/// Whether `name` matches `pattern`, in which each `*` stands for any characters. Its cost is linear in the name for each star.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether a name matches one of some patterns. Without patterns every name matches.
#[must_use]
pub fn among(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", ""),
            ("*", "a:b"),
            ("trip:*", "trip:"),
            ("trip:*", "trip:7"),
            ("*:chat", "x:chat"),
            ("a*b*c", "a-b-b-c"),
            ("a**", "a"),
            ("*a*", "bab"),
            ("é*", "éa"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("", "a"),
            ("trip:*", "trip"),
            ("*:chat", "x:chats"),
            ("a*a", "a"),
            ("a*b*c", "a-c-b"),
            ("[ab]", "a"),
            ("?", "a"),
            ("TRIP:*", "trip:1"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        let patterns = ["*.updated".to_owned(), "poll.vote_*".to_owned()];
        assert!(among(&[], "x") && among(&patterns, "poll.vote_added") && !among(&patterns, "poll.created"));
    }
}
