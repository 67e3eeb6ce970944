//! One thread of the floor: its listener, its handshakes, its sockets, and the loop that is being compared with.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
};

use http::Request;
use roomcast::{protocol::SUBPROTOCOL, transport::websocket};
use rustix::event::{EventfdFlags, eventfd};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use super::{control::Counts, record::Sealer};
use crate::{
    error::{BenchError, Doing as _},
    poller::{Found, Interest, Poller, Ready},
};

/// What a thread is told.
pub(super) enum Order {
    /// Seal and write these bytes to every socket.
    Send(Arc<[u8]>),
    /// Say what was done.
    Count(mpsc::Sender<Counts>),
}

/// The other end of a thread's inbox.
pub(super) struct Handle {
    orders: mpsc::SyncSender<Order>,
    alarm: Arc<OwnedFd>,
}

impl Handle {
    /// Gives an order and wakes the thread.
    pub(super) fn order(&self, order: Order) -> Result<(), BenchError> {
        let gone = || BenchError::Protocol("a thread of the floor has ended".to_owned());
        self.orders.send(order).map_err(|_| gone())?;
        rustix::io::write(&*self.alarm, &1u64.to_ne_bytes()).doing(|| "waking a thread of the floor".to_owned())?;
        Ok(())
    }
}

/// A connection that is still shaking hands.
struct Guest {
    socket: TcpStream,
    tls: Box<ServerConnection>,
    head: Vec<u8>,
    answered: bool,
}

/// A connection that receives.
struct Seat {
    socket: TcpStream,
    sealer: Sealer,
    /// Sealed bytes that the kernel did not take yet. At [`MOST_PENDING`] the socket is given up.
    pending: Vec<u8>,
}

/// One thread.
pub(super) struct Worker {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    poller: Poller,
    orders: mpsc::Receiver<Order>,
    alarm: Arc<OwnedFd>,
    guests: Slab<Guest>,
    seats: Slab<Seat>,
    scratch: Vec<u8>,
    counts: Counts,
}

const LISTENER: u64 = u64::MAX;
const ALARM: u64 = u64::MAX - 1;
/// Added to a seat's number, so that it is told from a guest's.
const SEAT: u64 = 1 << 32;
const MOST_HEAD: usize = 16 << 10;
const MOST_PENDING: usize = 1 << 20;
/// Frames that may wait for a thread; then the floor reads no more from its parent.
const MOST_ORDERS: usize = 64;

impl Worker {
    /// A thread's state; `address` with port 0 chooses a port.
    pub(super) fn new(address: SocketAddr, tls: Arc<ServerConfig>) -> Result<(Self, Handle), BenchError> {
        let listener = listen(address).doing(|| format!("listening on {address} for the floor"))?;
        let poller = Poller::new().doing(|| "making an epoll instance".to_owned())?;
        let alarm = eventfd(0, EventfdFlags::CLOEXEC).doing(|| "making an eventfd".to_owned())?;
        let watch = || "watching the floor's listener".to_owned();
        poller.add(&listener, LISTENER, Interest::READ).doing(watch)?;
        poller.add(&alarm, ALARM, Interest::READ).doing(watch)?;
        let (sender, orders) = mpsc::sync_channel(MOST_ORDERS);
        let alarm = Arc::new(alarm);
        let handle = Handle { orders: sender, alarm: Arc::clone(&alarm) };
        let worker = Self {
            listener,
            tls,
            poller,
            orders,
            alarm,
            guests: Slab::new(),
            seats: Slab::new(),
            scratch: Vec::new(),
            counts: Counts::default(),
        };
        Ok((worker, handle))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Result<SocketAddr, BenchError> {
        self.listener.local_addr().doing(|| "asking for the floor's port".to_owned())
    }

    /// Until the process ends.
    pub(super) fn run(mut self) -> Result<(), BenchError> {
        let mut found = Found::new();
        loop {
            self.poller.wait(None, &mut found).doing(|| "waiting for sockets".to_owned())?;
            for event in found.iter() {
                match event.token {
                    LISTENER => self.accept()?,
                    ALARM => self.orders()?,
                    token if token >= SEAT => self.drain((token - SEAT) as usize),
                    token => self.shake(token as usize, event),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<(), BenchError> {
        for _ in 0..64 {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).doing(|| "accepting a connection on the floor".to_owned()),
            };
            let prepared = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
            prepared.doing(|| "setting up a socket".to_owned())?;
            let tls = ServerConnection::new(Arc::clone(&self.tls))
                .map_err(|e| BenchError::Protocol(format!("the floor's TLS: {e}")))?;
            let entry = self.guests.vacant_entry();
            let watched = self.poller.add(&socket, entry.key() as u64, Interest::READ);
            watched.doing(|| "watching a socket".to_owned())?;
            entry.insert(Guest { socket, tls: Box::new(tls), head: Vec::new(), answered: false });
        }
        Ok(())
    }

    /// A guest's socket is ready: goes on with its handshakes, and seats it at their end.
    fn shake(&mut self, index: usize, ready: Ready) {
        let Some(guest) = self.guests.get_mut(index) else { return };
        match guest.step(ready) {
            Ok(false) => {
                let write = guest.tls.wants_write();
                let interest = if write { Interest::BOTH } else { Interest::READ };
                if self.poller.modify(&guest.socket, index as u64, interest).is_err() {
                    self.guests.remove(index);
                }
            }
            Ok(true) => {
                let guest = self.guests.remove(index);
                let watched = self.poller.remove(&guest.socket);
                match guest.seat() {
                    Ok(seat) if watched.is_ok() => {
                        self.seats.insert(seat);
                        self.counts.open += 1;
                    }
                    Ok(_) => {}
                    Err(error) => eprintln!("the floor: {error}"),
                }
            }
            Err(error) => {
                eprintln!("the floor lost a connection during its handshakes: {error}");
                self.guests.remove(index);
            }
        }
    }

    fn orders(&mut self) -> Result<(), BenchError> {
        let mut count = [0; 8];
        rustix::io::read(&*self.alarm, &mut count).doing(|| "reading an eventfd".to_owned())?;
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Send(frame) => self.broadcast(&frame)?,
                // The parent may have stopped waiting.
                Order::Count(answer) => drop(answer.send(self.counts)),
            }
        }
        Ok(())
    }

    /// The floor itself: seal and write, socket after socket.
    fn broadcast(&mut self, frame: &[u8]) -> Result<(), BenchError> {
        let mut given_up = Vec::new();
        for (index, seat) in &mut self.seats {
            self.scratch.clear();
            seat.sealer.seal(frame, &mut self.scratch)?;
            if !seat.pending.is_empty() {
                seat.pending.extend_from_slice(&self.scratch);
                if seat.pending.len() > MOST_PENDING {
                    given_up.push(index);
                }
                continue;
            }
            let written = match (&seat.socket).write(&self.scratch) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    given_up.push(index);
                    continue;
                }
            };
            if written < self.scratch.len() {
                self.counts.short_writes += 1;
                seat.pending.extend_from_slice(&self.scratch[written..]);
                let watched = self.poller.add(&seat.socket, SEAT + index as u64, Interest::WRITE);
                watched.doing(|| "watching a socket".to_owned())?;
            }
        }
        for index in given_up {
            self.seats.remove(index);
            self.counts.given_up += 1;
        }
        Ok(())
    }

    /// A seat with pending bytes is writable again.
    fn drain(&mut self, index: usize) {
        let Some(seat) = self.seats.get_mut(index) else { return };
        match (&seat.socket).write(&seat.pending) {
            Ok(written) => drop(seat.pending.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => {
                self.seats.remove(index);
                self.counts.given_up += 1;
                return;
            }
        }
        if seat.pending.is_empty() && self.poller.remove(&seat.socket).is_err() {
            self.seats.remove(index);
            self.counts.given_up += 1;
        }
    }
}

