//! A UDP socket that gives an address which is not proved at most three times the bytes that came from it (RFC 9000
//! section 8.1).
//!
//! quinn counts as well, but lets a last whole datagram go while a byte of the allowance is left. Datagrams are looked at only
//! while a handshake is under way; else they pass at the price of one load. An address with an established connection is
//! proved. Always holds: an address that is not is on the books for as long as a handshake from it is not over, and for a while
//! after one that failed. The number of those is bounded by who accepts handshakes.

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

/// What a client's first datagram has at least (RFC 9000 section 14.1); a smaller one was not taken for one.
const FIRST: u64 = 1_200;

/// The allowance: so many times what came.
const TIMES: u64 = 3;

/// How long a failed handshake is remembered: quinn may still say why it ended.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Addresses that are not proved, and those that are.
#[derive(Debug, Default)]
pub struct Unproved {
    count: AtomicUsize,
    addresses: Mutex<HashMap<SocketAddr, Address>>,
    /// How many established connections an address has.
    proved: Mutex<HashMap<SocketAddr, usize>>,
}

#[derive(Debug)]
struct Address {
    handshakes: usize,
    received: u64,
    sent: u64,
    failed: Option<Instant>,
}

/// A handshake under way from an address. Dropped without [`Handshake::succeeded`], it has failed.
pub struct Handshake {
    unproved: Arc<Unproved>,
    address: SocketAddr,
}

impl Unproved {
    /// A handshake begins.
    #[must_use]
    pub fn begin(self: &Arc<Self>, address: SocketAddr) -> Handshake {
        let handshake = Handshake { unproved: Arc::clone(self), address };
        if self.proved.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&address) {
            return handshake;
        }
        let mut addresses = self.lock();
        addresses.retain(|_, entry| entry.failed.is_none_or(|at| at.elapsed() < REMEMBERED));
        let entry = addresses.entry(address).or_insert(Address { handshakes: 0, received: 0, sent: 0, failed: None });
        entry.handshakes += 1;
        entry.received += FIRST;
        entry.failed = None;
        self.count.store(addresses.len(), Relaxed);
        handshake
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Address>> {
        // Counts that a panic left half done are wrong by one datagram.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self, metas: &[RecvMeta]) {
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let mut addresses = self.lock();
        for meta in metas {
            if let Some(entry) = addresses.get_mut(&meta.addr) {
                entry.received += meta.len as u64;
            }
        }
    }

    /// Whether a datagram may go.
    fn allows(&self, transmit: &Transmit<'_>) -> bool {
        if self.count.load(Relaxed) == 0 {
            return true;
        }
        let mut addresses = self.lock();
        let Some(entry) = addresses.get_mut(&transmit.destination) else { return true };
        let sent = entry.sent + transmit.contents.len() as u64;
        let allowed = sent <= TIMES * entry.received;
        if allowed {
            entry.sent = sent;
        }
        allowed
    }
}

impl Handshake {
    /// The address is proved, for as long as the answer is held.
    #[must_use]
    pub fn succeeded(self) -> Proved {
        let mut addresses = self.unproved.lock();
        addresses.remove(&self.address);
        self.unproved.count.store(addresses.len(), Relaxed);
        drop(addresses);
        let proved = Proved { unproved: Arc::clone(&self.unproved), address: self.address };
        *proved.lock().entry(self.address).or_default() += 1;
        proved
    }
}

/// An established connection of an address.
pub struct Proved {
    unproved: Arc<Unproved>,
    address: SocketAddr,
}

impl Proved {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.unproved.proved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proved {
    fn drop(&mut self) {
        let mut proved = self.lock();
        if let Some(connections) = proved.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                proved.remove(&self.address);
            }
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(entry) = self.unproved.lock().get_mut(&self.address) {
            entry.handshakes = entry.handshakes.saturating_sub(1);
            if entry.handshakes == 0 {
                entry.failed = Some(Instant::now());
            }
        }
    }
}

/// The socket.
pub struct Rationed {
    socket: Arc<dyn AsyncUdpSocket>,
    unproved: Arc<Unproved>,
}

impl Rationed {
    /// Wraps a socket.
    #[must_use]
    pub fn new(socket: Arc<dyn AsyncUdpSocket>, unproved: Arc<Unproved>) -> Self {
        Self { socket, unproved }
    }
}

impl fmt::Debug for Rationed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rationed").field(&self.socket).finish()
    }
}

impl AsyncUdpSocket for Rationed {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // What may not go is lost, as far as quinn knows.
        if self.unproved.allows(transmit) { self.socket.try_send(transmit) } else { Ok(()) }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = &received {
            self.unproved.received(meta.get(..*count).unwrap_or_default());
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
        let unproved = Arc::new(Unproved::default());
        let address: SocketAddr = "192.0.2.1:4433".parse().unwrap();
        let long = [0; 1_200];
        let handshake = unproved.begin(address);
        for _ in 0..3 {
            assert!(unproved.allows(&transmit(address, &long)));
        }
        assert!(!unproved.allows(&transmit(address, &long[..1])));
        assert!(unproved.allows(&transmit("192.0.2.2:4433".parse().unwrap(), &long)), "one that is proved");
        unproved.received(&[RecvMeta { addr: address, len: 10, ..RecvMeta::default() }]);
        assert!(unproved.allows(&transmit(address, &long[..30])));
        assert!(!unproved.allows(&transmit(address, &long[..1])));
        drop(handshake);
        assert!(!unproved.allows(&transmit(address, &long[..1])), "a failed one is remembered");
        let proved = unproved.begin(address).succeeded();
        let another = unproved.begin(address);
        for _ in 0..9 {
            assert!(unproved.allows(&transmit(address, &long)), "an address with a connection is proved");
        }
        assert_eq!(unproved.count.load(Relaxed), 0);
        drop((proved, another));
        assert!(unproved.proved.lock().unwrap().is_empty());
    }
}
