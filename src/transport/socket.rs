//! A TCP socket with or without TLS: plaintext in and out, never blocking.
//!
//! Owns the descriptor and the TLS state. Never queues: what the kernel does not take is handed back to the caller.
//! Always holds: after [`Written::Rest`], those very bytes must leave before anything else is written.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use rustix::{io::Errno, net::SendFlags};
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::TcpStream,
};

use super::{
    places::SocketPlace,
    scratch::Scratch,
    tls::{MAX_INCOMPLETE, MAX_RECORD, Progress, Tls},
};

/// The buffers that a worker shares between all its sockets.
pub struct Buffers {
    /// Bytes off the wire.
    received: Box<[u8]>,
    /// Bytes off the wire, opened.
    pub plain: Vec<u8>,
    /// Bytes for the wire.
    pub sealed: Scratch,
    /// What TLS itself has to say.
    reply: Scratch,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            received: vec![0; MAX_INCOMPLETE + 2 * MAX_RECORD].into_boxed_slice(),
            plain: Vec::new(),
            sealed: Scratch::default(),
            reply: Scratch::default(),
        }
    }
}

impl Buffers {
    /// Where bytes off the wire go that need no TLS of ours.
    pub fn received(&mut self) -> &mut [u8] {
        &mut self.received
    }

    /// So many of [`Buffers::received`] were written: they are plaintext.
    pub fn take_received(&mut self, len: usize) {
        let Self { received, plain, .. } = self;
        plain.extend_from_slice(&received[..len.min(received.len())]);
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Plaintext is in `Buffers::plain` (possibly none: the bytes belonged to TLS itself).
    Some,
    /// The TLS handshake goes on.
    Handshaking,
    /// The peer has closed its side; plaintext may have come before.
    Closed,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// The kernel has everything.
    All,
    /// The kernel is full: this is left, sealed, and must leave first.
    Rest(Vec<u8>),
}

/// Whether the bytes are sealed.
enum Link {
    Plain,
    Tls(Tls),
}

/// A socket on its way to another thread's event loop.
pub struct Detached {
    stream: std::net::TcpStream,
    link: Link,
    place: Option<SocketPlace>,
    client: Option<Box<SocketAddr>>,
}

impl Detached {
    /// A socket without TLS, or whose TLS has ended elsewhere.
    #[must_use]
    pub fn plain(stream: std::net::TcpStream) -> Self {
        Self { stream, link: Link::Plain, place: None, client: None }
    }

    /// Keeps its place among the pod's files, if it has one.
    #[must_use]
    pub fn at(self, place: Option<SocketPlace>) -> Self {
        Self { place, ..self }
    }

    /// Puts it on this thread's event loop.
    ///
    /// # Errors
    /// The operating system's.
    pub fn attach(self) -> io::Result<Socket> {
        Ok(Socket {
            stream: TcpStream::from_std(self.stream)?,
            link: self.link,
            place: self.place,
            client: self.client,
        })
    }
}

/// A connected socket.
pub struct Socket {
    stream: TcpStream,
    link: Link,
    /// Given back when it is closed.
    place: Option<SocketPlace>,
    /// Where the client is, if proxies stand between.
    client: Option<Box<SocketAddr>>,
}

impl Socket {
    /// A socket without TLS.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream, link: Link::Plain, place: None, client: None }
    }

    /// A socket whose peer will begin a TLS handshake.
    #[must_use]
    pub fn tls(stream: TcpStream, tls: Tls) -> Self {
        Self { stream, link: Link::Tls(tls), place: None, client: None }
    }

    /// Keeps its place among the pod's files.
    #[must_use]
    pub fn at(self, place: SocketPlace) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Takes it off this thread's event loop.
    ///
    /// # Errors
    /// The operating system's.
    pub fn detach(self) -> io::Result<Detached> {
        Ok(Detached { stream: self.stream.into_std()?, link: self.link, place: self.place, client: self.client })
    }

    /// A proxy says that the client is elsewhere.
    pub fn set_client(&mut self, client: SocketAddr) {
        if self.stream.peer_addr().ok() != Some(client) {
            self.client = Some(Box::new(client));
        }
    }

