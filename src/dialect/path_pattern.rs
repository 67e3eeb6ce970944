//! Patterns of paths: `/conversations/*/messages`, where each `*` stands for one segment.

/// What each `*` of a pattern stands for in a path, in order; `None`: the path does not fit.
#[must_use]
pub fn segments<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut stars, mut segments) = (Vec::new(), path.split('/'));
    for part in pattern.split('/') {
        match (part, segments.next()?) {
            ("*", "") => return None,
            ("*", segment) => stars.push(segment),
            (part, segment) if part == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(stars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_segment() {
        let pattern = "/c/*/m/*";
        assert_eq!(segments(pattern, "/c/7/m/x-1"), Some(vec!["7", "x-1"]));
        for other in ["/c/7/m", "/c//m/1", "/c/7/m/1/", "/d/7/m/1", "/c/7/8/m/1", ""] {
            assert_eq!(segments(pattern, other), None, "{other}");
        }
        assert_eq!(segments("/c", "/c"), Some(vec![]));
    }
}
