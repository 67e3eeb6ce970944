//! The certificate that is served now, and how the next one takes its place.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use roomcast_incident::Incident;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    Certificate, Development, Kept, LoadError, MakeError, RENEW_BEFORE,
    certificate::fingerprint,
    development,
    load::{from_pem, read},
};

/// How often [`Rotation::poll`] should be called. It reads two small files: contents are compared, not times, because
/// a Kubernetes secret is replaced by swapping a symlink above the files.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Two PEM files, which another program renews.
    Files {
        /// The chain, the server's own certificate first.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made here, and renewed here.
    Development {
        /// Where it is kept between starts.
        dir: Option<PathBuf>,
    },
}

/// Why there is no (new) certificate.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The files are unusable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The development certificate could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The certificate is the one that was served already.
    Unchanged,
    /// New handshakes get another certificate.
    Replaced,
}

/// Serves one certificate and replaces it while running. Connections that stand are not touched: a certificate is
/// needed in handshakes only. Always holds: whatever the source does, the last good certificate is served.
#[derive(Debug)]
pub struct Rotation {
    source: Source,
    current: ArcSwap<Certificate>,
    previous: ArcSwapOption<Certificate>,
    kept: Option<Kept>,
    /// What the files held when they were last looked at, good or bad, so that a poll acts once on each change.
    seen: Mutex<Seen>,
    /// Whether the last reload failed.
    failing: Incident<SystemTime>,
    failed_reloads: AtomicU64,
}

/// What a look at the source found, small enough to keep: hashes, not keys.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Contents([u8; 32], [u8; 32]),
    Unreadable(String),
    /// A development certificate has no files to watch, only a date.
    Nothing,
}

impl Rotation {
    /// Gets the first certificate.
    ///
    /// # Errors
    /// [`RotationError`]: a pod without any certificate must not start.
    pub fn start(source: Source, now: SystemTime) -> Result<Self, RotationError> {
        let (certificate, seen, kept) = match &source {
            Source::Files { cert, key } => {
                let look = Look::at(cert, key);
                let seen = look.seen.clone();
                (look.judge(cert, key, now)?, seen, None)
            }
            Source::Development { dir } => {
                let Development { certificate, kept } = development(dir.as_deref(), now)?;
                (certificate, Seen::Nothing, Some(kept))
            }
        };
        Ok(Self {
            source,
            current: ArcSwap::from_pointee(certificate),
            previous: ArcSwapOption::empty(),
            kept,
            seen: Mutex::new(seen),
            failing: Incident::new(),
            failed_reloads: AtomicU64::new(0),
        })
    }

    /// Reads the source again, whether or not it changed: for SIGHUP. A development certificate is renewed only when
    /// its time has come.
    ///
    /// # Errors
    /// [`RotationError`]; it is logged and counted as well, and the certificate in use stays.
    pub fn reload(&self, now: SystemTime) -> Result<Reloaded, RotationError> {
        match &self.source {
            Source::Files { cert, key } => {
                let look = Look::at(cert, key);
                *self.lock() = look.seen.clone();
                self.take(look.judge(cert, key, now).map_err(RotationError::from), true, now)
            }
            Source::Development { dir } => self.renew(dir.as_deref(), true, now),
        }
    }

    /// Acts if the source changed since it was last looked at, or if a development certificate is about to run out:
    /// call it every [`POLL_INTERVAL`]. What is wrong is reported once, not at every poll.
    ///
    /// # Errors
    /// [`RotationError`]; it is logged and counted as well, and the certificate in use stays.
    pub fn poll(&self, now: SystemTime) -> Result<Reloaded, RotationError> {
        let (cert, key) = match &self.source {
            Source::Files { cert, key } => (cert, key),
            Source::Development { dir } => return self.renew(dir.as_deref(), false, now),
        };
        let look = Look::at(cert, key);
        if std::mem::replace(&mut *self.lock(), look.seen.clone()) == look.seen {
            return Ok(Reloaded::Unchanged);
        }
        self.take(look.judge(cert, key, now).map_err(RotationError::from), false, now)
    }

    /// Makes the next development certificate, once its time has come.
    fn renew(&self, dir: Option<&Path>, is_asked: bool, now: SystemTime) -> Result<Reloaded, RotationError> {
        if self.current().remaining(now) > RENEW_BEFORE {
            return Ok(Reloaded::Unchanged);
        }
        let made = development(dir, now).map(|made| made.certificate);
        self.take(made.map_err(RotationError::from), is_asked, now)
    }

    /// The certificate that new handshakes get.
    #[must_use]
    pub fn current(&self) -> Arc<Certificate> {
        self.current.load_full()
    }

    /// The one before it, if it was replaced since the start: a page that pinned its hash may still come.
    #[must_use]
    pub fn previous(&self) -> Option<Arc<Certificate>> {
        self.previous.load_full()
    }

    /// Where the development certificate was kept at start; `None` for one from files.
    #[must_use]
    pub fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// From when the certificate in use is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.current.load().not_before()
    }

    /// Until when the certificate in use is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.current.load().not_after()
    }

    /// How many reloads failed since the start: for a counter.
    #[must_use]
    pub fn failed_reloads(&self) -> u64 {
        self.failed_reloads.load(Ordering::Relaxed)
    }

    /// Whether the last reload failed, so that an old certificate is served in place of the file's: for a gauge.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.failing.lasts()
    }

    /// Takes the next certificate over. `is_asked`: an operator waits for the answer, so that the log has it whatever it had before.
    fn take(
        &self,
        next: Result<Certificate, RotationError>,
        is_asked: bool,
        now: SystemTime,
    ) -> Result<Reloaded, RotationError> {
        match next {
            Ok(next) => {
                if let Some(over) = self.failing.succeeds(now) {
                    let (seconds, failures) = (over.seconds(), over.failures);
                    tracing::info!(seconds, failures, "the certificate is usable again");
                }
                // The same chain means the same key: they were checked against each other.
                if next.chain() == self.current.load().chain() {
                    return Ok(Reloaded::Unchanged);
                }
                let not_after = unix_seconds(next.not_after());
                self.previous.store(Some(self.current.swap(Arc::new(next))));
                tracing::info!(not_after, "new handshakes get a new certificate");
                Ok(Reloaded::Replaced)
            }
            Err(error) => {
                self.failed_reloads.fetch_add(1, Ordering::Relaxed);
                if self.failing.fails_for(&error.to_string(), now) || is_asked {
                    let not_after = unix_seconds(self.not_after());
                    tracing::error!(%error, not_after, "the new certificate is unusable, the old one stays in use");
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        // What it guards is replaced whole: a panic elsewhere cannot have left half of it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Rotation {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.current.load().served()))
    }
}

/// One reading of both files: what is compared is what is judged.
struct Look {
    seen: Seen,
    contents: Result<(Vec<u8>, Vec<u8>), LoadError>,
}

impl Look {
    fn at(cert: &Path, key: &Path) -> Self {
        let contents = read(cert, "certificate").and_then(|chain| Ok((chain, read(key, "key")?)));
        let seen = match &contents {
            Ok((chain, private)) => Seen::Contents(fingerprint(chain), fingerprint(private)),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        Self { seen, contents }
    }

    fn judge(self, cert: &Path, key: &Path, now: SystemTime) -> Result<Certificate, LoadError> {
        let (chain, private) = self.contents?;
        from_pem(cert, &chain, key, &private, now)
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
