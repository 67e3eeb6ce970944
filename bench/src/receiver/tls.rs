//! The receivers' TLS: rustls' defaults, any certificate.
//!
//! A development pod makes its own certificate, and what is measured is the pod, not its certificate.

use rustls::{ClientConfig, client::Resumption};

use crate::error::BenchError;

/// A configuration; with `resumption`, sessions of earlier connections are offered.
pub(crate) fn config(resumption: bool) -> Result<ClientConfig, BenchError> {
    let mut config = roomcast_certs::insecure::client_config_accept_any()
        .map_err(|e| BenchError::Protocol(format!("the receivers' TLS: {e}")))?;
    config.resumption = if resumption { Resumption::in_memory_sessions(1024) } else { Resumption::disabled() };
    Ok(config)
}
