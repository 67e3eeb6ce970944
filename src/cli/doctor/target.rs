//! What is checked: a URL, taken apart, and connections to it, with TLS as a client has it.
//!
//! Always holds: a certificate is verified until one was refused; after that only the finding is left of it, so that the other checks still
//! say what they can.

use std::{cell::Cell, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use http::Uri;
use roomcast_certs::insecure::client_config_accept_any;
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{
    cli::dial::Stream,
    config::without_secrets,
    model::Token,
    transport::{
        tls_words::{handshake_words, tls_error, tls_words},
        trust::client_config,
    },
};

/// How long a connection, and each answer, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where clients connect.
pub(super) struct DoctorTarget {
    /// As it is shown.
    pub(super) shown: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// The path of the WebSocket.
    pub(super) path: String,
    pub(super) token: Option<Token>,
    tls: Option<[Arc<ClientConfig>; 2]>,
    distrusted: Cell<bool>,
}

/// A connection, and what its TLS is.
pub(super) struct Line {
    pub(super) stream: Pin<Box<dyn Stream>>,
    pub(super) tls: Option<TlsFacts>,
}

/// What a handshake agreed on.
pub(super) struct TlsFacts {
    pub(super) version: Option<ProtocolVersion>,
    pub(super) resumed: bool,
    /// The certificate of the server itself.
    pub(super) leaf: Option<CertificateDer<'static>>,
    pub(super) chain: usize,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("{0}")]
    Tcp(io::Error),
    #[error("no answer within {PATIENCE:?}")]
    Slow,
    /// The certificate is not believed.
    #[error("{}", tls_words(.0))]
    Distrust(rustls::Error),
    #[error("{}", handshake_words(.0))]
    Tls(io::Error),
}

impl DoctorTarget {
    /// Reads a URL. `ca`: a PEM file of further CA certificates.
    pub(super) fn new(url: &str, token: Option<Token>, ca: Option<&Path>) -> Result<Self, String> {
        let shown = without_secrets(url);
        let wrong = |why: &str| format!("{shown}: {why}; a URL is https://host[:port], or wss://host[:port]/path");
        let uri: Uri = url.parse().map_err(|_| wrong("this is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(wrong("its scheme is none of https, wss, http and ws")),
        };
        let host = uri.host().ok_or_else(|| wrong("it has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = if uri.path() == "/" { "/ws".to_owned() } else { uri.path().to_owned() };
        let tls = if secure {
            let mut verified = client_config(ca).map_err(|error| error.to_string())?.0;
            verified.alpn_protocols = vec![b"http/1.1".to_vec()];
            let any = client_config_accept_any().map_err(|error| error.to_string())?;
            Some([Arc::new(verified), Arc::new(any)])
        } else {
            None
        };
        Ok(Self { shown, host, port, path, token, tls, distrusted: Cell::new(false) })
    }

    /// Whether there is TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// What `Host` says.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_secure() { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// From now on any certificate will do.
    pub(super) fn distrust(&self) {
        self.distrusted.set(true);
    }

    /// The TLS client as of now.
    pub(super) fn tls(&self) -> Option<Arc<ClientConfig>> {
        let [verified, any] = self.tls.as_ref()?;
        Some(Arc::clone(if self.distrusted.get() { any } else { verified }))
    }

    /// The head of a request, without its last line.
    pub(super) fn request(&self, target: &str) -> String {
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: roomcast-doctor/{}\r\n",
            self.authority(),
            env!("CARGO_PKG_VERSION")
        );
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {}\r\n", token.reveal()));
        }
        head
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Line, LineError> {
        timeout(PATIENCE, self.attempt()).await.unwrap_or(Err(LineError::Slow))
    }

    async fn attempt(&self) -> Result<Line, LineError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(LineError::Tcp)?;
        let _ = tcp.set_nodelay(true);
        let Some(config) = self.tls() else { return Ok(Line { stream: Box::pin(tcp), tls: None }) };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| LineError::Tls(io::Error::other(error.to_string())))?;
        let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| match tls_error(&error) {
            Some(distrust @ rustls::Error::InvalidCertificate(_)) => LineError::Distrust(distrust.clone()),
            _ => LineError::Tls(error),
        })?;
        let session = stream.get_ref().1;
        let chain = session.peer_certificates().unwrap_or_default();
        let facts = TlsFacts {
            version: session.protocol_version(),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            leaf: chain.first().map(|leaf| leaf.clone().into_owned()),
            chain: chain.len(),
        };
        Ok(Line { stream: Box::pin(stream), tls: Some(facts) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_clients_are_taken_apart() {
        for (url, host, port, path, authority) in [
            ("https://push.example.com", "push.example.com", 443, "/ws", "push.example.com"),
            ("wss://push.example.com:8443/live", "push.example.com", 8443, "/live", "push.example.com:8443"),
            ("http://[::1]:80/", "::1", 80, "/ws", "[::1]"),
            ("ws://[::1]:8080/ws", "::1", 8080, "/ws", "[::1]:8080"),
        ] {
            let target = DoctorTarget::new(url, None, None).unwrap();
            assert_eq!(
                (&*target.host, target.port, &*target.path, &*target.authority()),
                (host, port, path, authority)
            );
        }
        for url in ["push.example.com", "ftp://a", "https:///x"] {
            assert!(DoctorTarget::new(url, None, None).is_err(), "{url}");
        }
    }
}
