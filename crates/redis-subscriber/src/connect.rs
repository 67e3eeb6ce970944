//! Sockets to Redis: TCP, and TLS on it where that is configured.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    endpoints::{Endpoints, Password, Topology},
    error::NodeError,
    greeting::Greeting,
    layout::Address,
};

/// The time for a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(1);

/// A socket, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// TLS and credentials for a server.
#[derive(Clone)]
pub(super) struct Access {
    tls: Option<Arc<rustls::ClientConfig>>,
    user: Option<String>,
    password: Option<Password>,
    client_name: String,
}

impl Access {
    /// To the servers themselves.
    pub(super) fn servers(endpoints: &Endpoints) -> Self {
        let Endpoints { tls, user, password, client_name, .. } = endpoints.clone();
        Self { tls, user, password, client_name }
    }

    /// To the sentinels if there are any, else to the servers.
    pub(super) fn seeds(endpoints: &Endpoints) -> Self {
        match endpoints.topology.clone() {
            Topology::Sentinel { user, password, .. } => Self { user, password, ..Self::servers(endpoints) },
            Topology::Standalone | Topology::Cluster => Self::servers(endpoints),
        }
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The first command of a connection.
    pub(super) fn greeting(&self) -> Greeting {
        let mut words = vec!["HELLO".to_owned(), "3".to_owned()];
        if self.user.is_some() || self.password.is_some() {
            let user = self.user.as_deref().unwrap_or("default");
            // A user without a password may give any.
            let password = self.password.as_ref().map_or("", Password::reveal);
            words.extend(["AUTH".to_owned(), user.to_owned(), password.to_owned()]);
        }
        words.extend(["SETNAME".to_owned(), self.client_name.clone()]);
        words
    }

    /// A socket on which nothing was sent yet.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`], [`NodeError::Tls`].
    pub(super) async fn connect(&self, address: &Address) -> Result<Box<dyn Stream>, NodeError> {
        let connecting = async {
            let unreachable = |error: std::io::Error| NodeError::Unreachable(error.to_string());
            let stream = TcpStream::connect((&*address.host, address.port)).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let Some(tls) = &self.tls else { return Ok(Box::new(stream) as Box<dyn Stream>) };
            let name =
                ServerName::try_from(address.host.to_string()).map_err(|error| NodeError::Tls(error.to_string()))?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            Ok(Box::new(stream.map_err(|error| NodeError::Tls(error.to_string()))?) as Box<dyn Stream>)
        };
        let late = || NodeError::Unreachable(format!("no connection within {} s", CONNECT.as_secs()));
        timeout(CONNECT, connecting).await.map_err(|_| late())?
    }
}
