//! One direction's key (RFC 8446 sections 5.3 and 7.3).
//!
//! Owns the key, the IV and the sequence number. Never gives a nonce twice. Always holds: a nonce is taken before its record
//! is touched, so that a record that fails has used its number up.

use aws_lc_rs::{
    aead::{self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::{self, HKDF_SHA256, HKDF_SHA384},
};

use super::error::{KeyError, RecordError};

/// The length of a tag, the same for all suites (RFC 5116 section 5, RFC 8439 section 2.8).
pub(crate) const TAG: usize = 16;

/// A cipher suite of TLS 1.3 (RFC 8446 section B.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherSuite {
    /// TLS_AES_128_GCM_SHA256.
    Aes128GcmSha256,
    /// TLS_AES_256_GCM_SHA384.
    Aes256GcmSha384,
    /// TLS_CHACHA20_POLY1305_SHA256.
    Chacha20Poly1305Sha256,
}

impl CipherSuite {
    pub(crate) fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128GcmSha256 => &AES_128_GCM,
            Self::Aes256GcmSha384 => &AES_256_GCM,
            Self::Chacha20Poly1305Sha256 => &CHACHA20_POLY1305,
        }
    }

    pub(crate) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256 => HKDF_SHA256,
            Self::Aes256GcmSha384 => HKDF_SHA384,
        }
    }

    /// The length of a traffic secret: that of the suite's hash (section 7.1).
    #[must_use]
    pub fn secret_len(self) -> usize {
        match self {
            Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256 => 32,
            Self::Aes256GcmSha384 => 48,
        }
    }
}

/// One direction's key, its IV, and the number of the next record.
pub struct TrafficKey {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl TrafficKey {
    /// A key that has protected `sequence` records already.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn new(suite: CipherSuite, key: &[u8], iv: &[u8], sequence: u64) -> Result<Self, KeyError> {
        let key = UnboundKey::new(suite.aead(), key).map_err(|_| KeyError::Length)?;
        let iv = iv.try_into().map_err(|_| KeyError::Length)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// How many records it has protected.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next record's nonce (section 5.3).
    #[inline]
    fn nonce(&mut self) -> Result<Nonce, RecordError> {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        self.sequence = self.sequence.checked_add(1).ok_or(RecordError::UsedUp)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Encrypts the next record's content in place (section 5.2); `header` is authenticated with it.
    #[inline]
    pub(crate) fn seal(&mut self, header: &[u8], content: &mut [u8], tag: &mut [u8]) -> Result<(), RecordError> {
        let nonce = self.nonce()?;
        let computed =
            self.key.seal_in_place_separate_tag(nonce, Aad::from(header), content).map_err(|_| RecordError::Seal)?;
        tag.copy_from_slice(computed.as_ref());
        Ok(())
    }

    /// Decrypts the next record's content in place (section 5.2).
    #[inline]
    pub(crate) fn open<'a>(&mut self, header: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], RecordError> {
        let nonce = self.nonce()?;
        self.key.open_in_place(nonce, Aad::from(header), sealed).map_err(|_| RecordError::Sealed)
    }
}
