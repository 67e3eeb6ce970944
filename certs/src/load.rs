//! Certificates from PEM files (RFC 7468).

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject, SectionKind},
};

use crate::{Certificate, CertificateError};

/// A certificate or key file above this size is refused unread: chains have a few kilobytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a certificate could not be loaded. Each names the file, what is wrong with it and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the {what} file {path}: {source}; check the path and that this user may read it")]
    Read {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is far larger than any certificate.
    #[error("the {what} file {path} is larger than {MAX_FILE_BYTES} bytes: that is no {what}")]
    TooLarge {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file has PEM sections that cannot be read.
    #[error("the {what} file {path} is not valid PEM: {reason}; was it copied in part?")]
    Pem {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the PEM reader found.
        reason: String,
    },
    /// No certificate in the certificate file.
    #[error("no certificate in {path}{}; it needs the server's chain as `-----BEGIN CERTIFICATE-----` sections, the server's own first", found.as_ref().map_or(String::new(), |f| format!(", only {f}")))]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        found: Option<String>,
    },
    /// No key in the key file.
    #[error("no private key in {path}{}; it needs a `-----BEGIN PRIVATE KEY-----` section (PKCS#8, or SEC1 or PKCS#1)", found.as_ref().map_or(String::new(), |f| format!(", only {f}")))]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        found: Option<String>,
    },
    /// The key needs a pass phrase.
    #[error("the key in {path} is encrypted; decrypt it first: openssl pkey -in {path} -out key.pem")]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is that of another certificate.
    #[error("the key in {key} does not belong to the first certificate in {cert}{}", match belongs_to {
        Some(number) => format!(", but to certificate {number} of it; put that one first"),
        None => "; give the two files that were issued together".to_owned(),
    })]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The certificate of the chain, counted from 1, that the key belongs to.
        belongs_to: Option<usize>,
    },
    /// The certificate or the key cannot be used.
    #[error("{path}: {source}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
}

/// Loads a chain and its key. An expired certificate, or one that is not valid yet, loads with a warning: clients will
/// refuse it, and that is easier to understand than a pod that does not start.
///
/// # Errors
/// [`LoadError`].
pub fn load(cert: &Path, key: &Path, now: SystemTime) -> Result<Certificate, LoadError> {
    from_pem(cert, &read(cert, "certificate")?, key, &read(key, "key")?, now)
}

/// Reads a file of sane size.
pub(crate) fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| LoadError::Read { what, path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge { what, path: path.to_owned() });
    }
    Ok(bytes)
}

/// The certificate in two files' contents.
pub(crate) fn from_pem(
    cert: &Path,
    cert_pem: &[u8],
    key: &Path,
    key_pem: &[u8],
    now: SystemTime,
) -> Result<Certificate, LoadError> {
    let pem_error = |what, path: &Path, error: &pem::Error| LoadError::Pem {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let chain = CertificateDer::pem_slice_iter(cert_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem_error("certificate", cert, &error))?;
    if chain.is_empty() {
        return Err(LoadError::NoCertificate { path: cert.to_owned(), found: sections(cert_pem) });
    }
    let private = match PrivateKeyDer::from_pem_slice(key_pem) {
        Ok(private) => private,
        Err(pem::Error::NoItemsFound) if contains(key_pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            return Err(LoadError::EncryptedKey { path: key.to_owned() });
        }
        Err(pem::Error::NoItemsFound) => {
            return Err(LoadError::NoKey { path: key.to_owned(), found: sections(key_pem) });
        }
        // The older OpenSSL way to encrypt: headers inside the section, which are not base64.
        Err(_) if contains(key_pem, b"Proc-Type: 4,ENCRYPTED") => {
            return Err(LoadError::EncryptedKey { path: key.to_owned() });
        }
        Err(error) => return Err(pem_error("key", key, &error)),
    };
    let certificate = Certificate::new(chain, private).map_err(|invalid| match invalid {
        CertificateError::Mismatch { belongs_to } => {
            LoadError::Mismatch { cert: cert.to_owned(), key: key.to_owned(), belongs_to }
        }
        CertificateError::Key(_) => LoadError::Invalid { path: key.to_owned(), source: invalid },
        CertificateError::Leaf(_) => LoadError::Invalid { path: cert.to_owned(), source: invalid },
    })?;
    if certificate.not_after() <= now {
        tracing::warn!(path = %cert.display(), "the certificate has expired: clients will refuse it; renew it");
    } else if certificate.not_before() > now {
        tracing::warn!(path = %cert.display(), "the certificate is not valid yet: check this machine's clock");
    }
    Ok(certificate)
}

/// The kinds of section that a file holds, for an error about the one that it lacks.
fn sections(file: &[u8]) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    for (kind, _) in <(SectionKind, Vec<u8>)>::pem_slice_iter(file).flatten() {
        let name = match kind {
            SectionKind::Certificate => "a certificate",
            SectionKind::PublicKey => "a public key",
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => "a private key",
            SectionKind::Csr => "a signing request",
            _ => "something else",
        };
        if !found.contains(&name) {
            found.push(name);
        }
    }
    (!found.is_empty()).then(|| found.join(" and "))
}

fn contains(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|window| window == text)
}
