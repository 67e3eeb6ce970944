//! Where the next key comes from (RFC 8446 section 7.2).
//!
//! [`TrafficSecrets`] is the schedule of a connection whose traffic secrets are at hand. A TLS library that keeps its secrets
//! to itself implements [`KeySchedule`] instead.

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use super::{
    error::KeyError,
    key::{CipherSuite, TrafficKey},
};

/// The part of a key schedule that an established connection needs.
pub trait KeySchedule {
    /// The next key of the direction that this side sends in.
    ///
    /// # Errors
    /// The schedule fails; the connection is lost then.
    fn next_send_key(&mut self) -> Result<TrafficKey, KeyError>;

    /// The next key of the direction that this side receives in.
    ///
    /// # Errors
    /// As [`KeySchedule::next_send_key`].
    fn next_receive_key(&mut self) -> Result<TrafficKey, KeyError>;
}

impl<S: KeySchedule + ?Sized> KeySchedule for Box<S> {
    fn next_send_key(&mut self) -> Result<TrafficKey, KeyError> {
        (**self).next_send_key()
    }

    fn next_receive_key(&mut self) -> Result<TrafficKey, KeyError> {
        (**self).next_receive_key()
    }
}

/// The traffic secrets of both directions (`client_application_traffic_secret_N` and the server's).
pub struct TrafficSecrets {
    suite: CipherSuite,
    send: Zeroizing<Vec<u8>>,
    receive: Zeroizing<Vec<u8>>,
}

impl TrafficSecrets {
    /// The secrets of the current keys.
    ///
    /// # Errors
    /// [`KeyError::Length`]: a secret is not [`CipherSuite::secret_len`] long.
    pub fn new(suite: CipherSuite, send: &[u8], receive: &[u8]) -> Result<Self, KeyError> {
        if send.len() != suite.secret_len() || receive.len() != suite.secret_len() {
            return Err(KeyError::Length);
        }
        Ok(Self { suite, send: Zeroizing::new(send.to_vec()), receive: Zeroizing::new(receive.to_vec()) })
    }

    /// The keys of these secrets, to send and to receive: both at the beginning of their records.
    ///
    /// # Errors
    /// The key derivation fails.
    pub fn keys(&self) -> Result<(TrafficKey, TrafficKey), KeyError> {
        Ok((traffic_key(self.suite, &self.send)?, traffic_key(self.suite, &self.receive)?))
    }
}

impl KeySchedule for TrafficSecrets {
    fn next_send_key(&mut self) -> Result<TrafficKey, KeyError> {
        next(self.suite, &mut self.send)
    }

    fn next_receive_key(&mut self) -> Result<TrafficKey, KeyError> {
        next(self.suite, &mut self.receive)
    }
}

/// Moves a secret on (section 7.2) and makes the key of it.
fn next(suite: CipherSuite, secret: &mut Zeroizing<Vec<u8>>) -> Result<TrafficKey, KeyError> {
    *secret = expand_label(suite, secret, b"traffic upd", suite.secret_len())?;
    traffic_key(suite, secret)
}

/// The key and the IV of a secret (section 7.3).
fn traffic_key(suite: CipherSuite, secret: &[u8]) -> Result<TrafficKey, KeyError> {
    let key = expand_label(suite, secret, b"key", suite.aead().key_len())?;
    let iv = expand_label(suite, secret, b"iv", 12)?;
    TrafficKey::new(suite, &key, &iv, 0)
}

/// HKDF-Expand-Label with an empty context (section 7.1).
fn expand_label(suite: CipherSuite, secret: &[u8], label: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let failed = |_| KeyError::Schedule("HKDF refuses the length".into());
    // At most 48, and a label of at most 17 bytes.
    let lengths = [0, len as u8, 6 + label.len() as u8];
    let info = [&lengths[..], b"tls13 ", label, &[0]];
    let mut out = Zeroizing::new(vec![0; len]);
    let prk = hkdf::Prk::new_less_safe(suite.hkdf(), secret);
    prk.expand(&info, Length(len)).and_then(|okm| okm.fill(&mut out)).map_err(failed)?;
    Ok(out)
}

/// A length, as aws-lc-rs asks for it.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
