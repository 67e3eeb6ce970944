//! How `roomcast subscribe` connects: a WebSocket over TCP or TLS.

use std::{path::Path, pin::Pin, sync::Arc, time::Duration};

use http::{HeaderValue, Uri, header};
use roomcast_certs::insecure::client_config_accept_any;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, client::IntoClientRequest},
};

use crate::{
    config::without_secrets,
    model::Token,
    protocol::SUBPROTOCOL,
    transport::{
        tls_words::{handshake_words, tls_error},
        trust::client_config,
    },
};

/// How long connecting may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// An open WebSocket.
pub type Socket = WebSocketStream<Pin<Box<dyn Stream>>>;

/// Where to connect, and how.
pub struct Endpoint {
    uri: Uri,
    /// The URL as errors show it.
    shown: String,
    host: String,
    port: u16,
    token: Option<Token>,
    tls: Option<TlsConnector>,
}

/// Why there is no connection.
pub struct DialError {
    /// In a sentence.
    pub why: String,
    /// Whether it may work later.
    pub retry: bool,
}

impl Endpoint {
    /// Reads a `ws` or `wss` URL. `ca`: a PEM file of further CA certificates. `insecure`: any certificate will do.
    pub fn new(url: &str, token: Option<Token>, ca: Option<&Path>, insecure: bool) -> Result<Self, String> {
        let shown = without_secrets(url);
        let wrong = |why: &str| format!("{shown}: {why}; a URL is wss://host[:port]/ws, or ws:// without TLS");
        let uri: Uri = url.parse().map_err(|_| wrong("this is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => None,
            Some("wss") => {
                let config = if insecure {
                    client_config_accept_any().map_err(|error| error.to_string())?
                } else {
                    client_config(ca).map_err(|error| error.to_string())?.0
                };
                Some(TlsConnector::from(Arc::new(config)))
            }
            _ => return Err(wrong("its scheme is neither ws nor wss")),
        };
        let host = uri.host().ok_or_else(|| wrong("it has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { uri, shown, host, port, token, tls })
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Socket, DialError> {
        let attempt = tokio::time::timeout(TIMEOUT, self.attempt()).await;
        attempt.unwrap_or_else(|_| {
            Err(DialError { why: format!("{}: no answer in {TIMEOUT:?}", self.shown), retry: true })
        })
    }

    async fn attempt(&self) -> Result<Socket, DialError> {
        let failed = |why: String, retry| DialError { why: format!("{}: {why}", self.shown), retry };
        let mut request = self.uri.clone().into_client_request().map_err(|error| failed(error.to_string(), false))?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value =
                value.map_err(|_| failed("the token has characters that no header can carry".into(), false))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|error| failed(error.to_string(), true))?;
        let _ = tcp.set_nodelay(true);
        let stream: Pin<Box<dyn Stream>> = match &self.tls {
            None => Box::pin(tcp),
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from(self.host.clone());
                let name = name.map_err(|error| failed(error.to_string(), false))?;
                let connected = tls.connect(name, tcp).await;
                Box::pin(connected.map_err(|error| {
                    // A certificate that is not trusted now will not be in a second.
                    let distrust = matches!(tls_error(&error), Some(rustls::Error::InvalidCertificate(_)));
                    let hint = if distrust { "; --ca FILE trusts another CA, --insecure any certificate" } else { "" };
                    failed(format!("{}{hint}", handshake_words(&error)), !distrust)
                })?)
            }
        };
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => {
                let status = answer.status();
                let said = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let retry = status.is_server_error();
                Err(failed(format!("the server answers {status}: {}", said.trim()), retry))
            }
            Err(error) => Err(failed(error.to_string(), true)),
        }
    }
}
