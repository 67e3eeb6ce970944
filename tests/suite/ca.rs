//! A certificate authority of a test's own: files for a pod, and both ends of TLS.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// An authority that nobody's system trusts.
pub struct Ca {
    folder: TempDir,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        Self::for_names(name, &["localhost", "127.0.0.1"])
    }

    /// One whose server has other names.
    pub fn for_names(name: &str, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pair = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, pair);
        let leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let pair = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("tls.crt"), leaf.signed_by(&pair, &issuer).unwrap().pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), pair.serialize_pem()).unwrap();
        Self { folder }
    }

    /// What trusts it.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The chain and the key of a server on this machine, by `localhost` and `127.0.0.1`.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.path("tls.crt"), self.path("tls.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// That server's end of TLS, for HTTP/1.1.
    pub fn acceptor(&self) -> TlsAcceptor {
        let (cert, key) = self.server();
        let mut config = ServerConfig::builder_with_provider(roomcast_certs::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates(&cert), PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config).into()
    }

    /// The end of a client that trusts this authority and nobody else.
    pub fn connector(&self, protocol: &[u8]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.file()));
        let mut config = ClientConfig::builder_with_provider(roomcast_certs::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config).into()
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}
