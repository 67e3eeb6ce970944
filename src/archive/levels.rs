//! The levels of the archive's tables: what this build has, what a database has, and what is wrong with that.
//!
//! Owns what the table `roomcast_migrations` says: each level with the hash of what made it. Never changes a table.

use aws_lc_rs::digest;
use tokio_postgres::GenericClient;

use super::failure::told;

/// One level.
pub(super) struct Migration {
    pub(super) level: i32,
    pub(super) name: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
}

macro_rules! migration {
    ($level:literal, $name:literal) => {
        Migration {
            level: $level,
            name: $name,
            up: include_str!(concat!("migrations/", $name, ".up.sql")),
            down: include_str!(concat!("migrations/", $name, ".down.sql")),
        }
    };
}

pub(super) const MIGRATIONS: [Migration; 4] = [
    migration!(1, "0001_messages"),
    migration!(2, "0002_reads"),
    migration!(3, "0003_delivered"),
    migration!(4, "0004_forgotten"),
];

/// Why tables cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// There are none.
    #[error(
        "the database has no tables of roomcast: run `roomcast archive migrate up` with this configuration, or set `archive.migrate = true`"
    )]
    Missing,
    /// They are of an older build.
    #[error(
        "the archive's tables are of level {found}, and this build needs level {needed}: run `roomcast archive migrate up`"
    )]
    Older {
        /// Their level.
        found: i32,
        /// This build's.
        needed: i32,
    },
    /// They are of a newer build.
    #[error(
        "the archive's tables are of level {found}, and this build knows level {known} only: use the newer build that made them, or have that \
         one run `roomcast archive migrate down --to {known}`"
    )]
    Newer {
        /// Their level.
        found: i32,
        /// This build's.
        known: i32,
    },
    /// A level was made by something else than what this build has under its name.
    #[error(
        "level {0} of the archive's tables ({1}) was made by another text than this build's: a migration was changed by hand. Nothing is read \
         or written until the row of this level in roomcast_migrations is of the text that made the tables"
    )]
    Changed(i32, String),
    /// The database did not do it.
    #[error("the archive's tables cannot be looked at or changed: {0}")]
    Database(String),
}

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Their level; 0: there are none.
    pub found: i32,
    /// This build's.
    pub own: i32,
    /// What is wrong with them, if anything.
    pub trouble: Option<MigrationError>,
}

/// A level as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    level: i32,
    name: String,
    hash: String,
}

impl Migration {
    pub(super) fn hash(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.up.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

pub(super) fn database(error: tokio_postgres::Error) -> MigrationError {
    MigrationError::Database(told(&error))
}

/// The levels that the database has, in their order.
pub(super) async fn applied(client: &impl GenericClient) -> Result<Vec<Applied>, MigrationError> {
    let there =
        client.query_one("SELECT to_regclass('roomcast_migrations') IS NOT NULL", &[]).await.map_err(database)?;
    if !there.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client
        .query("SELECT level, name, hash FROM roomcast_migrations ORDER BY level", &[])
        .await
        .map_err(database)?;
    Ok(rows.iter().map(|row| Applied { level: row.get(0), name: row.get(1), hash: row.get(2) }).collect())
}

pub(super) fn found(applied: &[Applied]) -> i32 {
    applied.last().map_or(0, |last| last.level)
}

pub(super) fn own() -> i32 {
    MIGRATIONS.last().map_or(0, |last| last.level)
}

/// Whether a database has the tables of this build.
///
/// # Errors
/// [`MigrationError`].
pub(super) async fn check(client: &impl GenericClient) -> Result<(), MigrationError> {
    judge(&applied(client).await?)
}

/// Whether the levels are this build's.
pub(super) fn judge(applied: &[Applied]) -> Result<(), MigrationError> {
    for (at, Applied { level, name, hash }) in applied.iter().enumerate() {
        let Some(migration) = MIGRATIONS.get(at) else {
            return Err(MigrationError::Newer { found: found(applied), known: own() });
        };
        if migration.level != *level || migration.name != name || migration.hash() != *hash {
            return Err(MigrationError::Changed(*level, name.clone()));
        }
    }
    match found(applied) {
        0 => Err(MigrationError::Missing),
        found if found < own() => Err(MigrationError::Older { found, needed: own() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Applied> {
        let of = |migration: &Migration| Applied {
            level: migration.level,
            name: migration.name.to_owned(),
            hash: migration.hash(),
        };
        MIGRATIONS.iter().map(of).collect()
    }

    #[test]
    fn levels_that_are_not_this_builds_are_told_apart() {
        assert_eq!(judge(&all()), Ok(()));
        assert_eq!(judge(&[]), Err(MigrationError::Missing));
        assert_eq!(judge(&all()[..1]), Err(MigrationError::Older { found: 1, needed: 4 }));
        let mut newer = all();
        newer.push(Applied { level: 5, name: "0005_later".to_owned(), hash: "x".to_owned() });
        assert_eq!(judge(&newer), Err(MigrationError::Newer { found: 5, known: 4 }));
        let mut changed = all();
        changed[0].hash = "0".repeat(64);
        assert_eq!(judge(&changed), Err(MigrationError::Changed(1, "0001_messages".to_owned())));
        assert!(matches!(judge(&all()[1..]), Err(MigrationError::Changed(2, _))), "the first one is missing");
    }

    #[test]
    fn levels_count_from_one_without_a_hole() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.level as usize, at + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.level)), "{}", migration.name);
        }
    }
}
