//! The development certificate: self-signed, for localhost, short-lived so that WebTransport can pin it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::{
    Certificate, CertificateError,
    load::{from_pem, read},
};

/// The whole validity. WebTransport's `serverCertificateHashes` takes at most 14 days, `not_before` to `not_after`.
pub const DEVELOPMENT_VALIDITY: Duration = Duration::from_secs(13 * DAY);

/// A development certificate with less than this left is made anew, at start and while running.
pub const RENEW_BEFORE: Duration = Duration::from_secs(3 * DAY);

/// The names that the development certificate is for.
pub const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const DAY: u64 = 24 * 60 * 60;

/// `not_before` lies this far in the past, for a browser whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// Certificate and key in one file, so that two pods that start together cannot leave a pair that does not match.
const FILE: &str = "development.pem";
/// The certificate alone, for `curl --cacert` and the like.
const PUBLIC_FILE: &str = "development-cert.pem";

/// Why no development certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The generator refused.
    #[error("cannot make a development certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// What was made is unusable.
    #[error("the development certificate that was made is unusable: {0}")]
    Unusable(#[from] CertificateError),
}

/// A development certificate and where it is kept.
#[derive(Debug)]
pub struct Development {
    /// The certificate.
    pub certificate: Certificate,
    /// Where it is kept.
    pub kept: Kept,
}

/// Where a development certificate is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It was made by an earlier start and is still good; the file holds the certificate without its key.
    Reused(PathBuf),
    /// It was made now and written; the file holds the certificate without its key.
    Written(PathBuf),
    /// It was made now and is gone when the process ends; the text says why.
    MemoryOnly(String),
}

/// The development certificate of `dir`: the one that is there while it has more than [`RENEW_BEFORE`] left, else a
/// new one, written with mode 0600 into `dir` (made with mode 0700 if missing). Without a directory, or with one that
/// cannot be written, the certificate lives in memory only.
///
/// # Errors
/// [`MakeError`], when the crypto library refuses. Files never fail it.
pub fn development(dir: Option<&Path>, now: SystemTime) -> Result<Development, MakeError> {
    let Some(dir) = dir else {
        let (certificate, _) = make(now)?;
        return Ok(Development { certificate, kept: Kept::MemoryOnly("there is no state directory".to_owned()) });
    };
    if let Some(certificate) = reusable(&dir.join(FILE), now) {
        return Ok(Development { certificate, kept: Kept::Reused(dir.join(PUBLIC_FILE)) });
    }
    let (certificate, pem) = make(now)?;
    let kept = match write(dir, &pem) {
        Ok(()) => Kept::Written(dir.join(PUBLIC_FILE)),
        Err(error) => Kept::MemoryOnly(format!("{} cannot be written: {error}", dir.display())),
    };
    Ok(Development { certificate, kept })
}

/// A certificate as PEM: what can be written to a file.
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS#8).
    pub key: String,
}

/// Makes a development certificate: self-signed ECDSA P-256 for [`DEVELOPMENT_NAMES`], valid for
/// [`DEVELOPMENT_VALIDITY`] from an hour ago.
///
/// # Errors
/// [`MakeError`], when the crypto library refuses.
pub fn make(now: SystemTime) -> Result<(Certificate, Pem), MakeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(DEVELOPMENT_NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "roomcast development");
    // X.509 knows whole seconds; both ends count (RFC 5280 section 4.1.2.5).
    let not_before = OffsetDateTime::from(now - CLOCK_SKEW).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = not_before;
    params.not_after = not_before + DEVELOPMENT_VALIDITY;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let made = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let pem = Pem { certificate: made.pem(), key: key.serialize_pem() };
    Ok((Certificate::new(vec![made.der().clone()], private)?, pem))
}

/// The kept certificate, if it can still be used. One that others may read, or that is broken, is made anew.
fn reusable(path: &Path, now: SystemTime) -> Option<Certificate> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the development key: making a new one");
        return None;
    }
    let pem = read(path, "certificate").ok()?;
    let certificate = from_pem(path, &pem, path, &pem, now).ok()?;
    // A `not_before` in the future is a clock that went back, or a file that is not ours.
    (certificate.not_before() <= now
        && certificate.remaining(now) > RENEW_BEFORE
        && certificate.remaining(now) <= DEVELOPMENT_VALIDITY)
        .then_some(certificate)
}

fn write(dir: &Path, pem: &Pem) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    replace(&dir.join(FILE), 0o600, &format!("{}{}", pem.certificate, pem.key))?;
    replace(&dir.join(PUBLIC_FILE), 0o644, &pem.certificate)
}

/// Writes beside the file and renames, so that half a file is never read.
fn replace(path: &Path, mode: u32, contents: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("pem.{}", std::process::id()));
    let written = (|| {
        // A leftover of a process that was killed might have other rights.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        io::Write::write_all(&mut file, contents.as_bytes())?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The error is the news; the leftover is not.
        let _ = fs::remove_file(&beside);
    }
    written
}
