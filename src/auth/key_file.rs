//! The keys that the configuration holds or names by file.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::{
    Algorithm,
    key::{Key, KeyMaterialError},
    key_set::{self, KeySetError, Origin},
};
use crate::{config::TokenSettings, transport::fetch::FetchError};

/// A file above this size is refused unread: keys have a few hundred bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why the keys of tokens cannot be used. Names the key of the configuration, the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("tokens.{key}: cannot read {path}: {source}; check the path and that this user may read it", path = path.display())]
    Read {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A PEM file has no public key.
    #[error("tokens.public_keys: there is no public key in {path}{hint}", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What it has instead, and what to do.
        hint: String,
    },
    /// A PEM file is broken.
    #[error("tokens.public_keys: {path} is not valid PEM: {reason}; was it copied in part?", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the PEM reader found.
        reason: String,
    },
    /// A PEM file has a key that cannot be used.
    #[error("tokens.public_keys: a key in {path} cannot be used: {reason}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: KeyMaterialError,
    },
    /// A file is not a key set.
    #[error("tokens.jwks_file: {path}: {reason}", path = path.display())]
    KeySet {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: KeySetError,
    },
    /// A secret is too short.
    #[error("tokens.hmac_secrets: {0}")]
    Secret(KeyMaterialError),
    /// No key set can be fetched.
    #[error("tokens.jwks_ca: {0}")]
    Client(#[from] FetchError),
}

/// The contents of the files at one look.
pub(super) struct Files {
    pem: Vec<Contents>,
    set: Option<Contents>,
}

type Contents = (PathBuf, io::Result<Vec<u8>>);

impl Files {
    /// Reads the files that `settings` name.
    pub(super) fn read(settings: &TokenSettings) -> Self {
        let read = |path: &PathBuf| (path.clone(), read(path));
        Self { pem: settings.public_keys.iter().map(read).collect(), set: settings.jwks_file.as_ref().map(read) }
    }

    /// A fingerprint of these contents, readable or not.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for (path, contents) in self.pem.iter().chain(&self.set) {
            let text;
            let bytes = match contents {
                Ok(bytes) => bytes.as_slice(),
                Err(error) => {
                    text = error.to_string();
                    text.as_bytes()
                }
            };
            for part in [path.as_os_str().as_encoded_bytes(), bytes] {
                context.update(&part.len().to_le_bytes());
                context.update(part);
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// Every key of the configuration and its files.
    pub(super) fn keys(self, settings: &TokenSettings) -> Result<Vec<Key>, KeyError> {
        let mut keys = Vec::new();
        for secret in &settings.hmac_secrets {
            keys.push(
                Key::secret(None, &Algorithm::HMAC, secret.reveal().as_bytes(), settings.short_secrets)
                    .map_err(KeyError::Secret)?,
            );
        }
        for (path, contents) in self.pem {
            match contents {
                Ok(pem) => keys.extend(public_keys(&path, &pem)?),
                Err(source) => return Err(KeyError::Read { key: "public_keys", path, source }),
            }
        }
        if let Some((path, contents)) = self.set {
            match contents {
                Ok(json) => {
                    keys.extend(key_set::keys(&json, Origin::File).map_err(|reason| KeyError::KeySet { path, reason })?)
                }
                Err(source) => return Err(KeyError::Read { key: "jwks_file", path, source }),
            }
        }
        Ok(keys)
    }
}

/// The public keys of a PEM file (RFC 7468 section 13).
fn public_keys(path: &Path, pem: &[u8]) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    let mut hint = "; it needs a `-----BEGIN PUBLIC KEY-----` section".to_owned();
    for section in <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(pem) {
        let (kind, der) =
            section.map_err(|error| KeyError::Pem { path: path.to_owned(), reason: error.to_string() })?;
        match kind {
            SectionKind::PublicKey => {
                let key = Key::spki(&der);
                keys.push(key.map_err(|reason| KeyError::Unusable { path: path.to_owned(), reason })?);
            }
            SectionKind::Certificate => {
                hint = format!(" but a certificate; take its key: openssl x509 -in {} -pubkey -noout", path.display());
            }
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                let file = path.display();
                hint = format!(
                    " but a private one, which belongs to the signer of tokens: openssl pkey -in {file} -pubout"
                );
            }
            _ => {}
        }
    }
    if keys.is_empty() { Err(KeyError::NoKey { path: path.to_owned(), hint }) } else { Ok(keys) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
