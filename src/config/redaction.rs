//! What may be shown of a URL: neither its login nor its query, which are where secrets stand.
//!
//! Pure. Works on text that need not be a URL, because errors show what could not be read as one.

/// `text` without what may be a login or a query of a URL: everything before its last `@`, but for the scheme, and everything
/// behind the `?` that follows a host or a path. Text without such characters is unchanged.
pub fn without_secrets(text: &str) -> String {
    // A login that was not encoded may hold any character, so that only the last `@` is certain to end it.
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['@', '?']) => (&text[..scheme.len() + 3], rest),
        _ => ("", text),
    };
    let (hidden, shown) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("…@", host));
    let query = shown.find(['?', '#']).filter(|at| !scheme.is_empty() || shown[..*at].contains(['/', '.']));
    match query {
        Some(at) => format!("{scheme}{hidden}{}?…", &shown[..at]),
        None => format!("{scheme}{hidden}{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_and_a_query_are_hidden_wherever_they_stand() {
        for (text, shown) in [
            ("https://user:s3cret@a.example/b", "https://…@a.example/b"),
            ("https://s3cret@a.example", "https://…@a.example"),
            ("https://user:s3c/r?e#t@x@a.example:8443/b?key=s3cret", "https://…@a.example:8443/b?…"),
            ("https://a.example/b?key=s3cret", "https://a.example/b?…"),
            ("https://a.example/b#s3cret", "https://a.example/b?…"),
            ("user:s3cret@a.example/b", "…@a.example/b"),
            ("s3cret@a.example", "…@a.example"),
            ("https:/user:s3cret@a.example", "…@a.example"),
            ("//user:s3cret@a.example", "…@a.example"),
            ("s3cret@https://a.example", "…@https://a.example"),
            ("a.example/b?key=s3cret", "a.example/b?…"),
            ("https://user:s3cret@a.example,https://user:s3cret@b.example", "https://…@b.example"),
            ("https://user:s3cret@a b", "https://…@a b"),
            ("https://user:s3cret@", "https://…@"),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }

    #[test]
    fn other_text_is_unchanged() {
        for text in ["", "https://a.example/b", "trip:*", "what?", "3s", "[::1]:8443", "/keys", "a,b", "grüße"] {
            assert_eq!(without_secrets(text), text);
        }
    }
}
