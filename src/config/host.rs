//! Hosts with ports, as the operator writes them.

/// `host`, `host:port` or `[::1]:port`.
pub(super) fn host_and_port(text: &str, port: u16) -> Result<(String, u16), String> {
    let (host, given) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "there is no IPv6 address between the brackets")?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let given = given.ok_or("after a bracket only a port may follow")?;
    let port = match given {
        "" => port,
        given => given.parse().ok().filter(|port| *port > 0).ok_or("its port is no number from 1 to 65535")?,
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return Err("it has no host, or one with characters that no host has".to_owned());
    }
    Ok((host.to_owned(), port))
}
