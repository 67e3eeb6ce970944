//! TLS to PostgreSQL: the server's certificate and its name are verified.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::postgres::Postgres;
use tokio::task::block_in_place;

use crate::{
    archive::{
        database::{Database, archived},
        publish,
    },
    ca::Ca,
    harness::{get, pod},
    users::ready,
};
use roomcast::testing::{config::PostgresUrl, pod::Pod};

/// A database whose server has this authority's certificate.
async fn database_of(ca: &Ca) -> Database {
    let (cert, key) = ca.server();
    Database::made_on(block_in_place(|| Arc::new(Postgres::start_tls(&cert, &key)))).await
}

/// A pod that archives there, and trusts this authority.
fn trusting(database: &Database, ca: &Ca) -> Pod {
    let address = format!("{}?sslmode=require", database.server.url(&database.name));
    pod(|settings| {
        archived(database, settings);
        settings.archive.url = Some(PostgresUrl::parse(&address).unwrap());
        settings.archive.ca = Some(ca.file());
        settings.archive.timeout = Duration::from_millis(500);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_by_its_certificate_and_its_name() {
    let (ca, elsewhere) = (Ca::new("the database's"), Ca::for_names("another's", &["db.example"]));
    let (database, misnamed) = (database_of(&ca).await, database_of(&elsewhere).await);
    let event = json!({"room": "chat:1", "topic": "said", "data": 1});
    let pod = trusting(&database, &ca);
    ready(&pod).await;
    assert_eq!(publish(&pod, &event).await.0, 200);
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'roomcast'";
    assert_eq!(database.sql(encrypted), "t");
    block_in_place(|| pod.stop());
    // Of an authority that is not trusted; and trusted, with another name.
    for database in [&database, &misnamed] {
        let pod = trusting(database, &elsewhere);
        let began = Instant::now();
        while publish(&pod, &event).await.0 != 503 {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        assert_eq!(get(&pod, "/ready").await.1, r#"{"status":"degraded","reason":"archive"}"#);
        block_in_place(|| pod.stop());
    }
    assert_eq!(database.sql("SELECT count(*) FROM roomcast_messages"), "1");
    assert_eq!(misnamed.sql("SELECT count(*) FROM roomcast_messages"), "0");
}
