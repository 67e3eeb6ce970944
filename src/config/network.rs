//! Networks of addresses, as the operator writes them: `10.0.0.0/8`, `2001:db8::/32`, or one address.
//!
//! Always holds: an IPv4 address that arrived over IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::value::TextKind;

/// Some addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads an address, with or without the length of a prefix.
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| "it is not an IP address".to_owned())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => most,
            Some(Ok(prefix)) if prefix <= most => prefix,
            Some(_) => return Err(format!("its prefix is not one of 0 to {most}")),
        };
        // `::ffff:10.0.0.0/104` is 10.0.0.0/8.
        let (address, prefix) = match address.to_canonical() {
            canonical if canonical.is_ipv4() && address.is_ipv6() => match prefix.checked_sub(96) {
                Some(prefix) => (canonical, prefix),
                None => return Err("its prefix is shorter than that of all IPv4 addresses, 96".to_owned()),
            },
            _ => (address, prefix),
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let this = Self { address, prefix };
        if this.bits(address) << this.prefix.min(127) != 0 && prefix < most {
            return Err("bits behind its prefix are set".to_owned());
        }
        Ok(this)
    }

    /// Whether an address is one of it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if address.is_ipv4() != self.address.is_ipv4() {
            return false;
        }
        let differ = self.bits(address) ^ self.bits(self.address);
        self.prefix == 0 || differ >> (128 - u32::from(self.prefix)) == 0
    }

    /// The bits of an address, the first one highest.
    fn bits(&self, address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether an address is in one of the networks.
#[must_use]
pub fn any_contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// What limits count by: an IPv4 address, or the /64 of an IPv6 address, which is one customer's.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// The network by which limits count an address, as an operator writes it: `192.0.2.1`, `2001:db8::/64`.
#[must_use]
pub fn counted_by(address: IpAddr) -> impl fmt::Display {
    fmt::from_fn(move |f| match counted(address) {
        IpAddr::V4(address) => write!(f, "{address}"),
        IpAddr::V6(address) => write!(f, "{address}/64"),
    })
}

/// [`Network`] as a value of a key.
pub(crate) struct NetworkKind;

impl TextKind for NetworkKind {
    type Value = Network;
    const NAME: &'static str = "network";
    const ALLOWED: &'static str = "`10.0.0.0/8`, `2001:db8::/32`, or one address";

    fn read(&self, text: &str) -> Result<Network, String> {
        Network::parse(text)
    }

    fn write(&self, value: &Network) -> String {
        value.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_networks() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("::ffff:10.1.1.1", "10.1.1.1", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("2001:db8::1", "2001:db8::1", true),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.1/8",
            "2001:db8::/129",
            "2001:db8::1/64",
            "a/8",
            "10.0.0.0/",
            "::ffff:10.0.0.0/64",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Network::parse("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
    }

    #[test]
    fn one_customers_addresses_count_as_one() {
        for (address, expected) in
            [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            assert_eq!(counted(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
        let written = |address: &str| counted_by(address.parse().unwrap()).to_string();
        assert_eq!([written("::ffff:192.0.2.1"), written("2001:db8:1:2:3::6")], ["192.0.2.1", "2001:db8:1:2::/64"]);
    }
}
