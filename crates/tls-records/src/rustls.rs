//! Takes a connection over from rustls, which has made its handshake and keeps its key schedule.

use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, kernel::KernelConnection};

use super::{
    error::KeyError,
    key::{CipherSuite, TrafficKey},
    records::Records,
    schedule::KeySchedule,
};

/// The key schedule of a connection that rustls has let go of. Boxed: it is rarely needed, and the keys beside it are hot.
pub struct RustlsSchedule<Data>(Box<KernelConnection<Data>>);

impl<Data> Records<RustlsSchedule<Data>> {
    /// Takes over what `dangerous_into_kernel_connection` of rustls' unbuffered connections answers, of a TLS 1.3 connection
    /// whose handshake is over.
    ///
    /// # Errors
    /// [`KeyError::Suite`]: a cipher suite that this crate does not know. The connection is lost then.
    pub fn take_over(connection: (ExtractedSecrets, KernelConnection<Data>)) -> Result<Self, KeyError> {
        let (ExtractedSecrets { tx, rx }, schedule) = connection;
        Ok(Self::new(key(tx)?, key(rx)?, RustlsSchedule(Box::new(schedule))))
    }
}

impl<Data> KeySchedule for RustlsSchedule<Data> {
    fn next_send_key(&mut self) -> Result<TrafficKey, KeyError> {
        self.0.update_tx_secret().map_err(failed).and_then(key)
    }

    fn next_receive_key(&mut self) -> Result<TrafficKey, KeyError> {
        self.0.update_rx_secret().map_err(failed).and_then(key)
    }
}

fn failed(error: rustls::Error) -> KeyError {
    KeyError::Schedule(error.to_string())
}

fn key((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<TrafficKey, KeyError> {
    let (suite, key, iv) = match &secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (CipherSuite::Aes128GcmSha256, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (CipherSuite::Aes256GcmSha384, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (CipherSuite::Chacha20Poly1305Sha256, key, iv),
        _ => return Err(KeyError::Suite),
    };
    TrafficKey::new(suite, key.as_ref(), iv.as_ref(), sequence)
}
