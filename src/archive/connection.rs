//! One connection to PostgreSQL: how it is made, and what is asked of it before it serves.
//!
//! Always holds: a connection that serves has found the tables at this build's level, at a server that takes writes.

use std::{sync::Arc, time::Duration};

use tokio_postgres::{Client, NoTls};

use super::{
    error::ArchiveStartError,
    failure::told,
    levels::{MigrationError, check},
    tls::PostgresTls,
};
use crate::{config::ArchiveSettings, transport::trust::client_config};

/// The oldest server that is tried, as `server_version_num` says it.
const OLDEST_SERVER: i32 = 150_000;

/// How long a server may be silent before the kernel asks whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The server cannot be reached, or does not let the pod in.
    #[error("PostgreSQL at {0} cannot be used: {1}")]
    Server(String, String),
    /// It did not answer.
    #[error("PostgreSQL at {0} does not answer within {1:?}")]
    Silent(String, Duration),
    /// It is too old.
    #[error("PostgreSQL at {0} is older than version 15")]
    TooOld(String),
    /// Its tables are not this build's.
    #[error(transparent)]
    Level(#[from] MigrationError),
}

/// What connections are made by.
#[derive(Clone)]
pub(super) struct Dial {
    config: tokio_postgres::Config,
    tls: Option<PostgresTls>,
    shown: String,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Dial {
    /// What the settings say; `None`: there is no address.
    pub(super) fn of(settings: &ArchiveSettings) -> Result<Option<Self>, ArchiveStartError> {
        let Some(url) = &settings.url else { return Ok(None) };
        let mut config = url.client();
        if let Some(password) = &settings.password {
            config.password(password.reveal());
        }
        config.application_name("roomcast");
        config.connect_timeout(settings.connect_timeout);
        config.keepalives_idle(KEEPALIVE);
        config.keepalives_interval(KEEPALIVE / 3);
        config.keepalives_retries(3);
        // Keepalive is silent while something that was sent is not acknowledged.
        config.tcp_user_timeout(KEEPALIVE * 2);
        let tls = if url.tls() {
            let mut client = client_config(settings.ca.as_deref())?.0;
            client.alpn_protocols = vec![b"postgresql".to_vec()];
            Some(PostgresTls(Arc::new(client)))
        } else {
            None
        };
        let dial = Self {
            config,
            tls,
            shown: url.to_string(),
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
        };
        Ok(Some(dial))
    }

    /// A connection that serves. Its I/O runs on the event loop that this is called on.
    pub(super) async fn connect(&self) -> Result<Client, ConnectError> {
        let client = self.open().await?;
        let checked = tokio::time::timeout(self.timeout, check(&client)).await;
        checked.map_err(|_| ConnectError::Silent(self.shown.clone(), self.timeout))??;
        Ok(client)
    }

    /// A connection, whatever tables there are.
    pub(super) async fn open(&self) -> Result<Client, ConnectError> {
        // Several hosts are tried in turn, each with the whole time for itself.
        let hosts = u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(1);
        let patience = self.connect_timeout * (hosts + 1);
        let opened = tokio::time::timeout(patience, self.open_within()).await;
        opened.map_err(|_| ConnectError::Silent(self.shown.clone(), patience))?
    }

    async fn open_within(&self) -> Result<Client, ConnectError> {
        let refused = |error: tokio_postgres::Error| ConnectError::Server(self.shown.clone(), told(&error));
        let client = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await.map_err(refused)?;
                tokio::spawn(connection);
                client
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(refused)?;
                tokio::spawn(connection);
                client
            }
        };
        let settings =
            format!("SET statement_timeout = {}; SET client_min_messages = warning", self.timeout.as_millis());
        client.batch_execute(&settings).await.map_err(refused)?;
        let row = client
            .query_one("SELECT current_setting('server_version_num')::int, pg_is_in_recovery()", &[])
            .await
            .map_err(refused)?;
        let (version, is_replica): (i32, bool) = (row.get(0), row.get(1));
        if version < OLDEST_SERVER {
            return Err(ConnectError::TooOld(self.shown.clone()));
        }
        if is_replica {
            return Err(ConnectError::Server(self.shown.clone(), "it is a replica, which takes no writes".to_owned()));
        }
        Ok(client)
    }

    /// The address, without a login.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// For a statement.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}
