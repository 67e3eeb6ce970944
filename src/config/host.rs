//! Hosts with ports, as the operator writes them.

/// `host`, `host:port` or `[::1]:port`. Brackets may stand around any host, and twice: a file that takes a host from its environment,
/// `[${REDIS_HOST}]:6379`, has it whether that is a name, an address, or an IPv6 address with brackets of its own.
pub(super) fn host_and_port(text: &str, port: u16) -> Result<(String, u16), String> {
    let (host, given) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.rsplit_once(']').ok_or("a bracket is not closed")?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("between the brackets there is no IPv6 address, and a host has no colon".to_owned());
            }
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("it has more than one colon: an IPv6 address goes into brackets, `[::1]:6379`".to_owned());
            }
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

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn a_host_may_be_in_brackets_whatever_it_is() {
        for (text, host, port) in [
            ("redis", "redis", 7),
            ("redis:1", "redis", 1),
            ("[redis]:1", "redis", 1),
            ("[10.0.0.7]", "10.0.0.7", 7),
            ("[::1]:1", "::1", 1),
            ("[fd00::7]", "fd00::7", 7),
            ("[[fd00::7]]:1", "fd00::7", 1),
        ] {
            assert_eq!(host_and_port(text, 7), Ok((host.to_owned(), port)), "{text}");
        }
        for (text, why) in [
            ("::1", "an IPv6 address goes into brackets"),
            ("fd00::7:6379", "an IPv6 address goes into brackets"),
            ("[::zz]:1", "no IPv6 address"),
            ("[redis:1]:1", "a host has no colon"),
            ("[::1", "not closed"),
            ("[::1]1", "only a port may follow"),
            ("[]:1", "it has no host"),
            ("[a]]:1", "it has no host"),
            ("redis:0", "its port"),
        ] {
            let error = host_and_port(text, 7).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
