//! Secrets, and what may be shown of them.

use super::*;

#[test]
fn secrets_are_not_repeated() {
    let error =
        merged(&[("api_keys", "hunter2 ")], &[("ROOMCAST_API_KEY", "hunter2\u{7}")], "api_keys = ['hunter\t2']");
    let error = error.expect_err("keys that no header can carry");
    assert_eq!(error.lines().count(), 2, "white space around a list's items is not part of them: {error}");
    assert!(!error.contains("hunter"), "{error}");
    assert!(error.starts_with("rc.toml:1: api_keys: it has white space"), "{error}");
    assert!(error.contains("\nROOMCAST_API_KEY: it has white space"), "{error}");
}

#[test]
fn a_short_secret_is_refused_unless_it_is_asked_for() {
    let file = "[tokens]\nhmac_secrets = ['${JWT_SECRET:-long-enough-long-enough-long-enough}']";
    let short = [("JWT_SECRET", "hunter2")];
    let error = merged(&[], &short, file).expect_err("7 bytes");
    assert!(
        error.starts_with("rc.toml:2: tokens.hmac_secrets: it has 7 bytes, and HS256 needs at least 32"),
        "{error}"
    );
    assert!(
        error.contains("`tokens.short_secrets = true`") && error.ends_with("; it comes from JWT_SECRET"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    let flag = merged(&[("tokens.hmac_secrets", "hunter2")], &[], file).expect_err("7 bytes");
    assert!(flag.starts_with("--tokens-hmac-secrets: it has 7 bytes") && !flag.contains("comes from"), "{flag}");
    // Which layer asks for it is no matter, nor in which order.
    for (flags, variable, switch) in [
        (&[("tokens.short_secrets", "true")][..], None, ""),
        (&[], Some(("ROOMCAST_TOKENS_SHORT_SECRETS", "true")), ""),
        (&[], None, "\nshort_secrets = true"),
    ] {
        let variables: Vec<_> = short.into_iter().chain(variable).collect();
        let merged = merged(flags, &variables, &format!("{file}{switch}")).expect("asked for");
        assert_eq!(merged.settings.tokens.hmac_secrets[0].reveal(), "hunter2");
    }
    assert!(merged(&[("tokens.short_secrets", "false")], &short, &format!("{file}\nshort_secrets = true")).is_err());
    assert!(merged(&[], &[], file).is_ok());
}

#[test]
fn no_url_shows_a_login_or_a_query() {
    // An error in a table of pointers names the pointer, which no URL is.
    for key in keys().into_iter().filter(|key| !key.allowed.contains("pointer")) {
        let path = key.path();
        let is_url = key.kind.contains("URL") || key.kind.contains("Redis address") || key.kind.contains("origin");
        let texts = [
            "https://ann:s3cret@a.example/b?key=s3cret#s3cret",
            "ann:s3cret@a.example:99999",
            "https://ann:s3c/r?et@a.example",
            "https://ann:s3cret@a.example/b",
            "https://s3cret@a.example/b",
            "https://a.example/b?key=s3cret",
            "ftp://ann:s3cret@a.example",
            "//ann:s3cret@a.example/b?key=s3cret",
            "https://ann:s3cret@a b",
            "redis://ann:s3cret@a.example:1",
            "redis://s3cret@a.example:1",
            "redis://ann:s3cret@a.example:1/x",
            "redis://ann:x?s3cret@a.example:1",
            "redis-sentinel://ann:s3cret@a.example:1?sentinelPassword=s3cret",
            "redis-sentinel://a.example:1?sentinelServiceName=m&sentinelPassword=s3cret&sentinelUsername=s3cret",
        ];
        // Only a key that takes URLs takes them apart. The others quote what they were given.
        for text in &texts[..if is_url { texts.len() } else { 3 }] {
            let shown = match merged(&[(&path, text)], &[], "") {
                Ok(merged) if is_url => merged.settings.get(&path).expect("it was set"),
                Ok(_) => continue,
                Err(error) => error,
            };
            assert!(!shown.contains("s3cret") && !shown.contains("ann:"), "{path} = {text}: {shown}");
        }
    }
    let list = refusal("origins = ['https://ann:s3cret@a.example', 'https://b.example/?s3cret']");
    assert!(
        list.contains("origins = [\"https://…@a.example\", \"https://b.example/?…\"]: it is not an origin"),
        "{list}"
    );
}
