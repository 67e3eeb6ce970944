//! A UDP socket that sends to an address that is not validated at most three times the bytes that came from it (RFC 9000
//! section 8.1).
//!
//! quinn counts too, but sends a last whole datagram while a byte of the allowance is left (3,738 bytes for 1,200 were seen).
//! Datagrams are looked at only while a handshake is under way; else they pass at the price of one load. An address with an
//! established connection is validated. Always holds: each other address is on the books while a handshake from it is under way,
//! and for a while after one that failed. The caller bounds their number: it begins the handshakes.

use std::{
    collections::HashMap,
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

/// The least bytes of a client's first datagram (RFC 9000 section 14.1). A smaller one began no handshake.
const FIRST: u64 = 1_200;

/// The allowance: so many times the bytes that came.
const TIMES: u64 = 3;

/// How long a failed handshake is remembered: quinn may still say why it ended.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Addresses that are not validated, and those that are.
#[derive(Debug, Default)]
pub struct AddressValidation {
    count: AtomicUsize,
    pending: Mutex<HashMap<SocketAddr, PendingAddress>>,
    /// How many established connections an address has.
    validated: Mutex<HashMap<SocketAddr, usize>>,
}

#[derive(Debug)]
struct PendingAddress {
    handshakes: usize,
    received: u64,
    sent: u64,
    failed: Option<Instant>,
}

/// A handshake under way from an address. Dropped without [`PendingHandshake::succeeded`], it has failed.
pub struct PendingHandshake {
    validation: Arc<AddressValidation>,
    address: SocketAddr,
}

impl AddressValidation {
    /// A handshake from an address begins.
    #[must_use]
    pub fn begin(self: &Arc<Self>, address: SocketAddr) -> PendingHandshake {
        let handshake = PendingHandshake { validation: Arc::clone(self), address };
        if self.validated.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&address) {
            return handshake;
        }
        let mut pending = self.lock();
        pending.retain(|_, entry| entry.failed.is_none_or(|at| at.elapsed() < REMEMBERED));
        let entry =
            pending.entry(address).or_insert(PendingAddress { handshakes: 0, received: 0, sent: 0, failed: None });
        entry.handshakes += 1;
        entry.received += FIRST;
        entry.failed = None;
        self.count.store(pending.len(), Relaxed);
        handshake
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, PendingAddress>> {
        // After a panic the counts are wrong by one datagram at most.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn received(&self, metas: &[RecvMeta]) {
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let mut pending = self.lock();
        for meta in metas {
            if let Some(entry) = pending.get_mut(&meta.addr) {
                entry.received += meta.len as u64;
            }
        }
    }

    /// Whether a datagram may go.
    #[inline]
    fn allows(&self, transmit: &Transmit<'_>) -> bool {
        if self.count.load(Relaxed) == 0 {
            return true;
        }
        let mut pending = self.lock();
        let Some(entry) = pending.get_mut(&transmit.destination) else { return true };
        let sent = entry.sent + transmit.contents.len() as u64;
        let allowed = sent <= TIMES * entry.received;
        if allowed {
            entry.sent = sent;
        }
        allowed
    }
}

impl PendingHandshake {
    /// The address is validated, for as long as the answer lives.
    #[must_use]
    pub fn succeeded(self) -> ValidatedAddress {
        let mut pending = self.validation.lock();
        pending.remove(&self.address);
        self.validation.count.store(pending.len(), Relaxed);
        drop(pending);
        let validated = ValidatedAddress { validation: Arc::clone(&self.validation), address: self.address };
        *validated.lock().entry(self.address).or_default() += 1;
        validated
    }
}

/// An established connection of an address.
pub struct ValidatedAddress {
    validation: Arc<AddressValidation>,
    address: SocketAddr,
}

impl ValidatedAddress {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.validation.validated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ValidatedAddress {
    fn drop(&mut self) {
        let mut validated = self.lock();
        if let Some(connections) = validated.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                validated.remove(&self.address);
            }
        }
    }
}

impl Drop for PendingHandshake {
    fn drop(&mut self) {
        if let Some(entry) = self.validation.lock().get_mut(&self.address) {
            entry.handshakes = entry.handshakes.saturating_sub(1);
            if entry.handshakes == 0 {
                entry.failed = Some(Instant::now());
            }
        }
    }
}

/// A UDP socket for quinn that drops what an address may not be sent.
pub struct AmplificationGuard {
    socket: Arc<dyn AsyncUdpSocket>,
    validation: Arc<AddressValidation>,
}

impl AmplificationGuard {
    /// Wraps a socket.
    #[must_use]
    pub fn new(socket: Arc<dyn AsyncUdpSocket>, validation: Arc<AddressValidation>) -> Self {
        Self { socket, validation }
    }
}

impl fmt::Debug for AmplificationGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AmplificationGuard").field(&self.socket).finish()
    }
}

impl AsyncUdpSocket for AmplificationGuard {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // To quinn, what may not be sent is lost.
        if self.validation.allows(transmit) { self.socket.try_send(transmit) } else { Ok(()) }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = &received {
            self.validation.received(meta.get(..*count).unwrap_or_default());
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn transmit(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
        Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
    }

    #[test]
    fn three_times_what_came_and_no_more_until_it_is_proved() {
        let validation = Arc::new(AddressValidation::default());
        let address: SocketAddr = "192.0.2.1:4433".parse().unwrap();
        let long = [0; 1_200];
        let handshake = validation.begin(address);
        for _ in 0..3 {
            assert!(validation.allows(&transmit(address, &long)));
        }
        assert!(!validation.allows(&transmit(address, &long[..1])));
        assert!(
            validation.allows(&transmit("192.0.2.2:4433".parse().unwrap(), &long)),
            "one with no handshake under way"
        );
        validation.received(&[RecvMeta { addr: address, len: 10, ..RecvMeta::default() }]);
        assert!(validation.allows(&transmit(address, &long[..30])));
        assert!(!validation.allows(&transmit(address, &long[..1])));
        drop(handshake);
        assert!(!validation.allows(&transmit(address, &long[..1])), "a failed one is remembered");
        let validated = validation.begin(address).succeeded();
        let another = validation.begin(address);
        for _ in 0..9 {
            assert!(validation.allows(&transmit(address, &long)), "an address with a connection is validated");
        }
        assert_eq!(validation.count.load(Relaxed), 0);
        drop((validated, another));
        assert!(validation.validated.lock().unwrap().is_empty());
    }
}
