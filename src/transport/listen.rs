//! Listening sockets: one per worker and address, spread by the kernel (SO_REUSEPORT).
//!
//! Always holds: options that a connection inherits (buffers, TCP_NODELAY, TCP_NOTSENT_LOWAT) are set once on the
//! listener, so that accepting costs no further system call.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use rustix::io::Errno;
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
/// another pod of the same user without a word. Where the machine has no IPv6, `[::]` is `0.0.0.0`.
///
/// # Errors
/// The address is in use, this process may not bind it, or it is no address of this machine.
pub fn reserve(address: SocketAddr) -> io::Result<SocketAddr> {
    reserve_with(address, bound)
}

fn reserve_with(address: SocketAddr, bound: impl Fn(SocketAddr) -> io::Result<SocketAddr>) -> io::Result<SocketAddr> {
    match bound(address) {
        // `[::]` stands for every address, those of IPv4 too.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && lacks_family(&error) => {
            let every = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            tracing::info!(%address, %error, "this machine has no IPv6: listening on IPv4 only");
            bound(every)
        }
        result => result,
    }
}

/// The address of a socket that was bound to `address`.
fn bound(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket();
    bound.ok_or_else(|| io::Error::other("the socket has no address"))
}

/// Whether the system refuses IPv6 as such: the kernel has none, or it is switched off.
fn lacks_family(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A machine whose kernel answers IPv6 with `errno`.
    fn without_ipv6(errno: Errno) -> impl Fn(SocketAddr) -> io::Result<SocketAddr> {
        move |address| if address.is_ipv6() { Err(errno.into()) } else { Ok(address) }
    }

    #[test]
    fn without_ipv6_every_address_is_that_of_ipv4() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT] {
            let reserve = |text| reserve_with(at(text), without_ipv6(errno));
            assert_eq!(reserve("[::]:8443").unwrap(), at("0.0.0.0:8443"), "{errno}");
            // One address was named: another is not what the operator meant.
            assert!(reserve("[::1]:8443").is_err() && reserve("[2001:db8::7]:8443").is_err(), "{errno}");
            assert_eq!(reserve("127.0.0.1:8443").unwrap(), at("127.0.0.1:8443"), "{errno}");
        }
        for errno in [Errno::ADDRINUSE, Errno::ACCESS] {
            let error = reserve_with(at("[::]:443"), without_ipv6(errno)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "another fault stays one");
        }
    }

    #[test]
    fn a_reserved_port_is_fixed() {
        let bound = reserve("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(bound.port() != 0 && bound.ip().is_loopback());
    }
}