impl Guest {
    /// Reads and writes what can be; `true` once the answer to the upgrade is out.
    fn step(&mut self, ready: Ready) -> Result<bool, BenchError> {
        let tls_failed = |e: rustls::Error| BenchError::Protocol(format!("TLS: {e}"));
        if ready.read {
            match self.tls.read_tls(&mut &self.socket) {
                Ok(0) => return Err(BenchError::Protocol("closed by the client".to_owned())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).doing(|| "reading a handshake".to_owned()),
            }
            self.tls.process_new_packets().map_err(tls_failed)?;
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = self.tls.reader().read(&mut chunk) {
                self.head.extend_from_slice(&chunk[..count]);
            }
        }
        if !self.answered && self.head.ends_with(b"\r\n\r\n") {
            let answer = upgrade(&self.head)?;
            self.tls.writer().write_all(&answer).doing(|| "answering an upgrade".to_owned())?;
            self.answered = true;
        }
        if self.head.len() > MOST_HEAD {
            return Err(BenchError::Protocol("the request's head is too long".to_owned()));
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).doing(|| "writing a handshake".to_owned()),
            }
        }
        Ok(self.answered)
    }

    /// Takes the secrets out of rustls.
    fn seat(self) -> Result<Seat, BenchError> {
        let secrets = self
            .tls
            .dangerous_extract_secrets()
            .map_err(|e| BenchError::Protocol(format!("taking the secrets out of rustls: {e}")))?;
        Ok(Seat { socket: self.socket, sealer: Sealer::new(secrets.tx)?, pending: Vec::new() })
    }
}

/// The answer to an upgrade request.
fn upgrade(head: &[u8]) -> Result<Vec<u8>, BenchError> {
    let malformed = |what: &dyn std::fmt::Display| BenchError::Protocol(format!("an upgrade request: {what}"));
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).map_err(|e| malformed(&e))?;
    let mut request = Request::builder().method(parsed.method.unwrap_or("GET")).uri(parsed.path.unwrap_or("/"));
    for header in parsed.headers.iter() {
        request = request.header(header.name, header.value);
    }
    let request = request.body(()).map_err(|e| malformed(&e))?;
    let accepted = websocket::accept(&request, &[SUBPROTOCOL], true).map_err(|e| malformed(&e))?;
    let mut answer = Vec::new();
    websocket::write_head(&accepted.response, &mut answer);
    Ok(answer)
}

/// A listener that shares its port with the other threads'.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
