//! A server whose certificate is its own authority: self-signed, with `CA:TRUE`, as `openssl req -x509` makes it.
//!
//! Owns the one case in which a server is trusted although webpki refuses its certificate, because a certificate of an authority is to be
//! none of a server (RFC 5280 section 4.2.1.9): the operator named this very certificate in a file of CA certificates. Programs that use
//! OpenSSL or Go's library connect to such servers. Never trusts a certificate that is not in the file, byte for byte, and never reads the
//! system's. Always holds: dates, the server's name and the signature of the handshake are verified as for every other server.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Verifies servers, also those whose certificate the operator named.
#[derive(Debug)]
pub(super) struct OwnAuthority {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl OwnAuthority {
    /// `roots`: what may sign certificates. `named`: those of the operator's file, which are among them.
    ///
    /// # Errors
    /// There are no roots.
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
    ) -> Result<Self, VerifierBuilderError> {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { usual, named })
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        self.named.iter().any(|named| named.as_ref() == certificate.as_ref())
    }
}

/// Whether nothing but its being an authority's was found wrong with a certificate: webpki looks at its dates before.
fn is_authority(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
            matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

impl ServerCertVerifier for OwnAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if !(verdict.as_ref().is_err_and(is_authority) && self.is_named(end_entity)) {
            return verdict;
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// The certificate of an authority that is a server too, by the name `localhost`, for the year 2020.
    fn authority() -> CertificateParams {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 12, 31);
        params
    }

    fn trusting(named: &CertificateDer<'static>) -> OwnAuthority {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(named.clone()).unwrap();
        OwnAuthority::new(provider, roots, vec![named.clone()]).unwrap()
    }

    fn verdict(
        verifier: &OwnAuthority,
        certificate: &CertificateDer<'_>,
        name: &str,
        year: u64,
    ) -> Result<(), CertificateError> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 100 * 86_400));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        match verifier.verify_server_cert(certificate, &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_is_trusted_by_its_own_certificate_in_the_file() {
        let own = authority().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let verifier = trusting(own.der());
        assert_eq!(verdict(&verifier, own.der(), "localhost", 2020), Ok(()));
        let other_name = verdict(&verifier, own.der(), "redis.example.com", 2020).unwrap_err();
        assert!(matches!(other_name, CertificateError::NotValidForNameContext { .. }), "{other_name:?}");
        let expired = verdict(&verifier, own.der(), "localhost", 2022).unwrap_err();
        assert!(matches!(expired, CertificateError::ExpiredContext { .. }), "{expired:?}");
        let early = verdict(&verifier, own.der(), "localhost", 2018).unwrap_err();
        assert!(matches!(early, CertificateError::NotValidYetContext { .. }), "{early:?}");
    }

    #[test]
    fn another_authority_is_no_server_whoever_signed_it() {
        let pair = KeyPair::generate().unwrap();
        let own = authority().self_signed(&pair).unwrap();
        let verifier = trusting(own.der());
        // The same names, and a key of its own; and the same key, in a certificate that is not in the file.
        let stranger = authority().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let mut more_names = authority();
        more_names.subject_alt_names = CertificateParams::new(["other".to_owned()]).unwrap().subject_alt_names;
        let more_names = more_names.self_signed(&pair).unwrap();
        let signed = authority().signed_by(&KeyPair::generate().unwrap(), &Issuer::new(authority(), &pair)).unwrap();
        for (name, certificate) in [("localhost", &stranger), ("other", &more_names), ("localhost", &signed)] {
            assert!(verdict(&verifier, certificate.der(), name, 2020).is_err());
        }
        // What it signs for servers is trusted as ever.
        let mut server = authority();
        server.is_ca = IsCa::NoCa;
        let server = server.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(authority(), &pair)).unwrap();
        assert_eq!(verdict(&verifier, server.der(), "localhost", 2020), Ok(()));
    }
}
