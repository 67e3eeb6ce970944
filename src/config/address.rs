//! Addresses to listen on, and to be found at.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    host::host_and_port,
    raw::Raw,
    value::{Kind, TextKind, quoted},
};

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
pub(crate) struct ListenAddressKind;

impl Kind for ListenAddressKind {
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
        // A file that takes a pod's address from its environment, `[${POD_IP}]:9000`, is the same for both families.
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(address) = bracketed.and_then(|host| host.parse::<Ipv4Addr>().ok()) {
            return Ok(ListenAddress::Ip(SocketAddr::new(IpAddr::V4(address), port)));
        }
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

/// Where other pods find this one's internal listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// `None`: the port that the pod really listens on.
    pub port: Option<u16>,
}

impl Advertise {
    /// With a port, for a pod that listens on `bound`.
    #[must_use]
    pub fn resolved(&self, bound: u16) -> String {
        Self { port: Some(self.port.unwrap_or(bound)), ..self.clone() }.to_string()
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match self.port {
            Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
            None => f.write_str(host),
        }
    }
}

/// [`Advertise`] as a value of a key.
pub(crate) struct AdvertiseKind;

impl TextKind for AdvertiseKind {
    type Value = Advertise;
    const NAME: &'static str = "address";
    const ALLOWED: &'static str =
        "`HOST:PORT`, `IP:PORT` or `[IPv6]:PORT`; without a port it is that of `internal_listen`";

    fn read(&self, text: &str) -> Result<Advertise, String> {
        let (host, port) = match text.parse::<Ipv6Addr>() {
            // As Kubernetes writes a pod's address.
            Ok(address) => (address.to_string(), 0),
            Err(_) => host_and_port(text, 0)?,
        };
        if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
            return Err("no pod can connect to it: name an address of this pod".to_owned());
        }
        Ok(Advertise { host, port: (port > 0).then_some(port) })
    }

    fn write(&self, value: &Advertise) -> String {
        value.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_may_be_in_brackets_whatever_its_family() {
        for (text, shown) in [
            ("[10.0.0.7]:9000", "\"10.0.0.7:9000\""),
            ("10.0.0.7:9000", "\"10.0.0.7:9000\""),
            ("[fd00::7]:9000", "\"[fd00::7]:9000\""),
        ] {
            let address = ListenAddressKind.parse(&Raw::Text(text.to_owned())).unwrap();
            assert_eq!(ListenAddressKind.render(&address).as_deref(), Some(shown), "{text}");
        }
        for bad in ["fd00::7:9000", "[]:9000", "[10.0.0.7:9000", "[10.0.0.7]", "[a]:9000", "[10.0.0.7]:70000"] {
            assert!(ListenAddressKind.parse(&Raw::Text(bad.to_owned())).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_to_be_found_at_may_lack_its_port() {
        for (text, shown, resolved) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.7:9000"),
            ("10.0.0.7:9001", "10.0.0.7:9001", "10.0.0.7:9001"),
            ("pod-1.pods", "pod-1.pods", "pod-1.pods:9000"),
            ("fd00::7", "fd00::7", "[fd00::7]:9000"),
            ("[fd00::7]:1", "[fd00::7]:1", "[fd00::7]:1"),
        ] {
            let address = AdvertiseKind.parse(&Raw::Text(text.to_owned())).unwrap();
            assert_eq!((address.to_string(), address.resolved(9000)), (shown.to_owned(), resolved.to_owned()));
        }
        for bad in ["", "0.0.0.0", "[::]:9000", "::", "a:0", "a:70000", "a b", "[::1", "http://a"] {
            assert!(AdvertiseKind.parse(&Raw::Text(bad.to_owned())).is_err(), "{bad}");
        }
    }
}
