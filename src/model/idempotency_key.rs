//! What makes a repeated publish one event: its publisher's key, and what tells a retry from another event under the same key.
//!
//! Pure. Always holds: pods of every build make the same fingerprint of the same event.

use std::fmt;

use aws_lc_rs::digest;
use base64::{display::Base64Display, engine::general_purpose::STANDARD_NO_PAD};

/// An idempotency key. A repeated publish of the same publisher with the same key in the same room is one event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdempotencyKey {
    text: Box<str>,
    side: PublisherSide,
    asked: Option<Fingerprint>,
}

/// On which side of the pod a publisher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublisherSide {
    /// The backend, by the API or by plain messages: all of it is one publisher.
    Backend,
    /// The clients: each user is a publisher, and all clients without a user are one.
    Clients,
}

impl IdempotencyKey {
    /// The key that a client gave.
    #[must_use]
    pub fn of_client(text: Box<str>) -> Self {
        Self { text, side: PublisherSide::Clients, asked: None }
    }

    /// A key of before, whose publisher asked for what has this fingerprint.
    #[must_use]
    pub fn again(text: Box<str>, side: PublisherSide, asked: Fingerprint) -> Self {
        Self { text, side, asked: Some(asked) }
    }

    /// The key as its publisher wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whose key it is.
    #[must_use]
    pub fn side(&self) -> PublisherSide {
        self.side
    }

    /// The key among all keys of its side: another user's is another key, whatever their texts are.
    #[must_use]
    pub fn name(&self, user: Option<&str>) -> String {
        let text = &self.text;
        match (self.side, user) {
            (PublisherSide::Backend, _) => text.to_string(),
            // The length keeps a user and a key from running together. A number begins with no dash.
            (PublisherSide::Clients, Some(user)) => format!("{}:{user} {text}", user.len()),
            (PublisherSide::Clients, None) => format!("- {text}"),
        }
    }

    /// What its publisher asked for, where another event is published instead.
    pub(super) fn asked(&self) -> Option<Fingerprint> {
        self.asked
    }

    /// Goes by what its publisher asked for from now on.
    pub(super) fn go_by(&mut self, asked: Fingerprint) {
        self.asked = Some(asked);
    }
}

impl From<Box<str>> for IdempotencyKey {
    /// A key of the backend.
    fn from(text: Box<str>) -> Self {
        Self { text, side: PublisherSide::Backend, asked: None }
    }
}

impl From<&str> for IdempotencyKey {
    fn from(text: &str) -> Self {
        Box::<str>::from(text).into()
    }
}

impl From<String> for IdempotencyKey {
    fn from(text: String) -> Self {
        text.into_boxed_str().into()
    }
}

/// A hash of an event's content, so that a retry is told from another event under the same key. Two events of one key have the
/// same by chance once in 2^48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint([u8; 6]);

impl Fingerprint {
    /// That of these parts, in this order. A part that is absent differs from an empty one.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in parts {
            // Its length and one keeps it apart from those beside it.
            let length = part.map_or(0, |part| part.len() as u64 + 1);
            hash.update(&length.to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        let mut print = Self([0; 6]);
        print.0.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        print
    }
}

impl Fingerprint {
    /// One that was kept.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// To be kept.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Base64Display::new(&self.0, &STANDARD_NO_PAD), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_of_different_publishers_are_apart() {
        let client = |text: &str, user| IdempotencyKey::of_client(text.into()).name(user);
        let names = [
            client("k", None),
            client("k", Some("ann")),
            client("k", Some("bob")),
            client(" k", Some("ann")),
            client("n k", Some("an")),
            client("3:ann k", None),
            client("k", Some("- ann")),
        ];
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
        assert_eq!(IdempotencyKey::from("k").name(Some("ann")), "k");
        assert_ne!(IdempotencyKey::from("k"), IdempotencyKey::of_client("k".into()));
    }

    #[test]
    fn fingerprints_are_what_pods_of_other_builds_make() {
        assert_eq!(Fingerprint::of([Some(&b"t"[..]), None]).to_string(), "04SXq891");
    }

    #[test]
    fn parts_do_not_run_together() {
        let of = |parts: [Option<&str>; 2]| Fingerprint::of(parts.map(|part| part.map(str::as_bytes)));
        let prints = [
            of([Some("ab"), Some("c")]),
            of([Some("a"), Some("bc")]),
            of([Some("abc"), None]),
            of([None, Some("abc")]),
            of([Some("abc"), Some("")]),
        ];
        let texts: HashSet<_> = prints.iter().map(Fingerprint::to_string).collect();
        assert!(texts.len() == prints.len() && texts.iter().all(|text| text.len() == 8), "{texts:?}");
    }
}
