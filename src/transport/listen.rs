//! Listening sockets: one per worker and address, spread by the kernel (SO_REUSEPORT).
//!
//! Always holds: options that a connection inherits (buffers, TCP_NODELAY, TCP_NOTSENT_LOWAT) are set once on the
//! listener, so that accepting costs no further system call.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// What accepted sockets inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// SO_SNDBUF in bytes: a larger one hides a slow receiver's backlog in the kernel.
    pub send_buffer: usize,
    /// TCP_NOTSENT_LOWAT in bytes: how much unsent data lets a socket count as writable.
    pub notsent_lowat: u32,
    /// The accept queue.
    pub backlog: i32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { send_buffer: 128 * 1024, notsent_lowat: 32 * 1024, backlog: 4_096 }
    }
}

/// Opens a listener. With several workers each opens its own on the same address.
///
/// # Errors
/// The address is in use (by a socket that is not one of ours), not ours to bind, or not an address of this machine.
pub fn listen(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too; `[::1]` and others stay apart from an IPv4 listener on the same port.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_send_buffer_size(options.send_buffer)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(options.notsent_lowat)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    TcpListener::from_std(socket.into())
}
