//! The CA certificates that this program trusts as a client: the system's, and those of a file.
//!
//! The system's, because that is where an operator's own CA is installed, and because they are renewed with the system
//! instead of with this program.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why there is no TLS client.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of CA certificates cannot be used.
    #[error("the CA file {path} cannot be used: {reason}; it needs `-----BEGIN CERTIFICATE-----` sections")]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// rustls refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A TLS client that trusts the system's CA certificates and those in the PEM file `ca`, and whether there is any.
///
/// # Errors
/// [`TrustError`].
pub fn client_config(ca: Option<&Path>) -> Result<(ClientConfig, bool), TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let bad = |reason: String| TrustError::Ca { path: path.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(error.to_string()))?;
        if certificates.is_empty() {
            return Err(bad("it has no certificate".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
    }
    let has_roots = !roots.is_empty();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((config, has_roots))
}
