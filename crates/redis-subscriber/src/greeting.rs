//! HELLO, the first command of a connection, and what its answer says.

use crate::error::NodeError;

/// The arguments of HELLO. Not `Debug`: they contain a password.
pub(super) type Greeting = Vec<String>;

/// Whether a server of this version has sharded publish and subscribe: Redis since 7.0, and Valkey.
pub(super) fn has_sharded_pubsub(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 7)
}

/// Why HELLO was answered with an error.
pub(super) fn refusal(error: &[u8]) -> NodeError {
    let text = String::from_utf8_lossy(error).into_owned();
    match text.split(' ').next() {
        Some("WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED") => NodeError::Login(text),
        _ if text.contains("AUTH") || text.contains("password") => NodeError::Login(text),
        _ => NodeError::Hello(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_7_has_sharded_pubsub() {
        for (version, sharded) in
            [("7.0.0", true), ("8.1.3", true), ("10.0", true), ("6.9", false), ("", false), ("x", false)]
        {
            assert_eq!(has_sharded_pubsub(version), sharded, "{version}");
        }
    }
}
