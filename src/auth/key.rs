//! One key that tokens are verified with.
//!
//! Always holds: the key alone decides its algorithms. A token cannot choose `none`, HMAC with a public key as the secret, or
//! another curve (RFC 8725 section 3.1).

use std::fmt;

use aws_lc_rs::{
    hmac,
    rsa::PublicKey,
    signature::{ParsedPublicKey, RsaParameters},
};

use super::Algorithm;
use crate::config::HmacSecret;

/// The shortest RSA key, in bits (RFC 7518 section 3.3).
const MIN_RSA_BITS: u32 = 2048;
/// The longest; above it a signature takes too long to verify.
const MAX_RSA_BITS: u32 = 8192;

/// Why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyMaterialError {
    /// Another kind of key, or no key.
    #[error("it is not an RSA, P-256, P-384, P-521 or Ed25519 public key")]
    Kind,
    /// An RSA key of the wrong size.
    #[error("its RSA key has {0} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken")]
    RsaBits(u32),
    /// A secret that could be guessed.
    #[error(
        "its secret is shorter than {min} bytes, or than the hash of its algorithm (RFC 7518 section 3.2)",
        min = HmacSecret::MIN_BYTES
    )]
    ShortSecret,
}

/// A key that tokens are verified with.
pub struct Key {
    id: Option<Box<str>>,
    verifiers: Vec<(Algorithm, Verifier)>,
}

enum Verifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    /// A secret: of these algorithms, those whose hash is no longer than it is (RFC 7518 section 3.2).
    ///
    /// `short`: one of fewer bytes than the hash has will do.
    pub(super) fn secret(
        id: Option<Box<str>>,
        algorithms: &[Algorithm],
        secret: &[u8],
        short: bool,
    ) -> Result<Self, KeyMaterialError> {
        let hashes = algorithms.iter().filter_map(|algorithm| Some((*algorithm, algorithm.hash()?)));
        let fitting = hashes.filter(|(_, hash)| short || secret.len() >= hash.digest_algorithm().output_len());
        let verifiers: Vec<_> = fitting
            .map(|(algorithm, hash)| (algorithm, Verifier::Secret(Box::new(hmac::Key::new(hash, secret)))))
            .collect();
        if verifiers.is_empty() { Err(KeyMaterialError::ShortSecret) } else { Ok(Self { id, verifiers }) }
    }

    /// A public key in a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7), which says of what kind it is.
    pub(super) fn spki(der: &[u8]) -> Result<Self, KeyMaterialError> {
        // Each of these parsers takes its own kind of key and curve only.
        match Self::public(None, &Algorithm::RSA, der) {
            Err(KeyMaterialError::Kind) => {}
            result => return result,
        }
        let curve = Algorithm::OF_CURVES.into_iter().find_map(|algorithm| Self::public(None, &[algorithm], der).ok());
        curve.ok_or(KeyMaterialError::Kind)
    }

    /// A public key that must be of the kind that all `algorithms` need.
    pub(super) fn public(
        id: Option<Box<str>>,
        algorithms: &[Algorithm],
        bytes: &[u8],
    ) -> Result<Self, KeyMaterialError> {
        let mut verifiers = Vec::with_capacity(algorithms.len());
        for &algorithm in algorithms {
            let verification = algorithm.verification().ok_or(KeyMaterialError::Kind)?;
            let key = ParsedPublicKey::new(verification, bytes).map_err(|_| KeyMaterialError::Kind)?;
            if Algorithm::RSA.contains(&algorithm) && verifiers.is_empty() {
                let bits = rsa_bits(bytes).ok_or(KeyMaterialError::Kind)?;
                if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                    return Err(KeyMaterialError::RsaBits(bits));
                }
            }
            verifiers.push((algorithm, Verifier::Public(key)));
        }
        if verifiers.is_empty() { Err(KeyMaterialError::Kind) } else { Ok(Self { id, verifiers }) }
    }

    /// Its name in a key set, `kid`.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether this key may have signed a token with this algorithm and `kid`. A key without a name may have signed any.
    pub(super) fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let named = self.id.as_deref().is_none_or(|own| id.is_none_or(|id| own == id));
        named && self.verifiers.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether this key has signed `message`. Never with an algorithm that is not this key's.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifiers.iter().any(|(own, verifier)| {
            *own == algorithm
                && match verifier {
                    Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
                    Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
                }
        })
    }
}

/// Shows its name and its algorithms, never the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm.name()).collect();
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

fn rsa_bits(der: &[u8]) -> Option<u32> {
    let key = PublicKey::from_der(der).ok()?;
    RsaParameters::public_modulus_len(key.as_ref()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_verifies_by_each_hash_that_is_no_longer_than_it_is() {
        let [sha256, sha384, sha512] = Algorithm::HMAC;
        let verifies = |bytes: usize, short: bool, algorithms: &[Algorithm]| {
            let secret = vec![7; bytes];
            let key = Key::secret(None, algorithms, &secret, short).ok()?;
            Some(Algorithm::HMAC.map(|algorithm| {
                let tag = hmac::sign(&hmac::Key::new(algorithm.hash().unwrap(), &secret), b"signed");
                let is_good = key.verify(algorithm, b"signed", tag.as_ref());
                assert!(!key.verify(algorithm, b"other", tag.as_ref()) && is_good == key.fits(algorithm, None));
                is_good
            }))
        };
        for (bytes, short, algorithms, expected) in [
            (31, false, &Algorithm::HMAC[..], None),
            (32, false, &Algorithm::HMAC[..], Some([true, false, false])),
            (48, false, &Algorithm::HMAC[..], Some([true, true, false])),
            (64, false, &Algorithm::HMAC[..], Some([true; 3])),
            (15, true, &Algorithm::HMAC[..], Some([true; 3])),
            // A key set may say for which one it is.
            (64, false, &[sha256][..], Some([true, false, false])),
            (64, false, &[sha512][..], Some([false, false, true])),
            (48, false, &[sha512][..], None),
            (64, false, &[sha384, Algorithm::Rs256][..], Some([false, true, false])),
        ] {
            assert_eq!(verifies(bytes, short, algorithms), expected, "{bytes} {short} {algorithms:?}");
        }
    }
}
