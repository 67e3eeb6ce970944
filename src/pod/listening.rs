//! The pod's listening sockets and files: taken before anything runs, so that what cannot be had is known at once.
//!
//! Never accepts. Always holds: an address is reserved before it is listened on.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::start_error::StartError;
use crate::{
    config::Bind,
    transport::{
        listen::{SocketOptions, listen, reserve},
        webtransport::bind,
    },
};

/// Reserves the addresses that a key names.
///
/// # Errors
/// [`StartError::Listen`].
pub(super) fn reserve_all(binds: &[Bind]) -> Result<Vec<SocketAddr>, StartError> {
    let mut reserved = Vec::new();
    // Both halves of `localhost:0` get one port.
    let mut port = None;
    for bind in binds {
        let mut address = bind.address;
        if let (0, Some(port)) = (address.port(), port) {
            address.set_port(port);
        }
        let reserved_one = reserve(address).or_else(|error| {
            if !lacks_ipv6(address, &error) {
                return Err(error);
            }
            // `[::]` stands for every address, and a host without IPv6 has those of IPv4.
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
            reserve(address)
        });
        match reserved_one {
            Ok(address) => {
                port = Some(address.port());
                reserved.push(address);
            }
            Err(error) if bind.optional => tracing::debug!(%address, %error, "not listening there"),
            Err(error) => return Err(StartError::Listen { address, error }),
        }
    }
    Ok(reserved)
}

/// Whether every address was asked for, on a host whose kernel has no IPv6.
fn lacks_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED && error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Listens on the addresses that a key of internal listeners names, which join `bound`.
///
/// # Errors
/// [`StartError::Listen`].
pub(super) fn listen_on_all(binds: &[Bind], bound: &mut Vec<SocketAddr>) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for address in reserve_all(binds)? {
        let listener = listen(address, &SocketOptions::default());
        listeners.push(listener.map_err(|error| StartError::Listen { address, error })?);
        bound.push(address);
    }
    Ok(listeners)
}

/// A UDP socket beside each TLS listener, on the same port number.
///
/// # Errors
/// [`StartError::ListenUdp`].
pub(super) fn bind_quic(addresses: &[SocketAddr], buffer: usize) -> Result<Vec<UdpSocket>, StartError> {
    let bound = addresses
        .iter()
        .map(|&address| bind(address, buffer).map_err(|error| StartError::ListenUdp { address, error }));
    bound.collect()
}

/// Every connection is an open file: the soft limit is raised to the hard one, which is what the configuration counts on. Returns
/// how many files may be open then.
pub(super) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, soft = limit.current, hard = limit.maximum, "the open-file limit could not be raised");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
