//! Where PostgreSQL is, as `archive.url` says it.
//!
//! Always holds: neither a user nor a password is shown; servers beyond this machine are reached over TLS unless the URL says otherwise.

use std::{fmt, net::IpAddr, str::FromStr};

use tokio_postgres::config::{Host, SslMode};

use super::{redaction::without_secrets, value::TextKind};

/// The address of a database: `postgres://user:password@host:port/database`. Shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(tokio_postgres::Config);

impl PostgresUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err("it does not begin with `postgres://`".to_owned());
        }
        // The crate's own words may show parts of the address.
        let mut config = tokio_postgres::Config::from_str(text).map_err(|_| {
            "it cannot be read: special characters are percent-encoded, and `sslmode` is `require` or `disable`"
                .to_owned()
        })?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        if config.get_dbname().is_none() {
            return Err("it names no database".to_owned());
        }
        if config.get_ssl_mode() == SslMode::Prefer {
            // What falls back to no TLS is none.
            let names_here = config.get_hosts().iter().all(|host| match host {
                Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
                Host::Unix(_) => true,
            });
            // `hostaddr` is what is connected to, whatever the host is called.
            let here = names_here && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
            config.ssl_mode(if here { SslMode::Disable } else { SslMode::Require });
        }
        Ok(Self(config))
    }

    /// What a client of PostgreSQL connects by.
    #[must_use]
    pub fn client(&self) -> tokio_postgres::Config {
        self.0.clone()
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.0.get_ssl_mode() != SslMode::Disable
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let hosts: Vec<String> = self.0.get_hosts().iter().map(host).collect();
        let login = if self.0.get_user().is_some() { "…@" } else { "" };
        let port = self.0.get_ports().first().map_or_else(String::new, |port| format!(":{port}"));
        write!(f, "postgres://{login}{}{port}/{}", hosts.join(","), self.0.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// [`PostgresUrl`] as a value of a key.
pub(crate) struct PostgresUrlKind;

impl TextKind for PostgresUrlKind {
    type Value = PostgresUrl;
    const NAME: &'static str = "URL";
    const ALLOWED: &'static str = "`postgres://USER:PASSWORD@HOST:PORT/DATABASE`, special characters percent-encoded; `?sslmode=disable` for no \
         TLS, `?sslmode=require` for TLS on this machine too";

    fn read(&self, text: &str) -> Result<PostgresUrl, String> {
        PostgresUrl::parse(text).map_err(|why| without_secrets(&why))
    }

    fn write(&self, value: &PostgresUrl) -> String {
        value.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_passwords() {
        for (text, shown, tls) in [
            ("postgres://ann:s3cret@db.example:5433/chat", "postgres://…@db.example:5433/chat", true),
            ("postgresql://ann@localhost/chat", "postgres://…@localhost:5432/chat", false),
            ("postgres://ann:s3cret@127.0.0.1:1/chat?sslmode=require", "postgres://…@127.0.0.1:1/chat", true),
            ("postgres://ann@localhost/chat?hostaddr=192.0.2.1", "postgres://…@localhost:5432/chat", true),
            ("postgres://ann@localhost/chat?hostaddr=127.0.0.1", "postgres://…@localhost:5432/chat", false),
            ("postgres://ann@db.example/chat?hostaddr=127.0.0.1", "postgres://…@db.example:5432/chat", true),
            ("postgres://ann:s3cret@db.example/chat?sslmode=disable", "postgres://…@db.example:5432/chat", false),
        ] {
            let url = PostgresUrl::parse(text).unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("PostgresUrl({shown})")));
            assert_eq!(url.tls(), tls, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_the_password() {
        for bad in [
            "",
            "mysql://ann:s3cret@a/b",
            "postgres://ann:s3cret@a",
            "postgres:///b",
            "postgres://ann:s3cret@a:port/b",
            "postgres://ann:s3cret@a/b?sslmode=s3cret",
        ] {
            let error = PostgresUrl::parse(bad).unwrap_err();
            assert!(!error.contains("s3cret"), "{bad}: {error}");
        }
    }
}
