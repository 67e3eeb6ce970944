//! `${VAR}`, `${VAR:-default}` and `${VAR:+if set}` inside the file's text values, as a shell has them; `$${` is a plain `${`.

use std::collections::HashMap;

/// Environment variables.
pub type Variables = HashMap<String, String>;

/// Fills in the variables. `used` learns their names.
///
/// # Errors
/// Which variable is missing, or where a `${` does not end.
pub(crate) fn interpolate(text: &str, variables: &Variables, used: &mut Vec<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let (inside, after) =
            after.split_once('}').ok_or("a `${` is not closed by `}`; write `$${` for a plain `${`")?;
        let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
        let (name, word) = inside.split_at(end);
        let (default, instead) = (word.strip_prefix(":-"), word.strip_prefix(":+"));
        if !is_name(name) || !(word.is_empty() || default.is_some() || instead.is_some()) {
            return Err(format!(
                "`${{{inside}}}` does not name a variable: write `${{NAME}}`, `${{NAME:-default}}` or `${{NAME:+if set}}`"
            ));
        }
        used.push(name.to_owned());
        if let Some(instead) = instead {
            if variables.get(name).is_some_and(|value| !value.is_empty()) {
                filled.push_str(instead);
            }
            rest = after;
            continue;
        }
        match (variables.get(name), default) {
            (Some(value), Some(default)) if value.is_empty() => filled.push_str(default),
            (Some(value), _) => filled.push_str(value),
            (None, Some(default)) => filled.push_str(default),
            (None, None) => {
                return Err(format!("the variable {name} is not set; set it, or write `${{{name}:-default}}`"));
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether a text is made of nothing but variables that may be unset, `${NAME:-}` or `${NAME:+word}`: such a text may come out empty, and
/// then nothing is meant to be set.
pub(crate) fn is_optional(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some((inside, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) else { return false };
        if !(inside.contains(":-") || inside.contains(":+")) {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

/// The variables without those that Kubernetes makes for a service of the namespace (`REDIS_PORT=tcp://10.96.0.5:6379` for one that is
/// called `redis`): a program that reads a number there goes on with its own.
pub(crate) fn without_service_links(variables: &Variables) -> Variables {
    let is_link = |name: &str, value: &str| {
        name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
    };
    let own = variables.iter().filter(|(name, value)| !is_link(name, value));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let variables = [("HOST", "example.com"), ("EMPTY", ""), ("CURLY", "${HOST}")];
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        interpolate(text, &variables, &mut Vec::new())
    }

    #[test]
    fn variables_are_filled_in_once() {
        for (text, expected) in [
            ("", ""),
            ("plain $HOST {}", "plain $HOST {}"),
            ("https://${HOST}", "https://example.com"),
            ("${HOST}${HOST:-x}", "example.comexample.com"),
            ("${NONE:-local}host", "localhost"),
            ("${EMPTY:-x}", "x"),
            ("[${EMPTY}]", "[]"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${HOST:+there}", "there"),
            ("[${EMPTY:+x}${NONE:+x}]", "[]"),
            ("${HOST:+a:-b}", "a:-b"),
            ("$${HOST} and ${HOST}", "${HOST} and example.com"),
            ("${CURLY}", "${HOST}"),
            ("é${HOST}é", "éexample.comé"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_text_is_optional_when_all_of_its_variables_are() {
        for (text, optional) in [
            ("${A:-}", true),
            ("${A:-}${A:+/path}", true),
            ("${A:-x}", true),
            ("", false),
            ("${A}", false),
            ("${A:-}${B}", false),
            ("x${A:-}", false),
            ("${A:-}x", false),
            ("$${A:-}", false),
            ("${A:-", false),
        ] {
            assert_eq!(is_optional(text), optional, "{text}");
        }
    }

    #[test]
    fn services_of_the_namespace_are_no_ports() {
        let variables = [
            ("REDIS_PORT", "tcp://10.96.0.5:6379"),
            ("GRPC_PORT", "udp://[fd00::7]:1"),
            ("HTTP_PORT", "3003"),
            ("REDIS_URL", "tcp://redis:6379"),
        ];
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut left: Vec<String> = without_service_links(&all).into_keys().collect();
        left.sort();
        assert_eq!(left, ["HTTP_PORT", "REDIS_URL"]);
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        assert_eq!(
            filled("${NONE}"),
            Err("the variable NONE is not set; set it, or write `${NONE:-default}`".to_owned())
        );
        assert_eq!(filled("a ${HOST"), Err("a `${` is not closed by `}`; write `$${` for a plain `${`".to_owned()));
        for bad in ["${}", "${1A}", "${A B}", "${A-b}", "${A:b}", "${:+b}", "${é}"] {
            let error = filled(bad).expect_err(bad);
            assert!(error.starts_with(&format!("`{bad}` does not name a variable")), "{error}");
        }
    }
}
