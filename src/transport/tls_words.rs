//! Why a server's TLS is not good enough for this program, as a person says it: rustls has names of its own types instead.
//!
//! Pure. Always holds: what has no words here is said in rustls' own, so that nothing is hidden.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// What an error of a handshake says; `None`: it is none of TLS.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    if let Some(error) = error.downcast_ref::<TlsError>() {
        return Some(error);
    }
    error.downcast_ref::<io::Error>()?.get_ref().and_then(|inner| tls_error(inner))
}

/// Why a handshake failed.
#[must_use]
pub fn handshake_words(error: &io::Error) -> String {
    match tls_error(error) {
        Some(error) => tls_words(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection is closed within the TLS handshake: is something between that lets no TLS through?"
                .to_owned()
        }
        None => error.to_string(),
    }
}

/// Why a server's TLS is refused, or refuses this program.
#[must_use]
pub fn tls_words(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(why) => certificate_words(why),
        TlsError::InvalidMessage(_) => {
            "what answers there speaks no TLS: is this a port for plain connections?".to_owned()
        }
        TlsError::PeerIncompatible(_) => {
            "the server and this program have no version, or no cipher, of TLS in common: 1.2 or 1.3".to_owned()
        }
        TlsError::NoApplicationProtocol => "the server takes none of the protocols offered (ALPN)".to_owned(),
        TlsError::AlertReceived(alert) => alert_words(*alert),
        other => other.to_string(),
    }
}

fn alert_words(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            "the server takes neither TLS 1.2 nor TLS 1.3 as it is offered"
        }
        AlertDescription::HandshakeFailure => {
            "the server refuses the TLS handshake: it takes none of the ciphers, or wants a client's certificate"
        }
        AlertDescription::UnrecognisedName => "the server knows no host of this name",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the server wants a client's certificate"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => "the server does not believe the client's certificate",
        AlertDescription::AccessDenied => "the server does not let this client in",
        AlertDescription::NoApplicationProtocol => "the server takes none of the protocols offered (ALPN)",
        AlertDescription::InternalError => {
            "the server has a fault of its own: it may have no certificate for this name"
        }
        other => return format!("the server ends the TLS handshake ({other:?})"),
    };
    words.to_owned()
}

fn certificate_words(why: &CertificateError) -> String {
    use CertificateError as Why;
    let words = match why {
        Why::Expired | Why::ExpiredContext { .. } => "the certificate has expired",
        Why::NotValidYet | Why::NotValidYetContext { .. } => "the certificate is not valid yet",
        Why::Revoked => "the certificate was revoked",
        Why::UnknownIssuer => {
            "no authority that this machine trusts has signed the certificate, or the server does not send the certificates between (intermediates)"
        }
        Why::NotValidForNameContext { expected, presented } => {
            let has = match presented.as_slice() {
                [] => "it has no name at all (subjectAltName)".to_owned(),
                // As rustls prints them: DnsName("a.example"), IpAddress(10.0.0.7).
                names => {
                    format!("it is for {}", names.iter().map(|name| bare_name(name)).collect::<Vec<_>>().join(", "))
                }
            };
            return format!("the certificate is not for {}: {has}", expected.to_str());
        }
        Why::NotValidForName => "the certificate is for another name",
        Why::BadSignature => "the certificate's signature is wrong",
        Why::BadEncoding => "the certificate cannot be read",
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => "the certificate is not one for servers",
        // Of webpki, whose types are not ours to name: `openssl req -x509` makes such a certificate.
        Why::Other(inner) if inner.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate is that of an authority (CA:TRUE), which is to be none of a server"
        }
        other => return format!("the certificate is not believed: {other}"),
    };
    words.to_owned()
}

/// `a.example` of `DnsName("a.example")`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustls::{InvalidMessage, OtherError, PeerIncompatible, pki_types::ServerName};

    use super::*;

    #[test]
    fn no_word_is_one_of_rustls() {
        let name = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("push.example.com").unwrap(),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        };
        let authority = OtherError(std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity")));
        let certificates = [
            (CertificateError::Expired, "the certificate has expired"),
            (CertificateError::NotValidYet, "the certificate is not valid yet"),
            (CertificateError::UnknownIssuer, "no authority that this machine trusts has signed the certificate"),
            (
                name(&["DnsName(\"a.example\")", "b.example"]),
                "not for push.example.com: it is for a.example, b.example",
            ),
            (name(&[]), "it has no name at all"),
            (CertificateError::Other(authority), "that of an authority (CA:TRUE)"),
            (CertificateError::BadEncoding, "the certificate cannot be read"),
        ];
        let certificates = certificates.map(|(why, words)| (TlsError::InvalidCertificate(why), words));
        let others = [
            (TlsError::InvalidMessage(InvalidMessage::InvalidContentType), "speaks no TLS"),
            (TlsError::AlertReceived(AlertDescription::ProtocolVersion), "neither TLS 1.2 nor TLS 1.3"),
            (TlsError::AlertReceived(AlertDescription::UnrecognisedName), "no host of this name"),
            (TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13), "TLS in common"),
        ];
        for (error, words) in certificates.into_iter().chain(others) {
            let said = tls_words(&error);
            assert!(said.contains(words), "{said}");
            for raw in ["invalid peer certificate", "received fatal alert", "corrupt", "DnsName"] {
                assert!(!said.contains(raw), "{said}");
            }
            // As tokio-rustls hands it on.
            assert_eq!(handshake_words(&io::Error::new(io::ErrorKind::InvalidData, error)), said);
        }
        let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert!(handshake_words(&closed).starts_with("the connection is closed within the TLS handshake"));
        assert_eq!(handshake_words(&io::Error::other("x")), "x");
    }
}
