//! What brings the archive's tables up and down.
//!
//! Always holds: one program at a time changes tables; a change is whole or not at all; tables of a level that was changed by hand, or of a
//! newer build, are touched by nothing.

use tokio_postgres::Client;

use super::{
    connection::Dial,
    error::ArchiveStartError,
    levels::{Level, MIGRATIONS, MigrationError, applied, database, found, judge, own},
};
use crate::config::ArchiveSettings;

/// Which programs wait for each other while they change tables: `roomcast` in ASCII.
const LOCK: i64 = 0x726f_6f6d_6361_7374;

/// What brings tables up and down, for the command line and a pod that is to do so.
pub struct Migrator(Dial);

impl Migrator {
    /// Of the database that the settings name; `None`: they name none.
    ///
    /// # Errors
    /// [`ArchiveStartError`].
    pub fn of(settings: &ArchiveSettings) -> Result<Option<Self>, ArchiveStartError> {
        Ok(Dial::of(settings)?.map(Self))
    }

    /// Where the tables are.
    ///
    /// # Errors
    /// [`MigrationError::Database`].
    pub async fn status(&self) -> Result<Level, MigrationError> {
        let client = self.open().await?;
        let applied = applied(&client).await?;
        Ok(Level { found: found(&applied), own: own(), trouble: judge(&applied).err() })
    }

    /// Brings the tables up to this build's level. The levels that were made.
    ///
    /// # Errors
    /// [`MigrationError`]; nothing was changed.
    pub async fn up(&self) -> Result<Vec<i32>, MigrationError> {
        let mut client = self.open().await?;
        let transaction = client.transaction().await.map_err(database)?;
        transaction.query("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(database)?;
        let create = "CREATE TABLE IF NOT EXISTS roomcast_migrations (level int PRIMARY KEY, name text NOT NULL, hash text NOT NULL, \
                      applied timestamptz NOT NULL DEFAULT now())";
        transaction.batch_execute(create).await.map_err(database)?;
        let applied = applied(&transaction).await?;
        match judge(&applied) {
            Ok(()) | Err(MigrationError::Missing | MigrationError::Older { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut made = Vec::new();
        for migration in MIGRATIONS.iter().filter(|migration| migration.level > found(&applied)) {
            transaction.batch_execute(migration.up).await.map_err(database)?;
            let insert = "INSERT INTO roomcast_migrations (level, name, hash) VALUES ($1, $2, $3)";
            let hash = migration.hash();
            transaction.execute(insert, &[&migration.level, &migration.name, &hash]).await.map_err(database)?;
            made.push(migration.level);
        }
        transaction.commit().await.map_err(database)?;
        Ok(made)
    }

    /// Takes levels above `to` back, with all that is in them. The levels that are gone.
    ///
    /// # Errors
    /// [`MigrationError`]; nothing was changed.
    pub async fn down(&self, to: i32) -> Result<Vec<i32>, MigrationError> {
        let mut client = self.open().await?;
        let transaction = client.transaction().await.map_err(database)?;
        transaction.query("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(database)?;
        let applied = applied(&transaction).await?;
        match judge(&applied) {
            Ok(()) | Err(MigrationError::Older { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut gone = Vec::new();
        let there = MIGRATIONS.iter().filter(|migration| migration.level > to && migration.level <= found(&applied));
        for migration in there.rev() {
            transaction.batch_execute(migration.down).await.map_err(database)?;
            let delete = "DELETE FROM roomcast_migrations WHERE level = $1";
            transaction.execute(delete, &[&migration.level]).await.map_err(database)?;
            gone.push(migration.level);
        }
        transaction.commit().await.map_err(database)?;
        Ok(gone)
    }

    async fn open(&self) -> Result<Client, MigrationError> {
        let client = self.0.open().await.map_err(|error| MigrationError::Database(error.to_string()))?;
        // To make tables may take longer than to write a row.
        client.batch_execute("SET statement_timeout = 0; SET lock_timeout = '30s'").await.map_err(database)?;
        Ok(client)
    }
}
