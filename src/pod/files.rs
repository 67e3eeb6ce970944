//! The files that a start reads, for `check-config`: certificates, keys, CA certificates and the like.
//!
//! Never keeps anything. Always holds: it is the start's own code that reads them, so that what is refused here is refused there, in the same
//! words.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use roomcast_certs::{Rotation, TicketKeys};

use super::{
    certificate::certificate,
    client_file::ClientFile,
    grpc::grpc_tls,
    log::{redis_tls, upstream_settings},
    shared_keys::SharedKeys,
    start_error::StartError,
    traces::tracer,
};
use crate::{
    archive::{ArchiveStartError, Migrator, Seals},
    auth::Authority,
    compat,
    config::{Config, Tls},
    hooks::{AbsentHook, Hooks},
    metrics::Exposition,
    traces::TraceExporter,
};

/// Which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Those that a start reads.
    All,
    /// Keys of tokens, tickets and the archive.
    Keys,
}

/// Reads the files that a start with this configuration reads. What it would start with and warn of.
///
/// # Errors
/// [`StartError`]: a pod would not start.
pub fn read_files(config: &Config, reads: Reads) -> Result<Vec<String>, StartError> {
    Authority::new(&config.tokens)?;
    if let Some(file) = &config.archive.key_file {
        Seals::read(file).map_err(ArchiveStartError::from)?;
    }
    Migrator::of(&config.archive)?;
    TicketKeys::start(&config.ticket_keys, SystemTime::now())?;
    match reads {
        Reads::All => read_certificates(config),
        Reads::Keys => Ok(Vec::new()),
    }
}

/// Reads the certificates of listeners, and what others are trusted and called with.
fn read_certificates(config: &Config) -> Result<Vec<String>, StartError> {
    let is_file = |tls: &&Tls| matches!(tls, Tls::Files { .. });
    // One that the pod makes is made by a start alone.
    let public = config.tls.as_ref().filter(is_file).map(certificate).transpose()?;
    let mut warnings: Vec<_> = public.as_deref().and_then(|rotation| validity("cert", rotation)).into_iter().collect();
    if config.grpc.tls.as_ref().is_some_and(|tls| is_file(&tls)) {
        let own = grpc_tls(config, public.as_ref(), None)?.and_then(|tls| tls.own);
        warnings.extend(own.as_deref().and_then(|rotation| validity("grpc.cert", rotation)));
    }
    SharedKeys::start(config)?;
    ClientFile::of(config)?;
    if let Some(redis) = &config.redis {
        redis_tls(redis)?;
    }
    if let Some(upstream) = &config.upstream {
        upstream_settings(upstream, None)?;
    }
    let (exposition, _) = Exposition::new(1, &[])?;
    Hooks::new(&config.hooks, || exposition.hooks())?;
    AbsentHook::new(&config.hooks)?;
    compat::extensions(config, &exposition)?;
    if let Some(tracer) = tracer(config, &Arc::new(ArcSwap::from_pointee(config.policies.clone())), &exposition) {
        TraceExporter::new(tracer, &config.settings.traces, "")?;
    }
    Ok(warnings)
}

/// Why clients would refuse a certificate now, if they would.
fn validity(key: &str, certificate: &Rotation) -> Option<String> {
    let now = SystemTime::now();
    if certificate.not_after() <= now {
        Some(format!("{key}: the certificate has expired: clients will refuse it; renew it"))
    } else if certificate.not_before() > now {
        Some(format!("{key}: the certificate is not valid yet: check this machine's clock"))
    } else {
        None
    }
}
