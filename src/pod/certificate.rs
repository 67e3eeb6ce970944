//! The certificate of a listener, renewed while the pod runs.

use std::{sync::Arc, time::SystemTime};

use roomcast_certs::{Rotation, RotationError, Source};

use crate::config::Tls;

/// The certificate of `tls`, loaded or made.
pub(super) fn certificate(tls: &Tls) -> Result<Arc<Rotation>, RotationError> {
    let source = match tls {
        Tls::Files { cert, key } => Source::Files { cert: cert.clone(), key: key.clone() },
        Tls::Development { state_dir } => Source::Development { dir: state_dir.clone() },
    };
    Ok(Arc::new(Rotation::start(source, SystemTime::now())?))
}
