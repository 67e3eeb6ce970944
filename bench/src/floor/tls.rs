//! The floor's TLS: the pod's own settings, but for the secrets, which may be taken out.

use std::{sync::Arc, time::SystemTime};

use rustls::{ServerConfig, sign::SingleCertAndKey};

use crate::error::BenchError;

/// A configuration with a certificate of its own.
pub(crate) fn config() -> Result<Arc<ServerConfig>, BenchError> {
    let failed = |what: &dyn std::fmt::Display| BenchError::Protocol(format!("the floor's TLS: {what}"));
    let (certificate, _) = roomcast_certs::make(SystemTime::now()).map_err(|e| failed(&e))?;
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certificate.served())));
    let mut config = roomcast_certs::server_config(resolver).map_err(|e| failed(&e))?;
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}
