//! The TLS settings of every listener.

use std::sync::{Arc, LazyLock};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ResolvesServerCert},
};

/// The one crypto provider: aws-lc-rs.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Server settings: TLS 1.2 (RFC 5246) and 1.3 (RFC 8446), ALPN `http/1.1` only (RFC 7301; a WebSocket upgrade needs
/// it), no early data (it can be replayed), resumption by one stateless ticket a connection with keys that live in this
/// process and rotate (until [`TicketKeys`](crate::TicketKeys) replace them), and no session cache: nothing is kept per connection.
///
/// # Errors
/// When the system has no randomness for the ticket keys.
pub fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    // The pod's own record layer takes over once a handshake is done.
    config.enable_secret_extraction = true;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Server settings for QUIC (RFC 9001): TLS 1.3, ALPN `h3` only (RFC 9114 section 3.1), no early data (it can be replayed)
/// and no tickets, unless [`TicketKeys`](crate::TicketKeys) make them: a client would seldom come back to the pod that has its key.
///
/// # Errors
/// rustls refuses the versions.
pub fn quic_server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
