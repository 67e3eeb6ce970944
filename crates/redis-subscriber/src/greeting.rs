//! HELLO, the first command of a connection, and what its answer says.

use crate::error::NodeError;

/// The arguments of HELLO. Not `Debug`: they contain a password.
pub(super) type Greeting = Vec<String>;

/// Whether a server of this version has sharded publish and subscribe: Redis since 7.0, and Valkey.
pub(super) fn has_sharded_pubsub(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 7)
}

/// Why HELLO was answered with an error. A server that does not know a command repeats its arguments, and those of HELLO have the password.
pub(super) fn refusal(error: &[u8]) -> NodeError {
    let text = String::from_utf8_lossy(error);
    let text = text.split(", with args").next().unwrap_or_default().to_owned();
    match text.split(' ').next() {
        Some("WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED") => NodeError::Login(text),
        Some("NOPROTO") => NodeError::Hello(text),
        _ if text.to_ascii_lowercase().contains("unknown command") => NodeError::Hello(text),
        _ if text.contains("AUTH") || text.contains("password") => NodeError::Login(text),
        _ => NodeError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_does_not_know_hello_is_called_too_old() {
        let of = |error: &str| refusal(error.as_bytes());
        for (error, shown) in [
            ("ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `s3cret`, ", "`HELLO`"),
            ("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'ann' 's3cret' ", "'HELLO'"),
        ] {
            assert_eq!(of(error), NodeError::Hello(format!("ERR unknown command {shown}")), "without the password");
        }
        let error = "NOPROTO unsupported protocol version";
        assert_eq!(of(error), NodeError::Hello(error.to_owned()));
        for error in ["WRONGPASS invalid username-password pair", "ERR Client sent AUTH, but no password is set"] {
            assert_eq!(of(error), NodeError::Login(error.to_owned()));
        }
        for error in ["ERR max number of clients reached", "LOADING Redis is loading the dataset in memory"] {
            assert_eq!(of(error), NodeError::Refused(error.to_owned()));
        }
    }

    #[test]
    fn redis_7_has_sharded_pubsub() {
        for (version, sharded) in
            [("7.0.0", true), ("8.1.3", true), ("10.0", true), ("6.9", false), ("", false), ("x", false)]
        {
            assert_eq!(has_sharded_pubsub(version), sharded, "{version}");
        }
    }
}
