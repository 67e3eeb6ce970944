//! The UDP sockets of this process, and how a session is opened through one of them.

use std::{
    cell::Cell,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{
    ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use socket2::{Domain, Socket, Type};
use web_transport_quinn::proto::ConnectRequest;

use crate::{
    error::{BenchError, Doing as _},
    receiver::control::Join,
};

/// UDP sockets of a process: sessions are spread over them, so that a burst finds room.
const ENDPOINTS: usize = 8;

/// The kernel's buffers of each.
const BUFFER: usize = 8 << 20;

/// The sockets and settings of all sessions.
pub(super) struct Callers {
    endpoints: Vec<Endpoint>,
    config: ClientConfig,
    next: Cell<usize>,
}

/// What holds for each client's connection: any certificate, no tickets, windows as a browser's.
pub(in crate::receiver) fn client_config() -> Result<ClientConfig, BenchError> {
    let quic = |what: &str| BenchError::Protocol(format!("the receivers' QUIC: {what}"));
    let mut tls = roomcast_certs::insecure::client_config_accept_any_with(&[&rustls::version::TLS13])
        .map_err(|e| quic(&e.to_string()))?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|e| quic(&e.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    // As a browser: streams for many rooms, and no sign of life of its own.
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(100))
        .max_idle_timeout(Some(VarInt::from_u32(600_000).into()))
        .receive_window(VarInt::from_u32(4 << 20));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Opens a session with the pod at `address`, whose certificate names `host`.
pub(in crate::receiver) async fn call(
    endpoint: &Endpoint,
    config: &ClientConfig,
    (address, host): (SocketAddr, &str),
    deflate: bool,
) -> Result<web_transport_quinn::Session, String> {
    let connecting = endpoint.connect_with(config.clone(), address, host);
    let connection = connecting.map_err(|e| e.to_string())?.await.map_err(|e| e.to_string())?;
    let query = if deflate { "?compression=deflate-raw&takeover=no" } else { "" };
    let url = url::Url::parse(&format!("https://{host}:{}/wt{query}", address.port())).map_err(|e| e.to_string())?;
    web_transport_quinn::Session::connect(connection, ConnectRequest::new(url)).await.map_err(|e| e.to_string())
}

impl Callers {
    /// Opens the sockets.
    pub(super) fn new() -> Result<Self, BenchError> {
        let config = client_config()?;
        let endpoints = (0..ENDPOINTS).map(|_| endpoint()).collect::<Result<_, _>>()?;
        Ok(Self { endpoints, config, next: Cell::new(0) })
    }

    /// Opens a session with the server that `join` names.
    pub(super) async fn connect(&self, join: &Join) -> Result<web_transport_quinn::Session, String> {
        let next = self.next.get();
        self.next.set((next + 1) % self.endpoints.len());
        call(&self.endpoints[next], &self.config, (join.address, &join.host), join.deflate).await
    }
}

fn endpoint() -> Result<Endpoint, BenchError> {
    let doing = || "opening a UDP socket".to_owned();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).doing(doing)?;
    socket.set_recv_buffer_size(BUFFER).doing(doing)?;
    socket.set_send_buffer_size(BUFFER).doing(doing)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).doing(doing)?;
    let socket = UdpSocket::from(socket);
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).doing(doing)
}
