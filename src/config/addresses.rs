//! What is decided by a client's address: which proxies say it, which may come, and how much one may do.

use super::{
    network::{Network, NetworkKind, any_contains},
    section::section,
    value::{Choice, Count, List, Maybe, Switch},
};

section! {
    /// Clients' addresses: which proxies in front say them, which may come, and how much each IPv4 address and each IPv6 /64 may do.
    pub struct AddressSettings in "addresses" {
        /// The networks of the proxies and load balancers in front. Only what comes from there may say that it comes from elsewhere.
        /// A proxy's own address is not limited.
        trusted_proxies: Vec<Network> = Vec::new(), List(NetworkKind), live;
        /// Whether each TCP connection of a trusted proxy begins with a PROXY header (version 1 or 2). One that does not is closed.
        /// QUIC has no such header.
        proxy_protocol: bool = false, Switch, live;
        /// The header in which a trusted proxy says where a request comes from. Name the one that the proxy writes: clients can
        /// send the other one through it. `none`: no header is looked at.
        header: AddressHeader = AddressHeader::XForwardedFor, Choice(AddressHeader::WORDS), live;
        /// The only networks that clients may come from; empty: every network.
        allow: Vec<Network> = Vec::new(), List(NetworkKind), live;
        /// Networks that no client may come from, also within `allow`.
        deny: Vec<Network> = Vec::new(), List(NetworkKind), live;
        /// The most connections of one address; above it a connection is refused with 503 and `Retry-After`.
        max_connections: Option<usize> = None, Maybe(Count(1..=10_000_000)), live, unset("no limit", "1000");
        /// How many TCP connections and QUIC handshakes a second one address may begin for long; one above it is closed before TLS. A QUIC
        /// client must prove its address first (Retry): what others send in its name has a rate of its own.
        handshakes_per_second: Option<u32> = None, Maybe(Count(1..=1_000_000)), live, unset("no limit", "50");
        /// How many TCP connections and QUIC handshakes one address may begin at once, where `handshakes_per_second` is set.
        handshake_burst: u32 = 200, Count(1..=1_000_000), live;
        /// How many TCP connections and QUIC handshakes a second all addresses may begin together for long; one above it is closed before
        /// TLS. It spreads the handshakes of clients that come back all at once.
        pod_handshakes_per_second: Option<u32> = None, Maybe(Count(1..=1_000_000)), live, unset("no limit", "2000");
        /// How many TCP connections and QUIC handshakes all addresses may begin at once, where `pod_handshakes_per_second` is set.
        pod_handshake_burst: u32 = 2_000, Count(1..=1_000_000), live;
        /// How many HTTP requests a second one address may send for long, upgrades included; one above it is answered with 429.
        requests_per_second: Option<u32> = None, Maybe(Count(1..=1_000_000)), live, unset("no limit", "100");
        /// How many HTTP requests one address may send at once, where `requests_per_second` is set.
        request_burst: u32 = 400, Count(1..=1_000_000), live;
    }
}

/// In which header a proxy says where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressHeader {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
    /// None.
    None,
}

impl AddressHeader {
    const WORDS: &'static [(&'static str, Self)] =
        &[("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded), ("none", Self::None)];
}

impl AddressSettings {
    /// Whether an address is a proxy's that may say where clients are.
    #[must_use]
    pub fn trusts(&self, address: std::net::IpAddr) -> bool {
        any_contains(&self.trusted_proxies, address)
    }

    /// Whether clients of an address may come.
    #[must_use]
    pub fn may_come(&self, address: std::net::IpAddr) -> bool {
        (self.allow.is_empty() || any_contains(&self.allow, address)) && !any_contains(&self.deny, address)
    }
}
