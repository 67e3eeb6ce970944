//! Connection IDs that say which endpoint of which pod made them, to those that have the key and to no other.
//!
//! Pure. Always holds: an ID is one block of AES, so that without the key it is like any random one and two IDs of a connection have
//! nothing in common (RFC 9000 section 5.1); no endpoint makes the same ID twice; what was not made with one of the keys is recognised as that,
//! but for one random ID of 2^24; each key signs the reset tokens of its own IDs.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk},
    hmac, rand,
};
use quinn::ConnectionId;

/// The bytes of an ID: a block of the cipher.
pub const CONNECTION_ID_LENGTH: usize = 16;

/// The bytes of a secret that keys are derived from.
pub const SECRET_LENGTH: usize = 32;

/// Zeros, by which an ID is known to be ours.
const CHECK: usize = 3;

/// The bytes of a pod's number, and of an ID's number at its endpoint.
const NUMBER: usize = 6;

/// Which endpoint made an ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionOrigin {
    /// The pod: the lowest 48 bits of its number.
    pub pod: u64,
    /// The endpoint among those of the pod.
    pub endpoint: u8,
}

/// The part of a pod's number that its connection IDs carry.
#[must_use]
pub fn pod_in_connection_ids(pod: u64) -> u64 {
    pod & ((1 << (8 * NUMBER)) - 1)
}

/// The keys of a fleet's connection IDs. The first makes them; the others are recognised.
pub struct ConnectionIdKeys(ArcSwap<Vec<ConnectionIdKey>>);

/// Says how many there are, and nothing of them.
impl fmt::Debug for ConnectionIdKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionIdKeys").field("keys", &self.0.load().len()).finish()
    }
}

/// One secret's keys.
struct ConnectionIdKey {
    seal: EncryptingKey,
    open: DecryptingKey,
    reset: hmac::Key,
}

/// The cryptography fails: the system has no randomness or no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of QUIC connection IDs cannot be made")]
pub struct ConnectionIdKeyError;

impl From<Unspecified> for ConnectionIdKeyError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// How many bytes are derived.
struct Derived(usize);

impl KeyType for Derived {
    fn len(&self) -> usize {
        self.0
    }
}

impl ConnectionIdKeys {
    /// Keys of these secrets, which the pods of a fleet share. Without a secret: of a random one, which no other pod has.
    ///
    /// # Errors
    /// [`ConnectionIdKeyError`].
    pub fn new(secrets: &[[u8; SECRET_LENGTH]]) -> Result<Self, ConnectionIdKeyError> {
        let mut own = [0; SECRET_LENGTH];
        if secrets.is_empty() {
            rand::fill(&mut own)?;
        }
        Ok(Self(ArcSwap::from_pointee(keys_of(if secrets.is_empty() { std::slice::from_ref(&own) } else { secrets })?)))
    }

    /// Takes other secrets from now on. IDs that were made before are recognised as long as their secret is among them. No secrets change
    /// nothing.
    ///
    /// # Errors
    /// [`ConnectionIdKeyError`]; the keys stay.
    pub fn renew(&self, secrets: &[[u8; SECRET_LENGTH]]) -> Result<(), ConnectionIdKeyError> {
        if !secrets.is_empty() {
            self.0.store(keys_of(secrets)?.into());
        }
        Ok(())
    }

    /// The ID with a number of an endpoint.
    pub(crate) fn seal(&self, origin: ConnectionOrigin, number: u64) -> Result<ConnectionId, ConnectionIdKeyError> {
        let mut block = [0; CONNECTION_ID_LENGTH];
        let (pod, rest) = block[CHECK..].split_at_mut(NUMBER);
        pod.copy_from_slice(&origin.pod.to_be_bytes()[8 - NUMBER..]);
        rest[0] = origin.endpoint;
        rest[1..].copy_from_slice(&number.to_be_bytes()[8 - NUMBER..]);
        self.0.load().first().ok_or(ConnectionIdKeyError)?.seal.encrypt(&mut block)?;
        Ok(ConnectionId::new(&block))
    }

    /// Which endpoint made an ID; `None`: it was made with none of the keys.
    pub(crate) fn open(&self, id: &[u8]) -> Option<ConnectionOrigin> {
        self.0.load().iter().find_map(|key| key.open(id))
    }

    /// The signature of an ID with the key that made it, of which the reset token is the first half.
    pub(crate) fn sign(&self, id: &[u8]) -> Option<hmac::Tag> {
        let keys = self.0.load();
        let key = keys.iter().find(|key| key.open(id).is_some())?;
        Some(hmac::sign(&key.reset, id))
    }
}

fn keys_of(secrets: &[[u8; SECRET_LENGTH]]) -> Result<Vec<ConnectionIdKey>, Unspecified> {
    secrets.iter().map(ConnectionIdKey::new).collect()
}

