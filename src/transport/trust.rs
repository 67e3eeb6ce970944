//! The CA certificates that this program trusts as a client: the system's, and those of a file.
//!
//! The system's, because that is where an operator's own CA is installed, and because they are renewed with the system
//! instead of with this program.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::own_authority::OwnAuthority;

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
    /// A file of the certificate that this program shows cannot be used.
    #[error("the file {path} of the client's certificate cannot be used: {reason}; {needs}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What it needs.
        needs: &'static str,
    },
    /// rustls refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A TLS client that trusts the system's CA certificates and those in the PEM file `ca`, and whether there is any. A server whose own
/// certificate is in the file is trusted too, if it is an authority's.
///
/// # Errors
/// [`TrustError`].
pub fn client_config(ca: Option<&Path>) -> Result<(ClientConfig, bool), TrustError> {
    let (builder, has_roots) = trusting(ca)?;
    Ok((builder.with_no_client_auth(), has_roots))
}

/// As [`client_config`], for a client that shows the certificate chain in the PEM file `cert`, whose private key is in `key`.
///
/// # Errors
/// [`TrustError`].
pub fn client_config_with_identity(
    ca: Option<&Path>,
    cert: &Path,
    key: &Path,
) -> Result<(ClientConfig, bool), TrustError> {
    let (builder, has_roots) = trusting(ca)?;
    let bad = |path: &Path, reason: String, needs| TrustError::Identity { path: path.to_owned(), reason, needs };
    let needs = "it needs `-----BEGIN CERTIFICATE-----` sections, the client's own first";
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(cert, error.to_string(), needs))?;
    if chain.is_empty() {
        return Err(bad(cert, "it has no certificate".to_owned(), needs));
    }
    let needs = "it needs the private key of the certificate, not encrypted, as `-----BEGIN PRIVATE KEY-----`";
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string(), needs))?;
    let config = builder.with_client_auth_cert(chain, private).map_err(|error| bad(key, error.to_string(), needs))?;
    Ok((config, has_roots))
}

/// The first half of a client's configuration.
fn trusting(ca: Option<&Path>) -> Result<(ConfigBuilder<ClientConfig, WantsClientCert>, bool), TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    if let Some(path) = ca {
        let bad = |reason: String| TrustError::Ca { path: path.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(error.to_string()))?;
        if certificates.is_empty() {
            return Err(bad("it has no certificate".to_owned()));
        }
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
        }
        let verifier = OwnAuthority::new(provider, roots, certificates).map_err(|error| bad(error.to_string()))?;
        return Ok((builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)), true));
    }
    let has_roots = !roots.is_empty();
    Ok((builder.with_root_certificates(roots), has_roots))
}
