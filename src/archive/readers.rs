//! The few connections that read, and look after what is pending.
//!
//! Always holds: at most so many are open; a connection that failed to answer is not used again; their I/O runs on the archive's own
//! thread, whichever thread asks.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_postgres::{Client, Row, types::ToSql};

use super::{
    connection::Dial,
    error::ArchiveError,
    failure::{Failure, told},
};

/// How many there are.
const MOST: usize = 3;

/// All of them.
pub(super) struct Readers {
    dial: Dial,
    runtime: Handle,
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
}

/// One of them, in use.
pub(super) struct ReadConnection<'a> {
    client: Option<Client>,
    readers: &'a Readers,
    _place: SemaphorePermit<'a>,
}

impl Readers {
    pub(super) fn new(dial: Dial, runtime: Handle) -> Self {
        Self { dial, runtime, idle: Mutex::default(), places: Semaphore::new(MOST) }
    }

    /// How many are in use.
    pub(super) fn used(&self) -> usize {
        MOST - self.places.available_permits()
    }

    /// One, when one is free.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: the database cannot be reached, or all are in use for too long.
    pub(super) async fn take(&self) -> Result<ReadConnection<'_>, ArchiveError> {
        let busy = || ArchiveError::Unavailable("all connections that read are in use".to_owned());
        let place =
            timeout(self.dial.timeout(), self.places.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|client| !client.is_closed());
            idle.pop()
        };
        let client = match idle {
            Some(client) => client,
            None => {
                let dial = self.dial.clone();
                let connecting =
                    self.runtime.spawn(async move { dial.connect().await.map_err(|error| error.to_string()) });
                let ended = || ArchiveError::Unavailable("this pod ends".to_owned());
                connecting.await.map_err(|_| ended())?.map_err(ArchiveError::Unavailable)?
            }
        };
        Ok(ReadConnection { client: Some(client), readers: self, _place: place })
    }

    fn patience(&self) -> Duration {
        // The server itself gives up before.
        self.dial.timeout() + Duration::from_millis(500)
    }
}

impl ReadConnection<'_> {
    /// Asks.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn query(
        &mut self,
        statement: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ArchiveError> {
        let gone = || ArchiveError::Unavailable("the connection was lost".to_owned());
        let client = self.client.as_ref().ok_or_else(gone)?;
        match timeout(self.readers.patience(), client.query(statement, values)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                let is_lost = Failure::of(&error) == Failure::Lost;
                if is_lost {
                    self.client = None;
                }
                // A change may have been made before the connection was lost.
                Err(if is_lost && error.as_db_error().is_none() {
                    ArchiveError::Unknown
                } else {
                    ArchiveError::Unavailable(told(&error))
                })
            }
            Err(_) => {
                self.client = None;
                Err(ArchiveError::Unknown)
            }
        }
    }
}

impl Drop for ReadConnection<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        }
    }
}
