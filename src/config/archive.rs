//! `[archive]`: what rooms keep in PostgreSQL.

use std::{path::PathBuf, time::Duration};

use super::{
    postgres_url::{PostgresUrl, PostgresUrlKind},
    redis_url::{RedisPassword, RedisPasswordKind},
    section::section,
    settings_error::SettingsError,
    value::{Count, File, Maybe, SHORTEST, Switch, Time},
};
use crate::model::{ArchiveMode, Policy};

const DAY: u64 = 86_400;

section! {
    /// PostgreSQL 15 or newer, in which rooms keep their events whose policy has `archive = "postgres"`. Without an address there is none.
    pub struct ArchiveSettings in "archive" {
        /// Where PostgreSQL is. Servers beyond this machine are reached over TLS, and their certificates and names are verified.
        url: Option<PostgresUrl> = None, Maybe(PostgresUrlKind), restart, secret(),
            unset("none: nothing is archived", "\"postgres://db.example.com:5432/roomcast\"");
        /// The password, if it should not stand in the address.
        password: Option<RedisPassword> = None, Maybe(RedisPasswordKind), restart, secret(),
            unset("none, or that of the address", "\"${ARCHIVE_PASSWORD}\"");
        /// CA certificates that the server is trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/postgres-ca.pem\"");
        /// The most connections of a pod that write. Up to four more read for clients and look after what is pending.
        connections: usize = 4, Count(1..=64), restart;
        /// For a connection to the server, TLS included.
        connect_timeout: Duration = Duration::from_secs(2), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// For a write, what waits for a connection included; then a publish is answered with 503 or, if it may have been carried out,
        /// 504. For a page of messages as well.
        timeout: Duration = Duration::from_secs(5), Time(SHORTEST..=Duration::from_secs(20)), restart;
        /// Whether a pod brings the tables to its own level when it starts (`roomcast archive migrate up`).
        migrate: bool = false, Switch, restart;
        /// How old a pending event is when any pod looks after it: what published it has had its time by then.
        repair_after: Duration = Duration::from_secs(30),
            Time(Duration::from_millis(200)..=Duration::from_secs(3_600)), restart;
        /// How long events are kept. They go by age, whatever room they are of.
        keep: Option<Duration> = None, Maybe(Time(Duration::from_secs(1)..=Duration::from_secs(36_525 * DAY))), restart,
            unset("for ever", "\"365d\"");
        /// The keys by which payloads are sealed at rest: a line each, a name and 32 bytes as base64. The first one seals, all of them open.
        key_file: Option<PathBuf> = None, Maybe(File("file with keys")), restart,
            unset("payloads are stored as they are", "\"/etc/roomcast/archive-keys\"");
    }
}

impl ArchiveSettings {
    /// Checks the section against the policies. `idempotency_age`: how long the broker knows a key. `is_edge`: what the policies say of the
    /// archive is the home's.
    pub(super) fn check<'a>(
        &self,
        policies: impl Iterator<Item = &'a Policy>,
        idempotency_age: Duration,
        is_edge: bool,
        errors: &mut Vec<SettingsError>,
        warnings: &mut Vec<String>,
    ) {
        let mut archives = false;
        for policy in policies.filter(|policy| policy.archive != ArchiveMode::Off) {
            archives = true;
            if policy.log.is_some() {
                errors.push(SettingsError::ArchiveLog);
            }
        }
        if archives && self.url.is_none() && !is_edge {
            errors.push(SettingsError::Archive);
        }
        if self.url.is_none() {
            return;
        }
        if self.repair_after >= idempotency_age / 2 {
            errors.push(SettingsError::ArchiveRepair { after: self.repair_after, known: idempotency_age });
        }
        if self.repair_after <= self.timeout + Duration::from_millis(100) && self.repair_after >= Duration::from_secs(5)
        {
            warnings.push(format!(
                "`archive.repair_after` is {:?} and `archive.timeout` {:?}: a pod may look after an event that is still being published",
                self.repair_after, self.timeout
            ));
        }
        if !archives {
            warnings.push(
                "`archive.url` is set, but no policy has `archive = \"postgres\"`: nothing is archived".to_owned(),
            );
        }
    }
}
