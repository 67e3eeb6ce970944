//! The id of a session: its pod, worker and connection, and a proof that a pod of the fleet made it.
//!
//! A guessed or changed id is refused by the pod that gets it, without a question to another pod or worker. Always holds: 33
//! bytes in base64url, 44 characters.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The bytes of the proof, a truncated HMAC-SHA-256 (RFC 2104 section 5): 120 bits.
const PROOF: usize = 15;

/// Pod, worker, connection.
const PLAIN: usize = 8 + 2 + 8;

/// The key that all pods of a fleet share. Never shows itself.
pub struct SessionKey(hmac::Key);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// The place of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionName<'k> {
    /// The pod's name as a number.
    pub pod: u64,
    /// The worker's number on it.
    pub worker: u16,
    /// The connection's name.
    pub connection: u64,
    key: &'k SessionKey,
}

impl SessionKey {
    /// A key from a secret of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// An id.
    #[must_use]
    pub fn name(&self, pod: u64, worker: u16, connection: u64) -> SessionName<'_> {
        SessionName { pod, worker, connection, key: self }
    }

    /// Reads an id; `None`: no pod of the fleet made it.
    #[must_use]
    pub fn read(&self, sid: &str) -> Option<SessionName<'_>> {
        let mut bytes = [0; PLAIN + PROOF];
        let length = URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes).ok()?;
        let (plain, proof) = bytes.split_at_checked(PLAIN).filter(|_| length == PLAIN + PROOF)?;
        let made = self.prove("session", plain);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(made.get(..PROOF)?, proof)) {
            return None;
        }
        let (pod, rest) = plain.split_first_chunk::<8>()?;
        let (worker, connection) = rest.split_first_chunk::<2>()?;
        let connection = connection.first_chunk::<8>()?;
        let (pod, worker) = (u64::from_be_bytes(*pod), u16::from_be_bytes(*worker));
        Some(SessionName { pod, worker, connection: u64::from_be_bytes(*connection), key: self })
    }

    /// A proof for one purpose that its maker has the key.
    #[must_use]
    pub fn prove(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(data);
        let tag = context.sign();
        tag.as_ref().first_chunk().copied().unwrap_or([0; 32])
    }
}

impl fmt::Display for SessionName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pod, worker) = (self.pod.to_be_bytes(), self.worker.to_be_bytes());
        let plain = [&pod[..], &worker, &self.connection.to_be_bytes()].concat();
        let proof = self.key.prove("session", &plain);
        f.write_str(&URL_SAFE_NO_PAD.encode([&plain, &proof[..PROOF]].concat()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_were_given_are_read() {
        let (key, other) = (SessionKey::new(b"one"), SessionKey::new(b"two"));
        let sid = key.name(7, 3, 0xdead_beef).to_string();
        assert_eq!(sid.len(), 44);
        let name = key.read(&sid).unwrap();
        assert_eq!((name.pod, name.worker, name.connection), (7, 3, 0xdead_beef));
        assert_eq!(name.to_string(), sid);
        assert!(other.read(&sid).is_none());
        for at in 0..sid.len() {
            let mut changed = sid.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(key.read(&String::from_utf8(changed).unwrap()).is_none(), "{at}");
        }
        for bad in ["", "abc", &sid[1..], &format!("{sid}A"), "é"] {
            assert!(key.read(bad).is_none(), "{bad}");
        }
    }
}
