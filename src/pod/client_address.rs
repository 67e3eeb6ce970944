//! Where a request comes from: its socket's address, or what trusted proxies say of it.
//!
//! Never trusts a word that did not pass a trusted proxy. Always holds: of a chain of proxies the nearest that is not trusted is the
//! client, so that what a client writes itself is never looked at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, StatusCode, header};

use super::refusal::{Refused, come_back, refused};
use crate::{
    config::{AddressHeader, AddressSettings, counted_by},
    hub::Services,
};

/// The client of a request that came from `peer`.
#[must_use]
fn client_of(headers: &HeaderMap, peer: SocketAddr, settings: &AddressSettings) -> SocketAddr {
    if !settings.trusts(peer.ip()) {
        return peer;
    }
    let lines = match settings.header {
        AddressHeader::None => return peer,
        AddressHeader::XForwardedFor => headers.get_all("x-forwarded-for"),
        AddressHeader::Forwarded => headers.get_all(header::FORWARDED),
    };
    let mut client = peer;
    for line in lines.iter().collect::<Vec<_>>().into_iter().rev() {
        let mut rest = Some(line.as_bytes());
        while let Some(hops) = rest {
            let (before, hop) = last_part(hops, b',', settings.header);
            rest = before;
            // A proxy that hides its client, or does not know it: nothing before it can be believed.
            let Some(address) = node_of(hop, settings.header).and_then(parse) else { return client };
            client = address;
            if !settings.trusts(client.ip()) {
                return client;
            }
        }
    }
    client
}

/// What stands before the last separator, and what stands behind it. Read from the right, where the trusted proxy wrote: what a
/// client wrote before cannot change how that is taken apart.
fn last_part(bytes: &[u8], separator: u8, header: AddressHeader) -> (Option<&[u8]>, &[u8]) {
    // Only `Forwarded` has quoted strings, which may hold separators.
    let quotes = header == AddressHeader::Forwarded;
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        if *byte == b'"' && quotes && !is_escaped(&bytes[..at]) {
            quoted = !quoted;
        } else if *byte == separator && !quoted {
            return (Some(&bytes[..at]), &bytes[at + 1..]);
        }
    }
    (None, bytes)
}

fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address that a hop names; in `Forwarded` the `for` of an element (RFC 7239 section 4).
fn node_of(hop: &[u8], header: AddressHeader) -> Option<&str> {
    if header != AddressHeader::Forwarded {
        return Some(std::str::from_utf8(hop).ok()?.trim());
    }
    let mut rest = Some(hop);
    while let Some(pairs) = rest {
        let (before, pair) = last_part(pairs, b';', header);
        rest = before;
        if let Some((name, node)) = std::str::from_utf8(pair).ok()?.split_once('=')
            && name.trim().eq_ignore_ascii_case("for")
        {
            return Some(node.trim().trim_matches('"'));
        }
    }
    None
}

