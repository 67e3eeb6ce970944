//! One thread of the floor: its listener, its handshakes, its sockets, and the loop that is being compared with.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::{Arc, mpsc},
};

use http::Request;
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use roomcast::testing::{protocol::SUBPROTOCOL, transport::websocket};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use super::{control::Counts, record::Sealer};
use crate::{
    edge::{Drain, Ready},
    error::{BenchError, Doing as _},
};

/// An order to a thread.
pub(super) enum Order {
    /// Seal and write these bytes to every socket.
    Send(Arc<[u8]>),
    /// Say what was done.
    Count(mpsc::Sender<Counts>),
}

/// The other end of a thread's inbox.
pub(super) struct Handle {
    orders: mpsc::SyncSender<Order>,
    alarm: Waker,
}

impl Handle {
    /// Gives an order and wakes the thread.
    pub(super) fn order(&self, order: Order) -> Result<(), BenchError> {
        let gone = || BenchError::Protocol("a thread of the floor has ended".to_owned());
        self.orders.send(order).map_err(|_| gone())?;
        self.alarm.wake().doing(|| "waking a thread of the floor".to_owned())
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
    poll: Poll,
    orders: mpsc::Receiver<Order>,
    guests: Slab<Guest>,
    seats: Slab<Seat>,
    scratch: Vec<u8>,
    counts: Counts,
}

const LISTENER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
/// Added to a seat's number, so that it is no guest's.
const SEAT: usize = 1 << 32;
/// The most sockets that one wait reports.
const EVENTS: usize = 1024;
const MOST_HEAD: usize = 16 << 10;
const MOST_PENDING: usize = 1 << 20;
/// Frames that may wait for a thread; then the floor reads no more from its parent.
const MOST_ORDERS: usize = 64;

impl Worker {
    /// A thread's state; `address` with port 0 chooses a port.
    pub(super) fn new(address: SocketAddr, tls: Arc<ServerConfig>) -> Result<(Self, Handle), BenchError> {
        let mut listener = listen(address).doing(|| format!("listening on {address} for the floor"))?;
        let poll = Poll::new().doing(|| "making a poll".to_owned())?;
        let watch = || "watching the floor's listener".to_owned();
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).doing(watch)?;
        let alarm = Waker::new(poll.registry(), ALARM).doing(watch)?;
        let (sender, orders) = mpsc::sync_channel(MOST_ORDERS);
        let handle = Handle { orders: sender, alarm };
        let worker = Self {
            listener,
            tls,
            poll,
            orders,
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
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done.doing(|| "waiting for sockets".to_owned())?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    ALARM => self.orders()?,
                    Token(token) if token >= SEAT => self.drain(token - SEAT),
                    Token(token) => self.shake(token, Ready::of(event)),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<(), BenchError> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).doing(|| "accepting a connection on the floor".to_owned()),
            };
            socket.set_nodelay(true).doing(|| "setting up a socket".to_owned())?;
            let tls = ServerConnection::new(Arc::clone(&self.tls))
                .map_err(|e| BenchError::Protocol(format!("the floor's TLS: {e}")))?;
            let entry = self.guests.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            let watched = self.poll.registry().register(&mut socket, Token(entry.key()), both);
            watched.doing(|| "watching a socket".to_owned())?;
            entry.insert(Guest { socket, tls: Box::new(tls), head: Vec::new(), answered: false });
        }
    }

    /// A guest's socket is ready: goes on with its handshakes, and seats it at their end.
    fn shake(&mut self, index: usize, ready: Ready) {
        let Some(guest) = self.guests.get_mut(index) else { return };
        match guest.step(ready) {
            Ok(false) => {}
            Ok(true) => {
                let mut guest = self.guests.remove(index);
                let watched = self.poll.registry().deregister(&mut guest.socket);
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
                let registry = self.poll.registry();
                let watched = registry.register(&mut seat.socket, Token(SEAT + index), Interest::WRITABLE);
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
        while !seat.pending.is_empty() {
            match (&seat.socket).write(&seat.pending) {
                Ok(written @ 1..) => drop(seat.pending.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => return self.give_up(index),
            }
        }
        if self.poll.registry().deregister(&mut seat.socket).is_err() {
            self.give_up(index);
        }
    }

    fn give_up(&mut self, index: usize) {
        self.seats.remove(index);
        self.counts.given_up += 1;
    }
}

impl Guest {
    /// Reads and writes what can be; `true` once the answer to the upgrade is out.
    fn step(&mut self, ready: Ready) -> Result<bool, BenchError> {
        let tls_failed = |e: rustls::Error| BenchError::Protocol(format!("TLS: {e}"));
        let mut more = ready.read;
        while more {
            let mut drain = Drain::new(&self.socket);
            match self.tls.read_tls(&mut drain) {
                Ok(0) => return Err(BenchError::Protocol("closed by the client".to_owned())),
                Ok(_) => more = drain.more || ready.ended,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
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
    Ok(TcpListener::from_std(socket.into()))
}
