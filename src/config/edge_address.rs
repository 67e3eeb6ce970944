//! An address at which clients may connect, and the region that it is in.

use std::net::IpAddr;

use http::Uri;

use super::value::TextKind;

/// The longest name of a region.
const LONGEST_REGION: usize = 64;

/// Where clients may connect. Always holds: nothing on the path can read a token that is sent there (https, or this machine), and the
/// address has no path: every transport has its own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EdgeAddress {
    /// The region's name.
    pub region: String,
    /// `https://HOST[:PORT]`.
    pub url: String,
}

impl EdgeAddress {
    /// Reads `REGION=https://HOST[:PORT]`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (region, url) = text.split_once('=').ok_or("it has no region: write `REGION=https://HOST`")?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if region.is_empty() || region.len() > LONGEST_REGION || !region.bytes().all(is_name) {
            return Err(format!("its region is not of 1 to {LONGEST_REGION} letters, digits, `-`, `_` and `.`"));
        }
        if url.contains('@') {
            return Err("it has a user or a password in it, and every client is told of it".to_owned());
        }
        let uri: Uri = url.parse().map_err(|error| format!("its address is not a URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("its address is not a URL with a scheme and a host".to_owned());
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("its address has a path: clients add their own".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match scheme {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err("over http, anything on the path can read clients' tokens: use https".to_owned()),
            _ => return Err("its address is neither https nor http".to_owned()),
        }
        Ok(Self { region: region.to_owned(), url: url.trim_end_matches('/').to_owned() })
    }
}

/// [`EdgeAddress`] as a value of a key.
pub(crate) struct EdgeAddressKind;

impl TextKind for EdgeAddressKind {
    type Value = EdgeAddress;
    const NAME: &'static str = "address of an edge";
    const ALLOWED: &'static str = "`REGION=https://HOST[:PORT]`; `http://` on this machine's loopback addresses only";

    fn read(&self, text: &str) -> Result<EdgeAddress, String> {
        EdgeAddress::parse(text)
    }

    fn write(&self, value: &EdgeAddress) -> String {
        format!("{}={}", value.region, value.url)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_are_told_is_an_address_and_nothing_more() {
        let read = EdgeAddress::parse("eu-central-1=https://fra.example.com:8443/").unwrap();
        assert_eq!((&*read.region, &*read.url), ("eu-central-1", "https://fra.example.com:8443"));
        assert_eq!(EdgeAddress::parse(&EdgeAddressKind.write(&read)).unwrap(), read);
        for good in
            ["a=http://127.0.0.1:8080", "a=http://localhost:1", "a=http://[::1]:1", "a.b_c-1=https://[2001:db8::1]"]
        {
            assert!(EdgeAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "https://fra.example.com",
            "=https://fra.example.com",
            "a b=https://fra.example.com",
            "a=http://fra.example.com",
            "a=wss://fra.example.com",
            "a=https://fra.example.com/ws",
            "a=https://fra.example.com?b",
            "a=https://me:secret@fra.example.com",
            "a=fra.example.com",
            "a=",
        ] {
            let why = EdgeAddress::parse(bad).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
        assert!(EdgeAddress::parse(&format!("{}=https://a", "r".repeat(65))).is_err());
    }
}
