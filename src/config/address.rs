//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::value::{Kind, Raw, quoted};

/// An address as the operator writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddress {
    /// `IP:PORT`, or `:PORT` for every address.
    Ip(SocketAddr),
    /// `localhost:PORT`: both loopback addresses.
    Localhost(u16),
}

/// One socket to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// The address. `[::]` means IPv4 as well.
    pub address: SocketAddr,
    /// It may fail where the machine lacks the address family: the IPv6 half of `localhost`.
    pub optional: bool,
}

impl ListenAddress {
    /// The sockets that it stands for. A browser does not fall back from `::1` to `127.0.0.1` for everything, so that
    /// `localhost` is both.
    #[must_use]
    pub fn binds(self) -> Vec<Bind> {
        match self {
            Self::Ip(address) => vec![Bind { address, optional: false }],
            Self::Localhost(port) => vec![
                Bind { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), optional: false },
                Bind { address: SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port), optional: true },
            ],
        }
    }
}

/// [`ListenAddress`] as a value of a key.
pub(crate) struct Address;

impl Kind for Address {
    type Value = ListenAddress;

    fn parse(&self, raw: &Raw) -> Result<ListenAddress, String> {
        let Raw::Text(text) = raw else { return Err("it is not an address".to_owned()) };
        if let Ok(address) = text.parse() {
            return Ok(ListenAddress::Ip(address));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().map_err(|_| "its port is not one of 0 to 65535")?),
            None => return Err("it has no port".to_owned()),
        };
        match host {
            "" => Ok(ListenAddress::Ip(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))),
            "localhost" => Ok(ListenAddress::Localhost(port)),
            _ if host.contains(':') => Err("an IPv6 address goes into brackets".to_owned()),
            _ => Err("its host is not an IP address".to_owned()),
        }
    }

    fn render(&self, value: &ListenAddress) -> Option<String> {
        Some(quoted(&match value {
            ListenAddress::Ip(address) => address.to_string(),
            ListenAddress::Localhost(port) => format!("localhost:{port}"),
        }))
    }

    fn name(&self) -> String {
        "address".to_owned()
    }

    fn allowed(&self) -> String {
        "`IP:PORT`, `[IPv6]:PORT`, `localhost:PORT` (both loopback addresses), `:PORT` (every address)".to_owned()
    }
}
