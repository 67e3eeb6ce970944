//! A database for a test, and the settings of a pod that archives in it.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use testkit::postgres::Postgres;
use tokio::task::block_in_place;

use crate::harness::rule;
use roomcast::testing::{
    archive::Migrator,
    config::{ArchiveSettings, PostgresUrl, Settings},
    model::{Access, AckMode, ArchiveMode},
};

/// One server for all tests of a process, and a database of each.
static SERVER: LazyLock<Arc<Postgres>> = LazyLock::new(|| Arc::new(Postgres::start()));

/// A database.
pub struct Database {
    pub server: Arc<Postgres>,
    pub name: String,
}

impl Database {
    /// An empty one.
    pub async fn empty() -> Self {
        Self::on(block_in_place(|| Arc::clone(&SERVER)))
    }

    /// One whose server is the test's own, with the tables.
    pub async fn of_its_own() -> Self {
        Self::made_on(block_in_place(|| Arc::new(Postgres::start()))).await
    }

    /// One of this server, with the tables.
    pub async fn made_on(server: Arc<Postgres>) -> Self {
        let database = Self::on(server);
        database.migrator().up().await.unwrap();
        database
    }

    /// One with the tables.
    pub async fn made() -> Self {
        let database = Self::empty().await;
        assert_eq!(database.migrator().up().await.unwrap(), [1, 2, 3, 4]);
        database
    }

    /// One whose tables lie in the small file system of its server.
    pub async fn made_in_its_space(server: Arc<Postgres>) -> Self {
        let database = Self::on(server);
        let space = database.server.space();
        database.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", space.display()));
        database.sql(&format!("ALTER DATABASE {} SET default_tablespace = small", database.name));
        database.migrator().up().await.unwrap();
        database
    }

    fn on(server: Arc<Postgres>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        block_in_place(|| server.database(&name));
        Self { server, name }
    }

    pub fn url(&self) -> PostgresUrl {
        PostgresUrl::parse(&self.server.url(&self.name)).unwrap()
    }

    pub fn settings(&self) -> ArchiveSettings {
        ArchiveSettings { url: Some(self.url()), connections: 2, ..ArchiveSettings::default() }
    }

    pub fn migrator(&self) -> Migrator {
        Migrator::of(&self.settings()).unwrap().unwrap()
    }

    pub fn sql(&self, statement: &str) -> String {
        block_in_place(|| self.server.sql(&self.name, statement))
    }

    /// Waits until a statement says that.
    pub async fn until(&self, statement: &str, wanted: &str) {
        let began = Instant::now();
        loop {
            let said = self.sql(statement);
            if said == wanted {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{statement} says {said:?} and not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Has a pod archive `chat:*`.
pub fn archived(database: &Database, settings: &mut Settings) {
    settings.archive = database.settings();
    settings.policies = vec![rule("chat:*", |policy| {
        policy.archive = ArchiveMode::Postgres;
        policy.publish = Access::Anyone;
        policy.acks = AckMode::Receipts;
    })];
}
