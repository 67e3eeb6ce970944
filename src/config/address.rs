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

impl ListenAddress {
    /// Whether what connects to one could reach the other: a process may listen on both (SO_REUSEPORT), and the kernel gives a connection
    /// to either.
    #[must_use]
    pub(super) fn meets(self, other: Self) -> bool {
        self.binds().iter().any(|bind| other.binds().iter().any(|other| bind.meets(other)))
    }
}

impl Bind {
    fn meets(&self, other: &Self) -> bool {
        let (own, other) = (self.address, other.address);
        let covers = |every: IpAddr, one: IpAddr| match every {
            IpAddr::V6(ip) => ip.is_unspecified(),
            IpAddr::V4(ip) => ip.is_unspecified() && one.is_ipv4(),
        };
        let (one, two) = (own.ip(), other.ip());
        own.port() != 0 && own.port() == other.port() && (one == two || covers(one, two) || covers(two, one))
    }
}

/// The listeners that are not all of one kind, in the order of [`shared_ports`].
const LISTENERS: [&str; 5] = ["listen", "plain_listen", "internal_listen", "grpc.listen", "relay.listen"];

/// The keys of listeners of two kinds that meet, and their port.
pub(super) fn shared_ports(listeners: [&[Bind]; 5]) -> Vec<(&'static str, &'static str, u16)> {
    let named: Vec<_> = LISTENERS.into_iter().zip(listeners).collect();
    let mut shared = Vec::new();
    for (index, (one, binds)) in named.iter().enumerate() {
        for (two, others) in named.iter().skip(index + 1) {
            let meeting = binds.iter().find(|bind| others.iter().any(|other| bind.meets(other)));
            shared.extend(meeting.map(|bind| (*one, *two, bind.address.port())));
        }
    }
    shared
}

/// The keys of listeners that name an address twice, and the address: one of the two was meant to be another. Port 0 is another one each time.
pub(super) fn repeated_addresses(listeners: [&[Bind]; 5]) -> Vec<(&'static str, SocketAddr)> {
    let repeated = |binds: &[Bind]| {
        let again = |(index, bind): (usize, &Bind)| {
            binds.iter().take(index).any(|before| before.address == bind.address).then_some(bind.address)
        };
        binds.iter().enumerate().filter(|(_, bind)| bind.address.port() != 0).find_map(again)
    };
    LISTENERS.into_iter().zip(listeners).filter_map(|(key, binds)| Some((key, repeated(binds)?))).collect()
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
            // A port from the environment may have space around it.
            Some((host, port)) => (host, port.trim().parse::<u16>().map_err(|_| "its port is not one of 0 to 65535")?),
            None if text.trim().parse::<u16>().is_ok() => {
                let port = text.trim();
                return Err(format!("it is a port alone: write `:{port}` for every address, or `localhost:{port}`"));
            }
            None => return Err("it has no port".to_owned()),
        };
        // A file that takes a pod's address from its environment, `[${POD_IP}]:9000`, is the same for both families.
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(address) = bracketed.and_then(|host| host.parse().ok()) {
            return Ok(ListenAddress::Ip(SocketAddr::new(address, port)));
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
            ("[::]: 9000\n", "\"[::]:9000\""),
        ] {
            let address = ListenAddressKind.parse(&Raw::Text(text.to_owned())).unwrap();
            assert_eq!(ListenAddressKind.render(&address).as_deref(), Some(shown), "{text}");
        }
        for bad in ["fd00::7:9000", "[]:9000", "[10.0.0.7:9000", "[10.0.0.7]", "[a]:9000", "[10.0.0.7]:70000"] {
            assert!(ListenAddressKind.parse(&Raw::Text(bad.to_owned())).is_err(), "{bad}");
        }
    }

    #[test]
    fn listeners_of_two_kinds_have_no_port_in_common() {
        let binds = |text: &str| ListenAddressKind.parse(&Raw::Text(text.to_owned())).unwrap().binds();
        for (one, other, meet) in [
            ("[::]:1", "[::]:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "10.0.0.7:1", true),
            ("[::1]:1", "localhost:1", true),
            ("[::]:1", "[::]:2", false),
            ("[::]:0", "[::]:0", false),
            ("0.0.0.0:1", "[::1]:1", false),
            ("10.0.0.7:1", "10.0.0.8:1", false),
        ] {
            let (one, other) = (binds(one), binds(other));
            for [one, other] in [[&one, &other], [&other, &one]] {
                let port = one[0].address.port();
                let expected = if meet { vec![("plain_listen", "grpc.listen", port)] } else { vec![] };
                assert_eq!(shared_ports([&[], one, &[], other, &[]]), expected, "{one:?} {other:?}");
            }
            // Those of one kind are the same wherever a connection comes.
            let both: Vec<Bind> = one.iter().chain(&other).copied().collect();
            assert_eq!(shared_ports([&both, &[], &[], &[], &[]]), []);
        }
    }

    #[test]
    fn an_address_that_a_listener_has_twice_is_found() {
        let binds = |texts: &[&str]| -> Vec<Bind> {
            let read = |text: &&str| ListenAddressKind.parse(&Raw::Text((*text).to_owned())).unwrap().binds();
            texts.iter().flat_map(read).collect()
        };
        for (texts, twice) in [
            (&[":8443", ":8443"][..], Some("[::]:8443")),
            (&["127.0.0.1:1", ":2", "localhost:1"], Some("127.0.0.1:1")),
            (&[":8443", "127.0.0.1:8443"], None),
            (&[":0", ":0"], None),
            (&[":1", ":2"], None),
            (&[], None),
        ] {
            let expected: Vec<_> =
                twice.map(|address| ("plain_listen", address.parse().unwrap())).into_iter().collect();
            assert_eq!(repeated_addresses([&[], &binds(texts), &[], &[], &[]]), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_port_alone_is_told_how_it_is_written() {
        let why = ListenAddressKind.parse(&Raw::Text("8443".to_owned())).unwrap_err();
        assert_eq!(why, "it is a port alone: write `:8443` for every address, or `localhost:8443`");
        assert_eq!(ListenAddressKind.parse(&Raw::Text("push".to_owned())), Err("it has no port".to_owned()));
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