    /// Where the client is, as far as is known.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.client.as_deref().copied().or_else(|| self.stream.peer_addr().ok())
    }

    /// Whether the bytes are sealed.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.link, Link::Tls(_))
    }

    /// Makes a socket whose handshake is over as small as it will stay.
    ///
    /// # Errors
    /// Its TLS connection is lost.
    pub fn settle(&mut self) -> io::Result<()> {
        match &mut self.link {
            Link::Plain => Ok(()),
            Link::Tls(tls) => tls.settle().map_err(io::Error::other),
        }
    }

    /// Whether a TLS ticket shortened the handshake.
    #[must_use]
    pub fn resumed(&self) -> bool {
        matches!(&self.link, Link::Tls(tls) if tls.resumed())
    }

    /// Reads once. Plaintext is appended to `buffers.plain`.
    ///
    /// # Errors
    /// The socket failed, or the peer broke TLS (the alert was sent if the kernel took it).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<Read>> {
        let Buffers { received, plain, reply, .. } = buffers;
        let start = match &self.link {
            Link::Plain => 0,
            Link::Tls(tls) => tls.incomplete(),
        };
        if start > MAX_INCOMPLETE {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "TLS message too long")));
        }
        let mut free = ReadBuf::new(&mut received[start..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut free))?;
        let read = free.filled().len();
        if read == 0 {
            return Poll::Ready(Ok(Read::Closed));
        }
        let Link::Tls(tls) = &mut self.link else {
            plain.extend_from_slice(&received[..read]);
            return Poll::Ready(Ok(Read::Some));
        };
        tls.restore(received);
        reply.clear();
        let progress = tls.open(&mut received[..start + read], Instant::now(), plain, reply);
        if !reply.filled().is_empty() {
            // Handshake flights and alerts are small and come when the send buffer is empty: a kernel that does not
            // take them whole has a peer that does not read its own handshake.
            let sent = self.stream.try_write(reply.filled());
            if progress.is_ok() && sent? < reply.filled().len() {
                let message = "the peer does not read its TLS handshake";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, message)));
            }
        }
        Poll::Ready(match progress {
            Ok(Progress::PeerClosed) => Ok(Read::Closed),
            Ok(Progress::Handshaking) => Ok(Read::Handshaking),
            Ok(Progress::Established) => Ok(Read::Some),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        })
    }

    /// Seals `plain` and writes it. Only for when nothing is left of an earlier write.
    ///
    /// # Errors
    /// The socket failed, or its TLS connection did.
    pub fn write(&mut self, plain: &[u8], scratch: &mut Scratch) -> io::Result<Written> {
        match &mut self.link {
            Link::Plain => self.write_sealed(plain),
            Link::Tls(tls) => {
                scratch.clear();
                tls.seal(plain, scratch).map_err(io::Error::other)?;
                self.write_sealed(scratch.filled())
            }
        }
    }

    /// Writes bytes that were sealed before ([`Written::Rest`]).
    ///
    /// # Errors
    /// The socket failed.
    pub fn write_sealed(&self, sealed: &[u8]) -> io::Result<Written> {
        let mut done = 0;
        while done < sealed.len() {
            // Not through tokio: its look at the readiness is a cache miss for each receiver of a broadcast, and the
            // kernel knows best whether it takes more.
            match rustix::net::send(&self.stream, &sealed[done..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(n) => done += n,
                Err(Errno::AGAIN) => {
                    // tokio has to hear of it, or it would wait for nothing.
                    let _ = self.stream.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                    return Ok(Written::Rest(sealed[done..].to_vec()));
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Written::All)
    }

    /// Touches what a write will need. Called for several sockets in a row, the cache misses overlap instead of adding
    /// up; the answer means nothing.
    #[inline]
    #[must_use]
    pub fn warm(&self) -> usize {
        match &self.link {
            Link::Plain => 0,
            Link::Tls(tls) => tls.warm(),
        }
    }

    /// Says goodbye on the TLS level and stops sending. Best effort: the peer may be gone.
    pub fn shut_down(&mut self, scratch: &mut Scratch) {
        if let Link::Tls(tls) = &mut self.link {
            scratch.clear();
            if tls.seal_close(scratch).is_ok() {
                let _ = self.stream.try_write(scratch.filled());
            }
        }
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
    }

    /// Polls for space to write.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }
}