/// Where a request comes from that a socket of `peer` brought, if it may come.
///
/// # Errors
/// The answer that refuses it: its network is shut out, or it asks too often.
pub(super) fn request_of(
    services: &Services,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, Refused> {
    let Some(peer) = peer else { return Ok(None) };
    let config = services.config.load();
    let client = client_of(headers, peer, &config.addresses);
    let refuse = |refusal| {
        services.metrics.pressures.addresses.refused_one(&counted_by(client.ip()));
        Err(refusal)
    };
    if !config.addresses.trusts(client.ip()) && !config.addresses.may_come(client.ip()) {
        return refuse(refused(StatusCode::FORBIDDEN, "clients of this network may not connect here"));
    }
    if !services.addresses.may_ask(client.ip(), &config.addresses) {
        return refuse(come_back(refused(StatusCode::TOO_MANY_REQUESTS, "this address sends too many requests")));
    }
    Ok(Some(client))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse(node: &str) -> Option<SocketAddr> {
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    if let Ok(address) = node.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let bare = node.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<Ipv6Addr>().ok().map(|address| SocketAddr::new(IpAddr::from(address).to_canonical(), 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::Network;

    fn client(header: AddressHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        client_of_bytes(header, peer, &lines)
    }

    fn client_of_bytes(header: AddressHeader, peer: &str, lines: &[(&'static str, &[u8])]) -> String {
        let trusted_proxies = vec![Network::parse("10.0.0.0/8").unwrap(), Network::parse("2001:db8::/32").unwrap()];
        let settings = AddressSettings { trusted_proxies, header, ..AddressSettings::default() };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        client_of(&headers, peer.parse().unwrap(), &settings).to_string()
    }

    #[test]
    fn a_trusted_proxy_says_where_its_client_is() {
        let of = |peer, line| client(AddressHeader::XForwardedFor, peer, &[("x-forwarded-for", line)]);
        assert_eq!(of("10.0.0.1:5", "192.0.2.7"), "192.0.2.7:0");
        assert_eq!(of("10.0.0.1:5", "192.0.2.7:4711"), "192.0.2.7:4711");
        assert_eq!(of("10.0.0.1:5", "2001:db9::1"), "[2001:db9::1]:0");
        assert_eq!(of("[2001:db8::1]:5", "[2001:db9::1]:80"), "[2001:db9::1]:80");
        assert_eq!(of("[::ffff:10.0.0.1]:5", "::ffff:192.0.2.7"), "192.0.2.7:0");
        assert_eq!(of("192.0.2.1:5", "192.0.2.7"), "192.0.2.1:5", "anybody can write that");
    }

    #[test]
    fn what_a_client_writes_before_is_not_believed() {
        let of = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            client(AddressHeader::XForwardedFor, "10.0.0.1:5", &lines)
        };
        assert_eq!(of(&["1.1.1.1, 192.0.2.7"]), "192.0.2.7:0");
        assert_eq!(of(&["1.1.1.1, 192.0.2.7, 10.0.0.9"]), "192.0.2.7:0", "two proxies");
        assert_eq!(of(&["1.1.1.1", "192.0.2.7,10.0.0.9"]), "192.0.2.7:0", "two lines");
        assert_eq!(of(&["10.0.0.8, 10.0.0.9"]), "10.0.0.8:0", "all are trusted: the farthest");
        assert_eq!(of(&["192.0.2.7, nonsense, 10.0.0.9"]), "10.0.0.9:0");
        assert_eq!(of(&["192.0.2.7,"]), "10.0.0.1:5");
        assert_eq!(of(&[]), "10.0.0.1:5");
    }

    #[test]
    fn only_the_named_header_counts() {
        let both = [("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client(AddressHeader::Forwarded, "10.0.0.1:5", &both), "192.0.2.7:0");
        assert_eq!(client(AddressHeader::XForwardedFor, "10.0.0.1:5", &both), "1.1.1.1:0");
        assert_eq!(client(AddressHeader::None, "10.0.0.1:5", &both), "10.0.0.1:5");
        let of = |line| client(AddressHeader::Forwarded, "10.0.0.1:5", &[("forwarded", line)]);
        assert_eq!(of("for=1.1.1.1, For=\"[2001:db9::1]:80\";proto=https;by=10.0.0.1"), "[2001:db9::1]:80");
        assert_eq!(of("proto=https;for=192.0.2.7:80"), "192.0.2.7:80");
        assert_eq!(of("for=192.0.2.7, for=_hidden"), "10.0.0.1:5");
        assert_eq!(of("for=unknown"), "10.0.0.1:5");
    }
    #[test]
    fn what_a_client_writes_does_not_hide_what_its_proxy_appends() {
        let forwarded_for =
            |line: &[u8]| client_of_bytes(AddressHeader::XForwardedFor, "10.0.0.1:5", &[("x-forwarded-for", line)]);
        assert_eq!(forwarded_for(b"\xff, 192.0.2.7"), "192.0.2.7:0");
        assert_eq!(forwarded_for(b"\", 192.0.2.7"), "192.0.2.7:0");
        let forwarded = |line: &[u8]| client_of_bytes(AddressHeader::Forwarded, "10.0.0.1:5", &[("forwarded", line)]);
        for line in [
            &b"for=\xff, for=192.0.2.7"[..],
            b"for=\", for=192.0.2.7",
            b"for=\"\\, for=192.0.2.7",
            b"for=192.0.2.7;host=\"a,for=10.1.1.1\"",
            b"host=\"a;for=10.1.1.1\";for=192.0.2.7",
            b"host=\"a\\\",for=10.1.1.1;for=10.1.1.2\";for=192.0.2.7;proto=https",
        ] {
            assert_eq!(forwarded(line), "192.0.2.7:0", "{}", line.escape_ascii());
        }
    }
}
