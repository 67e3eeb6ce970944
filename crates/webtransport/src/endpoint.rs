//! The QUIC endpoint: its UDP socket and what holds for each of its connections.
//!
//! Always holds: every window, stream count and buffer is finite; early data is off.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{
    IdleTimeout, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};

/// The most bytes of datagrams that wait to be sent on a connection. The oldest go when newer ones come.
const DATAGRAM_BUFFER: usize = 64 * 1024;

/// The most bytes of a client's datagrams that wait until they are forgotten.
const RECEIVED_DATAGRAMS: usize = 4 * 1024;

/// Handshakes that wait to be accepted: how many, and the bytes of their first packets, each and together.
const MAX_INCOMING: usize = 4_096;
const INCOMING_BYTES: u64 = 16 * 1024;
const INCOMING_BYTES_TOTAL: u64 = 8 * 1024 * 1024;

/// What holds for each connection of an endpoint. The defaults are for some 50,000 sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// How many streams a client may open, of each kind. A browser needs one of its own and three for HTTP/3.
    pub streams: usize,
    /// After this long without a packet a connection is lost. The client's own limit holds if it is shorter.
    pub idle: Duration,
    /// After this long without a packet a QUIC PING is sent, so that the way through NAT stays.
    pub keep_alive: Duration,
    /// The most bytes that a client may send ahead of what was read, on each stream and on all together.
    pub receive_window: usize,
    /// The most bytes of a connection that are sent and not acknowledged.
    pub send_window: usize,
    /// Whether several packets leave with one system call (UDP segmentation offload). Faster for bulk; each connection that
    /// ever sent a burst keeps the larger buffer.
    pub offload: bool,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            streams: 8,
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(12),
            receive_window: 64 << 10,
            send_window: 128 << 10,
            offload: false,
        }
    }
}

/// quinn's configuration of an endpoint. `tls` must offer `h3` by ALPN (RFC 9114 section 3.1).
///
/// # Errors
/// `tls` has no cipher suite for QUIC's first packets.
pub fn server_config(
    tls: rustls::ServerConfig,
    settings: &EndpointSettings,
) -> Result<ServerConfig, NoInitialCipherSuite> {
    let mut transport = TransportConfig::default();
    let streams = varint(settings.streams);
    let idle = IdleTimeout::try_from(settings.idle).unwrap_or(IdleTimeout::from(VarInt::MAX));
    transport
        .max_concurrent_bidi_streams(streams)
        .max_concurrent_uni_streams(streams)
        .stream_receive_window(varint(settings.receive_window))
        .receive_window(varint(settings.receive_window))
        .send_window(settings.send_window as u64)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(settings.keep_alive))
        .datagram_receive_buffer_size(Some(RECEIVED_DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .enable_segmentation_offload(settings.offload);
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(Arc::new(transport))
        .migration(true)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    Ok(config)
}

fn varint(number: usize) -> VarInt {
    VarInt::try_from(number as u64).unwrap_or(VarInt::MAX)
}

/// Opens the UDP socket of an endpoint, not blocking, with kernel buffers of `buffer` bytes or as many as the kernel gives.
/// `[::]` serves IPv4 too.
///
/// # Errors
/// The address is in use, not allowed for this process, or not an address of this machine.
pub fn bind(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_recv_buffer_size(buffer)?;
    socket.set_send_buffer_size(buffer)?;
    socket.bind(&address.into())?;
    let got = socket.recv_buffer_size()?;
    // Linux doubles the number for its own bookkeeping, and says the double.
    if got < buffer {
        tracing::info!(%address, asked = buffer, got, "the kernel gives a smaller UDP buffer: bursts may be lost (net.core.rmem_max)");
    }
    Ok(socket.into())
}
