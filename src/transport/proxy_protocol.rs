//! The header that a TCP proxy puts before a connection (HAProxy's PROXY protocol, versions 1 and 2): from where the client came.
//!
//! Parses bytes, and never decides whether a peer may send it. Always holds: not a byte behind the header is taken; a header has at
//! most as many bytes as fit into one segment.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt, net::TcpStream};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included.
const LINE: usize = 107;

/// The longest header of version 2: more would not come in one segment, as the protocol wants it.
const MOST: usize = 1_024;

/// Why the bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Neither version.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// It breaks a rule of its version.
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client; `None`: the proxy speaks for itself, or does not know.
    pub client: Option<SocketAddr>,
    /// The header's bytes.
    pub len: usize,
}

impl ProxyHeader {
    /// Parses what the bytes begin with; `None`: more is needed.
    ///
    /// # Errors
    /// [`ProxyHeaderError`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        let common = bytes.len().min(SIGNATURE.len());
        if bytes[..common] == SIGNATURE[..common] {
            return if common < SIGNATURE.len() { Ok(None) } else { version_2(bytes) };
        }
        let common = bytes.len().min(6);
        if bytes[..common] != b"PROXY "[..common] {
            return Err(ProxyHeaderError::Missing);
        }
        version_1(bytes)
    }

    /// Reads a header off a stream, and leaves everything behind it there.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` for what is no header.
    pub async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = [0; MOST];
        let mut seen = 0;
        loop {
            let peeked = stream.peek(&mut bytes).await?;
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            if let Some(header) = Self::parse(&bytes[..peeked]).map_err(invalid)? {
                stream.read_exact(&mut bytes[..header.len]).await?;
                return Ok(header);
            }
            if peeked == 0 || peeked == bytes.len() {
                return Err(invalid(ProxyHeaderError::Malformed));
            }
            if peeked == seen {
                // Peeking does not wait for more than there is. A header comes in one segment, so this is rare.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            seen = peeked;
        }
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(end) = bytes.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() >= LINE { Err(ProxyHeaderError::Malformed) } else { Ok(None) };
    };
    let line = bytes[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(ProxyHeaderError::Malformed)?.split(' ').skip(1);
    let len = end + 1;
    let ipv4 = match words.next() {
        Some("UNKNOWN") => return Ok(Some(ProxyHeader { client: None, len })),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(ProxyHeaderError::Malformed),
    };
    let (source, target, port) = (words.next(), words.next(), words.next());
    let address =
        |word: Option<&str>| word.and_then(|word| word.parse::<IpAddr>().ok()).filter(|a| a.is_ipv4() == ipv4);
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u16>().ok());
    match (address(source), address(target), number(port), number(words.next()), words.next()) {
        (Some(source), Some(_), Some(port), Some(_), None) => {
            Ok(Some(ProxyHeader { client: Some(SocketAddr::new(source, port)), len }))
        }
        _ => Err(ProxyHeaderError::Malformed),
    }
}

fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let len = 16 + length;
    if len > MOST {
        return Err(ProxyHeaderError::Malformed);
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Malformed),
    };
    let Some(body) = bytes.get(16..len) else { return Ok(None) };
    let port = |at: usize| body.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let client = match family {
        _ if local => None,
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let address: [u8; 4] = body.get(..4).and_then(|a| a.try_into().ok()).ok_or(ProxyHeaderError::Malformed)?;
            Some(SocketAddr::new(Ipv4Addr::from(address).into(), port(8).ok_or(ProxyHeaderError::Malformed)?))
        }
        0x21 => {
            let address: [u8; 16] =
                body.get(..16).and_then(|a| a.try_into().ok()).ok_or(ProxyHeaderError::Malformed)?;
            Some(SocketAddr::new(Ipv6Addr::from(address).into(), port(32).ok_or(ProxyHeaderError::Malformed)?))
        }
        // Datagrams, sockets of files, or unspecified: the real endpoint counts.
        _ => None,
    };
    Ok(Some(ProxyHeader { client, len }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn version_2_of(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn four() -> Vec<u8> {
        [&[192, 0, 2, 1][..], &[10, 0, 0, 1], &[0x1f, 0x90], &[0, 80]].concat()
    }

    #[test]
    fn both_versions_say_where_a_client_is() {
        let six = "2001:db8::1".parse::<Ipv6Addr>().unwrap();
        let body = [&six.octets()[..], &six.octets(), &[0, 7], &[0, 80], b"\x04\0\x02ab"].concat();
        for (bytes, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80\r\n".to_vec(), Some("192.0.2.1:8080")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 7 80\r\n".to_vec(), Some("[2001:db8::1]:7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (version_2_of(0x21, 0x11, &four()), Some("192.0.2.1:8080")),
            (version_2_of(0x21, 0x21, &body), Some("[2001:db8::1]:7")),
            (version_2_of(0x20, 0x11, &four()), None),
            (version_2_of(0x21, 0, b""), None),
            (version_2_of(0x21, 0x31, &[0; 216]), None),
        ] {
            let client = client.map(|client| client.parse().unwrap());
            let whole = Ok(Some(ProxyHeader { client, len: bytes.len() }));
            assert_eq!(ProxyHeader::parse(&[&bytes[..], b"GET /"].concat()), whole, "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(ProxyHeader::parse(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"PROXI", b"\r\n\r\nX"] {
            assert_eq!(ProxyHeader::parse(bytes), Err(ProxyHeaderError::Missing), "{bytes:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "a".repeat(LINE));
        for bytes in [
            &b"PROXY TCP4 192.0.2.1 10.0.0.1 8080\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80 9\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 7 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 80800 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 8080 80\r\n",
            long.as_bytes(),
            &version_2_of(0x22, 0x11, &four()),
            &version_2_of(0x11, 0x11, &four()),
            &version_2_of(0x21, 0x11, &four()[..8]),
            &version_2_of(0x21, 0x11, &[0; MOST]),
        ] {
            assert_eq!(ProxyHeader::parse(bytes), Err(ProxyHeaderError::Malformed), "{bytes:?}");
        }
    }
}
