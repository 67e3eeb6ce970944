//! Keys that the pods of a fleet share, from the files of `tls.ticket_keys`: those of session tickets, and those of QUIC connection IDs.
//!
//! Always holds: both come from the same files and are renewed together; without files a pod has keys of its own.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use roomcast_certs::TicketKeys;
use roomcast_incident::Incident;

use super::start_error::StartError;
use crate::{config::Config, transport::webtransport::ConnectionIdKeys};

/// What the keys of connection IDs are derived for.
const CONNECTION_IDS: &str = "quic connection ids";

/// The keys.
pub(super) struct SharedKeys {
    tickets: Option<Arc<TicketKeys>>,
    connection_ids: Arc<ConnectionIdKeys>,
    /// Whether those of connection IDs could not be made.
    failing: Incident,
}

impl SharedKeys {
    /// Reads the files of a configuration.
    ///
    /// # Errors
    /// [`StartError::TicketKeys`], [`StartError::ConnectionIds`].
    pub(super) fn start(config: &Config) -> Result<Self, StartError> {
        let files = &config.ticket_keys;
        let keys = || TicketKeys::start(files, SystemTime::now()).map(Arc::new);
        let tickets = (!files.is_empty() && config.tls.is_some()).then(keys).transpose()?;
        let secrets = tickets.as_ref().map(|keys| keys.secrets(CONNECTION_IDS)).transpose()?.unwrap_or_default();
        let connection_ids = Arc::new(ConnectionIdKeys::new(&secrets)?);
        Ok(Self { tickets, connection_ids, failing: Incident::new() })
    }

    /// Those of tickets; `None`: this pod makes its own.
    pub(super) fn tickets(&self) -> Option<&Arc<TicketKeys>> {
        self.tickets.as_ref()
    }

    /// Those of QUIC connection IDs.
    pub(super) fn connection_ids(&self) -> &Arc<ConnectionIdKeys> {
        &self.connection_ids
    }

    /// Looks at the files again. Broken ones are logged there, and the keys in use stay.
    pub(super) fn poll(&self, now: SystemTime) {
        let Some(tickets) = &self.tickets else { return };
        tickets.poll(now);
        let renewed = tickets.secrets(CONNECTION_IDS).map(|secrets| self.connection_ids.renew(&secrets));
        if !matches!(renewed, Ok(Ok(()))) {
            if self.failing.fails(Instant::now()) {
                tracing::error!("the keys of QUIC connection IDs cannot be made, the old ones stay in use");
            }
        } else if let Some(over) = self.failing.succeeds(Instant::now()) {
            let (seconds, failures) = (over.seconds(), over.failures);
            tracing::info!(seconds, failures, "the keys of QUIC connection IDs are made again");
        }
    }
}
