//! Payloads at rest: sealed by AES-256-GCM-SIV (RFC 8452), which forgives a nonce that is drawn twice.
//!
//! Always holds: what is sealed names its key; it opens only as the payload of the row and the room that it was sealed for; keys are never
//! shown.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::model::Room;

/// The bytes of a key.
const KEY_BYTES: usize = 32;

/// The longest name of a key.
const MAX_NAME: usize = 64;

/// Why payloads cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A line of the file is no key.
    #[error(
        "line {0} is no key: it needs a name of letters, digits and any of `-_.`, a space, and 32 bytes as base64 (openssl rand -base64 32)"
    )]
    Line(usize),
    /// Two keys have one name.
    #[error("line {0} has the name of a key before it")]
    Twice(usize),
    /// The file has no key.
    #[error("it has no key: write a line of a name and 32 bytes as base64 (openssl rand -base64 32)")]
    Empty,
    /// A payload names a key that is not there.
    #[error("a payload is sealed by the key {0:?}, which is not in `archive.key_file`")]
    NoKey(String),
    /// A payload does not open.
    #[error("a payload does not open: it was changed, or is another row's")]
    Broken,
}

struct SealKey {
    name: Box<str>,
    key: LessSafeKey,
}

/// The keys. The first one seals, all of them open.
pub struct Seals(Vec<SealKey>);

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.name)).finish()
    }
}

impl Seals {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let bad = |error: std::io::Error| SealError::File { path: path.to_owned(), reason: error.to_string() };
        Self::parse(&fs::read_to_string(path).map_err(bad)?)
    }

    /// Reads the lines of a file: a name and a key each; empty ones and those with `#` before them are left out.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut keys: Vec<SealKey> = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let bad = || SealError::Line(at + 1);
            let (name, key) = line.trim().split_once(' ').ok_or_else(bad)?;
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
                return Err(bad());
            }
            if keys.iter().any(|key| *key.name == *name) {
                return Err(SealError::Twice(at + 1));
            }
            let bytes =
                BASE64_STANDARD.decode(key.trim()).ok().filter(|bytes| bytes.len() == KEY_BYTES).ok_or_else(bad)?;
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &bytes).map_err(|_| bad())?);
            keys.push(SealKey { name: name.into(), key });
        }
        if keys.is_empty() { Err(SealError::Empty) } else { Ok(Self(keys)) }
    }

    /// Seals a payload for a row of a room; with it, the name of the key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn seal(&self, room: &Room, id: &[u8], payload: &[u8]) -> Result<(Vec<u8>, &str), SealError> {
        let SealKey { name, key } = self.0.first().ok_or(SealError::Empty)?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Broken)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + payload.len() + AES_256_GCM_SIV.tag_len());
        sealed.extend_from_slice(payload);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound(room, id)), &mut sealed)
            .map_err(|_| SealError::Broken)?;
        sealed.splice(0..0, nonce);
        Ok((sealed, name))
    }

    /// Opens the payload of a row of a room.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, name: &str, room: &Room, id: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.0.iter().find(|key| *key.name == *name).ok_or_else(|| SealError::NoKey(name.to_owned()))?;
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Broken)?;
        let mut opened = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length =
            key.key.open_in_place(nonce, Aad::from(bound(room, id)), &mut opened).map_err(|_| SealError::Broken)?.len();
        opened.truncate(length);
        Ok(opened)
    }
}

/// What a sealed payload is bound to. An id has always the same length.
fn bound(room: &Room, id: &[u8]) -> Vec<u8> {
    [id, room.as_str().as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OLD: &str = "2026-01 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "2026-02 HxAeDx0OHA0bDBoLGQoYCRcIFgcVBhQFEwQSAxECEAE=";

    #[test]
    fn what_is_sealed_opens_in_its_own_row_only() {
        let (a, b) = (Room::parse("chat:1").unwrap(), Room::parse("chat:2").unwrap());
        let old = Seals::parse(&format!("# keys\n\n{OLD}\n")).unwrap();
        let (sealed, name) = old.seal(&a, &[1; 16], b"hello").unwrap();
        assert_eq!((name, sealed.len()), ("2026-01", 12 + 5 + 16));
        assert!(!sealed.windows(5).any(|part| part == b"hello"));
        assert_ne!(old.seal(&a, &[1; 16], b"hello").unwrap().0, sealed);
        let both = Seals::parse(&format!("{NEW}\n{OLD}")).unwrap();
        assert_eq!(both.seal(&a, &[1; 16], b"hello").unwrap().1, "2026-02");
        assert_eq!(both.open(name, &a, &[1; 16], &sealed).unwrap(), b"hello");
        assert_eq!(both.open(name, &b, &[1; 16], &sealed), Err(SealError::Broken));
        assert_eq!(both.open(name, &a, &[2; 16], &sealed), Err(SealError::Broken));
        assert_eq!(both.open("2026-02", &a, &[1; 16], &sealed), Err(SealError::Broken));
        let mut changed = sealed.clone();
        changed[14] ^= 1;
        assert_eq!(both.open(name, &a, &[1; 16], &changed), Err(SealError::Broken));
        assert_eq!(both.open(name, &a, &[1; 16], &sealed[..11]), Err(SealError::Broken));
        let new = Seals::parse(NEW).unwrap();
        assert_eq!(new.open(name, &a, &[1; 16], &sealed), Err(SealError::NoKey("2026-01".to_owned())));
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        for (text, error) in [
            ("", SealError::Empty),
            ("# nothing", SealError::Empty),
            ("a", SealError::Line(1)),
            ("\na AAAA", SealError::Line(2)),
            ("a/b AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", SealError::Line(1)),
            (&format!("{OLD}\n{OLD}"), SealError::Twice(2)),
        ] {
            assert_eq!(Seals::parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(format!("{:?}", Seals::parse(OLD).unwrap()), "[\"2026-01\"]");
    }
}
