//! `[grpc]`: the API over gRPC.

use std::path::PathBuf;

use super::{
    address::{Bind, ListenAddress, ListenAddressKind},
    section::section,
    settings_error::SettingsError,
    tls::Tls,
    value::{File, List, Maybe, Switch},
};

section! {
    /// The API over gRPC, on listeners of its own. Not for the open network.
    pub struct GrpcSettings in "grpc" {
        /// Where backends call it. Empty: nowhere.
        listen: Vec<ListenAddress> = Vec::new(), List(ListenAddressKind), restart;
        /// Whether it takes TLS only: with `grpc.cert`, or else with the certificate of `listen`.
        tls: bool = false, Switch, restart;
        /// A certificate chain of its own, PEM.
        cert: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("that of `listen`", "\"/etc/roomcast/grpc/tls.crt\"");
        /// The private key of `grpc.cert`, PEM, not encrypted.
        key: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("that of `listen`", "\"/etc/roomcast/grpc/tls.key\"");
        /// Whether it accepts calls without a key while `api_keys` is not set.
        without_key: bool = false, Switch, restart;
    }
}

/// The API over gRPC, decided.
#[derive(Debug, Clone)]
pub struct Grpc {
    /// Its listeners.
    pub listen: Vec<Bind>,
    /// Its certificate; `None`: without TLS.
    pub tls: Option<Tls>,
    /// Whether it accepts calls without a key.
    pub open: bool,
}

impl GrpcSettings {
    /// What follows from it. `public`: the certificate of the public listeners.
    pub(super) fn decide(
        &self,
        public: Option<&Tls>,
        has_keys: bool,
        errors: &mut Vec<SettingsError>,
        warnings: &mut Vec<String>,
    ) -> Grpc {
        let tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) if self.tls => Some(Tls::Files { cert: cert.clone(), key: key.clone() }),
            (None, None) if self.tls && public.is_some() => public.cloned(),
            (None, None) if !self.tls => None,
            _ => {
                errors.push(SettingsError::GrpcCertificate);
                None
            }
        };
        let open = self.without_key && !has_keys;
        if open && !self.listen.is_empty() {
            warnings.push(
                "`grpc.without_key` is on and `api_keys` is not set: every client that reaches `grpc.listen` may publish and disconnect"
                    .to_owned(),
            );
        }
        let listen = self.listen.iter().flat_map(|address| address.binds()).collect();
        Grpc { listen, tls, open }
    }
}
