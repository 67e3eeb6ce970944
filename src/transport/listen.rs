//! Listening sockets: one per worker and address, spread by the kernel (SO_REUSEPORT).
//!
//! Always holds: options that a connection inherits (buffers, TCP_NODELAY, TCP_NOTSENT_LOWAT) are set once on the
//! listener, so that accepting costs no further system call.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// What accepted sockets inherit; `None`: as the system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketOptions {
    /// SO_SNDBUF in bytes: a larger one hides a slow receiver's backlog in the kernel.
    pub send_buffer: Option<usize>,
    /// TCP_NOTSENT_LOWAT in bytes: how much unsent data lets a socket count as writable.
    pub notsent_lowat: Option<usize>,
}

/// The accept queue.
const BACKLOG: i32 = 4_096;

/// Makes sure that no other process listens on an address, and fixes its port if it is 0: SO_REUSEPORT would share it with
/// another pod of the same user without a word.
///
/// # Errors
/// The address is in use, this process may not bind it, or it is no address of this machine.
pub fn reserve(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket();
    bound.ok_or_else(|| io::Error::other("the socket has no address"))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too; `[::1]` and others stay apart from an IPv4 listener on the same port.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Opens a listener. Each worker opens its own on the same address; the kernel spreads connections over them.
///
/// # Errors
/// Another process uses the address, this one may not bind it, or it is no address of this machine.
pub fn listen(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = open(address)?;
    socket.set_reuse_port(true)?;
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.notsent_lowat {
        socket.set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX))?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
