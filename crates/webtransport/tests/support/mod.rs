//! TLS for both sides of a test.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A server's TLS with a certificate for `localhost`, and a client that trusts it.
pub fn tls() -> (rustls::ServerConfig, quinn::ClientConfig) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate = CertificateDer::from(certificate.der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls13 = &[&rustls::version::TLS13];
    let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(tls13);
    let mut tls = tls.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(tls13);
    let mut trusting = trusting.unwrap().with_root_certificates(roots).with_no_client_auth();
    trusting.alpn_protocols = vec![b"h3".to_vec()];
    (tls, quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(trusting).unwrap())))
}