impl ConnectionIdKey {
    fn new(secret: &[u8; SECRET_LENGTH]) -> Result<Self, Unspecified> {
        let secret = Prk::new_less_safe(HKDF_SHA256, secret);
        let derive = |purpose: &[u8], bytes: &mut [u8]| secret.expand(&[purpose], Derived(bytes.len()))?.fill(bytes);
        let (mut cipher, mut reset) = ([0; 16], [0; 32]);
        derive(b"connection id", &mut cipher)?;
        derive(b"stateless reset", &mut reset)?;
        let unbound = || UnboundCipherKey::new(&AES_128, &cipher);
        Ok(Self {
            seal: EncryptingKey::ecb(unbound()?)?,
            open: DecryptingKey::ecb(unbound()?)?,
            reset: hmac::Key::new(hmac::HMAC_SHA256, &reset),
        })
    }

    fn open(&self, id: &[u8]) -> Option<ConnectionOrigin> {
        let mut block: [u8; CONNECTION_ID_LENGTH] = id.try_into().ok()?;
        let plain = self.open.decrypt(&mut block, DecryptionContext::None).ok()?;
        let (check, rest) = plain.split_first_chunk::<CHECK>()?;
        let (pod, rest) = rest.split_first_chunk::<NUMBER>()?;
        let pod = pod.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        (*check == [0; CHECK]).then_some(ConnectionOrigin { pod, endpoint: *rest.first()? })
    }
}

/// Numbers for an endpoint's IDs: they begin anywhere, and none comes twice.
#[derive(Debug)]
pub(crate) struct ConnectionNumbers(AtomicU64);

impl ConnectionNumbers {
    pub(crate) fn new() -> Result<Self, ConnectionIdKeyError> {
        let mut first = [0; 8];
        rand::fill(&mut first)?;
        Ok(Self(AtomicU64::new(u64::from_be_bytes(first))))
    }

    /// The next one. The lowest 48 bits count.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ORIGIN: ConnectionOrigin = ConnectionOrigin { pod: 0x1234_5678_9abc, endpoint: 7 };

    #[test]
    fn an_id_says_where_it_was_made_to_those_that_have_the_key() {
        let (keys, others) = (ConnectionIdKeys::new(&[[1; 32]]).unwrap(), ConnectionIdKeys::new(&[[2; 32]]).unwrap());
        let ids: Vec<ConnectionId> = (0..2_000).map(|number| keys.seal(ORIGIN, number).unwrap()).collect();
        for id in &ids {
            assert_eq!((id.len(), keys.open(id)), (CONNECTION_ID_LENGTH, Some(ORIGIN)));
            assert_eq!((others.open(id), others.sign(id).is_none()), (None, true));
        }
        // Neighbouring numbers have nothing in common: each byte takes (nearly) all its values.
        for at in 0..CONNECTION_ID_LENGTH {
            let values: HashSet<u8> = ids.iter().map(|id| id[at]).collect();
            assert!(values.len() > 200, "byte {at} takes {} values", values.len());
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        for wrong in [&ids[0][..15], &[], &[0; 16], &[9; 20]] {
            assert_eq!(keys.open(wrong), None);
        }
    }

    #[test]
    fn a_new_key_makes_ids_and_the_one_before_it_is_recognised() {
        let keys = ConnectionIdKeys::new(&[[1; 32]]).unwrap();
        let before = keys.seal(ORIGIN, 1).unwrap();
        let token = keys.sign(&before).unwrap();
        keys.renew(&[[2; 32], [1; 32]]).unwrap();
        let after = keys.seal(ORIGIN, 1).unwrap();
        assert_ne!(before, after);
        assert_eq!((keys.open(&before), keys.open(&after)), (Some(ORIGIN), Some(ORIGIN)));
        assert_eq!(keys.sign(&before).unwrap().as_ref(), token.as_ref(), "the token of the key that made the ID");
        keys.renew(&[]).unwrap();
        assert_eq!(keys.open(&after), Some(ORIGIN), "no secrets change nothing");
        keys.renew(&[[2; 32]]).unwrap();
        assert_eq!((keys.open(&before), keys.open(&after)), (None, Some(ORIGIN)));
    }

    #[test]
    fn without_a_secret_no_two_pods_understand_each_other() {
        let (one, other) = (ConnectionIdKeys::new(&[]).unwrap(), ConnectionIdKeys::new(&[]).unwrap());
        let id = one.seal(ORIGIN, 1).unwrap();
        assert_eq!((one.open(&id), other.open(&id)), (Some(ORIGIN), None));
    }

    #[test]
    fn a_pods_number_is_cut_to_what_an_id_carries() {
        assert_eq!(pod_in_connection_ids(u64::MAX), 0xffff_ffff_ffff);
        let numbers = ConnectionNumbers::new().unwrap();
        let keys = ConnectionIdKeys::new(&[]).unwrap();
        let origin = ConnectionOrigin { pod: pod_in_connection_ids(0xabcd_0000_0000_0001), endpoint: u8::MAX };
        assert_eq!(keys.open(&keys.seal(origin, numbers.next()).unwrap()), Some(origin));
    }
}
