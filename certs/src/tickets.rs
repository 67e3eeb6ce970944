//! Keys of session tickets that the pods of a fleet share, so that a client that comes back to another pod resumes (RFC 8446 section 2.2).
//!
//! Never reads a clock: the time is that of the last poll. Always holds: only TLS 1.3 sessions are sealed with shared keys, where resuming
//! still agrees on new secrets; a ticket is good on the kind of listener that made it, for the server name it was made for (rustls
//! compares that), and for [`LIFETIME`]; whatever becomes of the files, the last good keys stay.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};
use roomcast_incident::Incident;
use rustls::{ServerConfig, crypto::aws_lc_rs::Ticketer, server::ProducesTickets};

/// How long a ticket is good.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How many bytes a key file may have: those that others make for the same purpose (nginx's `ssl_session_ticket_key`).
const SIZES: [usize; 2] = [48, 80];

/// The most files: the one that makes tickets, the one before it, the one behind it, and one more.
pub const MOST_TICKET_KEYS: usize = 4;

/// A key's name in its tickets.
const NAME: usize = 16;

/// What makes the secrets of each ticket its own.
const SALT: usize = 32;

/// When a ticket was made, in seconds since 1970, before what rustls wants to find again.
const STAMP: usize = 8;

/// Why the keys of tickets cannot be used. Each names the file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeyError {
    /// The file cannot be read.
    #[error("cannot read the ticket key {path}: {source}; check the path and that this user may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is no key.
    #[error(
        "the ticket key {path} has {size} instead of 48 or 80 random bytes; make one with: openssl rand -out {path} 80"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// How many bytes it has.
        size: String,
    },
    /// It was written by hand, or encoded.
    #[error("the ticket key {path} is text, and no random bytes; make one with: openssl rand -out {path} 80")]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// The same key twice.
    #[error("the ticket keys {first} and {second} are the same; each file needs random bytes of its own")]
    Twice {
        /// The file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// The cryptography fails: it has no memory.
    #[error("the ticket key {path} cannot be prepared")]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

/// The keys of tickets, from files that are looked at again.
pub struct TicketKeys {
    paths: Vec<PathBuf>,
    keys: ArcSwap<Vec<TicketKey>>,
    now: AtomicU64,
    /// Whether the files were unusable when they were last looked at.
    failing: Incident<SystemTime>,
}

/// Says how many there are, and nothing of them.
impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// One file's key.
struct TicketKey {
    name: [u8; NAME],
    secret: Prk,
}

/// How many bytes are derived.
struct Derived(usize);

impl KeyType for Derived {
    fn len(&self) -> usize {
        self.0
    }
}

impl TicketKeys {
    /// Reads the files. The first makes tickets; the others (the one before it, the next one) are only accepted.
    ///
    /// # Errors
    /// [`TicketKeyError`]
    pub fn start(paths: &[PathBuf], now: SystemTime) -> Result<Self, TicketKeyError> {
        let keys = read_all(paths)?;
        let this = Self {
            paths: paths.to_vec(),
            keys: ArcSwap::from_pointee(keys),
            now: AtomicU64::new(0),
            failing: Incident::new(),
        };
        this.now.store(seconds(now), Relaxed);
        Ok(this)
    }

    /// Reads the files again, as often as the certificate's. Broken ones are said once, and the keys in use stay.
    pub fn poll(&self, now: SystemTime) {
        self.now.store(seconds(now), Relaxed);
        match read_all(&self.paths) {
            Ok(keys) => {
                let names = |keys: &[TicketKey]| keys.iter().map(|key| key.name).collect::<Vec<_>>();
                if names(&keys) != names(&self.keys.load()) {
                    tracing::info!(keys = keys.len(), "session tickets have new keys");
                    self.keys.store(Arc::new(keys));
                }
                if let Some(over) = self.failing.succeeds(now) {
                    let (seconds, failures) = (over.seconds(), over.failures);
                    tracing::info!(seconds, failures, "the ticket keys are usable again");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.failing.fails_for(&error, now) {
                    tracing::error!(error, "the new ticket keys are unusable, the old ones stay in use");
                }
            }
        }
    }

    /// Whether the files were unusable when they were last looked at.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.failing.lasts()
    }

    /// A secret for another purpose than tickets from each file, the first file's first: it tells nothing of the tickets' keys.
    ///
    /// # Errors
    /// The cryptography fails: it has no memory.
    pub fn secrets(&self, purpose: &str) -> Result<Vec<[u8; 32]>, TicketKeyError> {
        let keys = self.keys.load();
        let info = [b"secret", purpose.as_bytes()];
        let secrets = keys.iter().zip(&self.paths).map(|(key, path)| {
            let mut secret = [0; 32];
            let derived = key.secret.expand(&info, Derived(secret.len())).and_then(|out| out.fill(&mut secret));
            derived.map_err(|_| TicketKeyError::Unusable { path: path.clone() })?;
            Ok(secret)
        });
        secrets.collect()
    }

    /// Makes and takes the tickets of one kind of listener with these keys: those of another kind are no good there. Sessions of
    /// TLS 1.2 get tickets of this process' own.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn share(self: &Arc<Self>, config: &mut ServerConfig, listener: &'static str) -> Result<(), rustls::Error> {
        config.ticketer = Arc::new(SharedTicketer { keys: Arc::clone(self), listener, own: Ticketer::new()? });
        config.send_tls13_tickets = 1;
        Ok(())
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<TicketKey>, TicketKeyError> {
    let mut keys: Vec<TicketKey> = Vec::new();
    for path in paths {
        let key = TicketKey::read(path)?;
        if let Some(first) = keys.iter().position(|other| other.name == key.name) {
            return Err(TicketKeyError::Twice { first: paths[first].clone(), second: path.clone() });
        }
        keys.push(key);
    }
    Ok(keys)
}

impl TicketKey {
    fn read(path: &Path) -> Result<Self, TicketKeyError> {
        let most = SIZES[1] as u64 + 1;
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes))
            .map_err(|source| TicketKeyError::Unreadable { path: path.to_owned(), source })?;
        if !SIZES.contains(&bytes.len()) {
            let more = if bytes.len() as u64 == most {
                "more than 80 bytes".to_owned()
            } else {
                format!("{} bytes", bytes.len())
            };
            return Err(TicketKeyError::Size { path: path.to_owned(), size: more });
        }
        if bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            return Err(TicketKeyError::Text { path: path.to_owned() });
        }
        let secret = Salt::new(HKDF_SHA256, b"roomcast session tickets").extract(&bytes);
        let mut name = [0; NAME];
        let unusable = |_: Unspecified| TicketKeyError::Unusable { path: path.to_owned() };
        secret.expand(&[b"name"], Derived(NAME)).and_then(|out| out.fill(&mut name)).map_err(unusable)?;
        Ok(Self { name, secret })
    }

    /// The cipher of one ticket. Its salt is its own, so that its key is, however many tickets a fleet makes.
    fn cipher(&self, listener: &str, salt: &[u8]) -> Result<(LessSafeKey, Nonce), Unspecified> {
        let mut derived = [0; 32 + 12];
        self.secret.expand(&[b"ticket", listener.as_bytes(), salt], Derived(derived.len()))?.fill(&mut derived)?;
        let (key, nonce) = derived.split_at(32);
        Ok((LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?), Nonce::try_assume_unique_for_key(nonce)?))
    }

    fn seal(&self, listener: &str, now: u64, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt)?;
        let (key, nonce) = self.cipher(listener, &salt)?;
        let mut sealed = Vec::with_capacity(STAMP + message.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&now.to_be_bytes());
        sealed.extend_from_slice(message);
        key.seal_in_place_append_tag(nonce, Aad::from(self.name), &mut sealed)?;
        Ok([&self.name[..], &salt, &sealed].concat())
    }

    fn open(&self, listener: &str, now: u64, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.get(NAME..)?.split_at_checked(SALT)?;
        let (key, nonce) = self.cipher(listener, salt).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(self.name), &mut sealed).ok()?;
        let (made, message) = plain.split_first_chunk::<STAMP>()?;
        // The pods' clocks are not exactly equal.
        let age = now.saturating_sub(u64::from_be_bytes(*made));
        (age <= LIFETIME.as_secs() && is_tls13(message)).then(|| message.to_vec())
    }
}

/// Whether a session of rustls is one of TLS 1.3: the version stands behind the server name.
fn is_tls13(session: &[u8]) -> bool {
    let version = match session {
        [0, rest @ ..] => rest,
        [1, length, rest @ ..] => rest.get(usize::from(*length)..).unwrap_or_default(),
        _ => &[],
    };
    version.starts_with(&[3, 4])
}

/// Tickets of one kind of listener.
struct SharedTicketer {
    keys: Arc<TicketKeys>,
    listener: &'static str,
    own: Arc<dyn ProducesTickets>,
}

impl fmt::Debug for SharedTicketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTicketer").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl ProducesTickets for SharedTicketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.own.lifetime().min(u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX))
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if !is_tls13(plain) {
            return self.own.encrypt(plain);
        }
        let keys = self.keys.keys.load();
        keys.first()?.seal(self.listener, self.keys.now.load(Relaxed), plain).ok()
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.keys.load();
        match keys.iter().find(|key| ticket.starts_with(&key.name)) {
            Some(key) => key.open(self.listener, self.keys.now.load(Relaxed), ticket),
            None => self.own.decrypt(ticket),
        }
    }
}
