//! The receivers' TLS: rustls' defaults, any certificate.
//!
//! A development pod makes its own certificate, and what is measured is the pod, not its certificate.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, NamedGroup,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};

use crate::error::BenchError;

/// A configuration that makes a full handshake each time.
pub(crate) fn fresh() -> Result<ClientConfig, BenchError> {
    with(Resumption::disabled())
}

/// A configuration that offers sessions of its earlier connections.
pub(crate) fn resuming() -> Result<ClientConfig, BenchError> {
    let tickets = Arc::new(Tickets::default());
    with(Resumption::store(Arc::new(Sessions { offered: Arc::clone(&tickets), given: tickets })))
}

/// A configuration for each of two pods: it offers the sessions that the other pod began, and none of its own.
pub(crate) fn crossed() -> Result<[ClientConfig; 2], BenchError> {
    let (one, other) = (Arc::new(Tickets::default()), Arc::new(Tickets::default()));
    let sessions = Sessions { offered: Arc::clone(&other), given: Arc::clone(&one) };
    let there = with(Resumption::store(Arc::new(sessions)))?;
    // rustls offers a session only under the very verifier with which it began: the two share theirs.
    let mut back = there.clone();
    back.resumption = Resumption::store(Arc::new(Sessions { offered: one, given: other }));
    Ok([there, back])
}

fn with(resumption: Resumption) -> Result<ClientConfig, BenchError> {
    let mut config = roomcast_certs::insecure::client_config_accept_any()
        .map_err(|e| BenchError::Protocol(format!("the receivers' TLS: {e}")))?;
    config.resumption = resumption;
    Ok(config)
}

/// TLS 1.3 tickets, each used once (RFC 8446 section C.4). rustls' own store keeps eight of a server: too few for many
/// connections at one time.
#[derive(Default)]
struct Tickets(Mutex<VecDeque<Tls13ClientSessionValue>>);

impl Tickets {
    /// Above this, the oldest goes.
    const MOST: usize = 1024;

    fn push(&self, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() == Self::MOST {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn pop(&self) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_back()
    }
}

/// Which tickets a connection offers, and where those that it is given go. The receivers have one server name.
struct Sessions {
    offered: Arc<Tickets>,
    given: Arc<Tickets>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.given.push(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.offered.pop()
    }
}
