//! How an edge connects to a home's pod: a WebSocket over TCP or TLS, with its key.

use std::{pin::Pin, sync::Arc};

use http::{HeaderValue, Uri, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, protocol::WebSocketConfig},
};

use super::settings::UpstreamSettings;
use crate::{
    broker::relay::{MAX_RECORD, RELAY_PATH, RELAY_PROTOCOL},
    transport::tls_words::{handshake_words, tls_error},
};

/// Bytes both ways.
pub(super) trait Bytestream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Bytestream for T {}

/// An open link.
pub(super) type LinkSocket = WebSocketStream<Pin<Box<dyn Bytestream>>>;

/// As much of what a home says goes to the log.
pub(super) const SENTENCE: usize = 300;

/// How large what comes over a link may be.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_RECORD + 64)).max_frame_size(Some(MAX_RECORD + 64))
}

/// Connects. The error is a sentence.
pub(super) async fn dial(url: &str, settings: &UpstreamSettings) -> Result<LinkSocket, String> {
    let uri: Uri =
        format!("{}{RELAY_PATH}", url.trim_end_matches('/')).parse().map_err(|_| "it is no URL".to_owned())?;
    let host = uri.host().ok_or("it has no host")?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_tls = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let mut request = uri.into_client_request().map_err(|error| error.to_string())?;
    let mut key = HeaderValue::try_from(format!("Bearer {}", settings.key))
        .map_err(|_| "`upstream.key` has characters that no header can carry".to_owned())?;
    key.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, key);
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(RELAY_PROTOCOL));
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
    let _ = tcp.set_nodelay(true);
    let stream: Pin<Box<dyn Bytestream>> = match settings.tls.as_ref().filter(|_| is_tls) {
        None if is_tls => return Err("TLS is not set up".to_owned()),
        None => Box::pin(tcp),
        Some(tls) => {
            let name = rustls::pki_types::ServerName::try_from(host).map_err(|error| error.to_string())?;
            let connected = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await;
            Box::pin(connected.map_err(|error| {
                let distrust = matches!(tls_error(&error), Some(rustls::Error::InvalidCertificate(_)));
                let hint = if distrust { " (`upstream.ca` trusts another CA)" } else { "" };
                format!("{}{hint}", handshake_words(&error))
            })?)
        }
    };
    match client_async_with_config(request, stream, Some(limits())).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(answer)) => {
            let said = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let said: String = said.trim().chars().take(SENTENCE).collect();
            Err(format!("it answers {}: {said}", answer.status()))
        }
        Err(error) => Err(error.to_string()),
    }
}
