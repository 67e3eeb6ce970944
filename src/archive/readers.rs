//! The few connections that read, and look after what is pending.
//!
//! Always holds: at most so many are open, and pages have never all of them; a connection that failed to answer is not used again; their
//! I/O runs on the archive's own thread, whichever thread asks.

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
    pending_row::RowId,
};

/// How many there are.
const MOST: usize = 4;

/// How many of them read pages for clients: publishers, and what looks after pending rows, wait for none.
const MOST_PAGES: usize = 2;

/// All of them.
pub(super) struct Readers {
    dial: Dial,
    runtime: Handle,
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
    pages: Semaphore,
}

/// One of them, in use.
pub(super) struct ReadConnection<'a> {
    client: Option<Client>,
    readers: &'a Readers,
    _place: SemaphorePermit<'a>,
    _page: Option<SemaphorePermit<'a>>,
}

/// A row that no other connection changes or deletes while this is there.
pub(super) struct HeldRow<'a> {
    connection: ReadConnection<'a>,
    /// It goes with its connection, if it is not given back.
    client: Client,
}

impl Readers {
    pub(super) fn new(dial: Dial, runtime: Handle) -> Self {
        Self { dial, runtime, idle: Mutex::default(), places: Semaphore::new(MOST), pages: Semaphore::new(MOST_PAGES) }
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
        let place = self.free(&self.places).await?;
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
        Ok(ReadConnection { client: Some(client), readers: self, _place: place, _page: None })
    }

    /// One that reads a page.
    ///
    /// # Errors
    /// As of [`take`](Self::take).
    pub(super) async fn take_for_page(&self) -> Result<ReadConnection<'_>, ArchiveError> {
        let page = self.page_turn().await?;
        let mut connection = self.take().await?;
        connection._page = Some(page);
        Ok(connection)
    }

    /// A turn among those that look for pages, which have never all of the connections.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: all are in use for too long.
    pub(super) async fn page_turn(&self) -> Result<SemaphorePermit<'_>, ArchiveError> {
        self.free(&self.pages).await
    }

    /// Whether one that looks for a page would have its turn at once.
    pub(super) fn has_page_turn(&self) -> bool {
        self.pages.available_permits() > 0
    }

    /// Keeps a pending row as it is. `None`: it is there no more.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn hold(&self, id: &RowId) -> Result<Option<HeldRow<'_>>, ArchiveError> {
        let mut connection = self.take().await?;
        let gone = || ArchiveError::Unavailable("the connection was lost".to_owned());
        let client = connection.client.take().ok_or_else(gone)?;
        let failed = |error: tokio_postgres::Error| ArchiveError::Unavailable(told(&error));
        let holding = async {
            client.batch_execute("BEGIN").await?;
            client.query("SELECT FROM roomcast_pending WHERE id = $1 FOR UPDATE", &[&&id[..]]).await
        };
        let rows = timeout(self.patience(), holding).await.map_err(|_| ArchiveError::Unknown)?.map_err(failed)?;
        let held = HeldRow { connection, client };
        if rows.is_empty() {
            held.release().await;
            return Ok(None);
        }
        Ok(Some(held))
    }

    /// A place, when one is free.
    async fn free<'a>(&self, places: &'a Semaphore) -> Result<SemaphorePermit<'a>, ArchiveError> {
        let busy = || ArchiveError::Unavailable("all connections that read are in use".to_owned());
        timeout(self.dial.timeout(), places.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
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
        // It comes back only with an answer: a reader that is gone in the middle leaves no connection that is busy.
        let client = self.client.take().ok_or_else(gone)?;
        let answered = timeout(self.readers.patience(), client.query(statement, values)).await;
        match answered {
            Ok(Ok(rows)) => {
                self.client = Some(client);
                Ok(rows)
            }
            Ok(Err(error)) => {
                let is_lost = Failure::of(&error) == Failure::Lost;
                if !is_lost {
                    self.client = Some(client);
                }
                // A change may have been made before the connection was lost.
                Err(if is_lost && error.as_db_error().is_none() {
                    ArchiveError::Unknown
                } else {
                    ArchiveError::Unavailable(told(&error))
                })
            }
            Err(_) => Err(ArchiveError::Unknown),
        }
    }
}

impl ReadConnection<'_> {
    /// Asks within a transaction that `begin` begins.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn query_within(
        &mut self,
        begin: &str,
        statement: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ArchiveError> {
        let gone = || ArchiveError::Unavailable("the connection was lost".to_owned());
        // One that fails in the middle is closed, which ends its transaction.
        let client = self.client.take().ok_or_else(gone)?;
        let asking = async {
            client.batch_execute(begin).await?;
            let rows = client.query(statement, values).await?;
            client.batch_execute("COMMIT").await?;
            Ok(rows)
        };
        let answered: Result<Vec<Row>, tokio_postgres::Error> =
            timeout(self.readers.patience(), asking).await.map_err(|_| ArchiveError::Unknown)?;
        let rows = answered.map_err(|error| ArchiveError::Unavailable(told(&error)))?;
        self.client = Some(client);
        Ok(rows)
    }
}

impl HeldRow<'_> {
    /// Lets it go. A connection that fails to say so is closed, which does the same.
    pub(super) async fn release(self) {
        let Self { mut connection, client } = self;
        let released = timeout(connection.readers.patience(), client.batch_execute("COMMIT")).await;
        if matches!(released, Ok(Ok(()))) {
            connection.client = Some(client);
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
