//! The floor's TLS: the defaults of the pod (aws-lc-rs, P-256), TLS 1.3 alone, secrets may be taken out.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};

use crate::error::BenchError;

/// A configuration with a certificate of its own.
pub(crate) fn config() -> Result<Arc<ServerConfig>, BenchError> {
    let failed = |what: &dyn std::fmt::Display| BenchError::Protocol(format!("making the floor's certificate: {what}"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|e| failed(&e))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| failed(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|e| failed(&e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}
