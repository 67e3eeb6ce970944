//! A certificate chain with its key, ready to be served, and what an operator wants to know about it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use crate::provider;

/// A chain, leaf first, with the leaf's key. Always holds: the key belongs to the leaf.
#[derive(Clone)]
pub struct Certificate {
    served: Arc<CertifiedKey>,
    not_before: SystemTime,
    not_after: SystemTime,
    sha256: [u8; 32],
}

/// Why a chain and a key do not make a [`Certificate`].
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The leaf is not an X.509 certificate (RFC 5280).
    #[error("the first certificate is not valid X.509: {0}")]
    Leaf(String),
    /// The key is of a kind that cannot sign TLS handshakes.
    #[error("the key cannot be used: {0}; RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) and Ed25519 can")]
    Key(rustls::Error),
    /// The key is not the leaf's.
    #[error("the key does not belong to the first certificate")]
    Mismatch {
        /// The key belongs to this later certificate of the chain, counted from 1: the chain is in the wrong order.
        belongs_to: Option<usize>,
    },
}

impl Certificate {
    /// Pairs a chain (leaf first) with the leaf's key.
    ///
    /// # Errors
    /// [`CertificateError`] names the part that is unusable.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or_else(|| CertificateError::Leaf("there is none".to_owned()))?;
        let (not_before, not_after) = validity(leaf)?;
        let sha256 = fingerprint(leaf);
        let key = provider().key_provider.load_private_key(key).map_err(CertificateError::Key)?;
        let served = CertifiedKey::new(chain, key);
        match served.keys_match() {
            // `Unknown`: a key that cannot tell its public half; the first handshake will show.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let belongs_to = served.cert.iter().skip(1).position(|certificate| {
                    CertifiedKey::new(vec![certificate.clone()], Arc::clone(&served.key)).keys_match().is_ok()
                });
                return Err(CertificateError::Mismatch { belongs_to: belongs_to.map(|index| index + 2) });
            }
            Err(other) => return Err(CertificateError::Leaf(other.to_string())),
        }
        Ok(Self { served: Arc::new(served), not_before, not_after, sha256 })
    }

    /// What rustls serves.
    #[must_use]
    pub fn served(&self) -> &Arc<CertifiedKey> {
        &self.served
    }

    /// The chain, leaf first, as DER.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.served.cert
    }

    /// SHA-256 of the leaf's DER: what WebTransport's `serverCertificateHashes` pins.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// From when the leaf is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Until when the leaf is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// How long the leaf is still valid; zero once it has expired.
    #[must_use]
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or(Duration::ZERO)
    }
}

impl fmt::Debug for Certificate {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("chain", &self.served.cert.len())
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// SHA-256.
pub(crate) fn fingerprint(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// When a certificate expires.
///
/// # Errors
/// [`CertificateError::Leaf`].
pub fn expires_at(leaf: &CertificateDer<'_>) -> Result<SystemTime, CertificateError> {
    validity(leaf).map(|(_, not_after)| not_after)
}

fn validity(leaf: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), CertificateError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|error| CertificateError::Leaf(error.to_string()))?;
    let at = |seconds: i64| {
        // A date before 1970 or beyond the clock's range means "always expired": the warning will say so.
        u64::try_from(seconds).ok().and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
    };
    let validity = parsed.validity();
    let not_before = at(validity.not_before.timestamp()).unwrap_or(UNIX_EPOCH);
    let not_after = at(validity.not_after.timestamp()).unwrap_or(UNIX_EPOCH);
    Ok((not_before, not_after))
}
