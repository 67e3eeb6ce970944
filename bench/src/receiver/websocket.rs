//! WebSocket over TLS, the client's side: bytes of a socket to messages, and back. Or a stream of server-sent events, which has
//! no way back.
//!
//! This file is the receivers' seam for transports: another one is another file with the same [`Link::ready`] and
//! [`Link::send`]. Owns the socket, the TLS session and the reader; never knows what a message means.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    ops::ControlFlow,
    sync::Arc,
};

use mio::{Interest, net::TcpStream};
use roomcast_websocket::{
    ClientHandshake, Deflater, Frame, Incoming, Inflater, MessageLimits, Offer, Opcode, Reader, Role,
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName};
use socket2::{Domain, Protocol, Socket, Type};

use super::{control::Join, event_stream::EventStream, frames::whole_frame};
use crate::{
    edge::{Drain, Ready},
    error::{BenchError, Doing as _},
};

/// What all connections of a receiver share: buffers, and the two compressors.
pub(super) struct Shared {
    plaintext: Vec<u8>,
    /// What streams of events say.
    events: Vec<u8>,
    inflater: Inflater,
    deflater: Deflater,
    limits: MessageLimits,
    key: u32,
}

impl Shared {
    /// Empty buffers.
    pub(super) fn new() -> Self {
        Self {
            plaintext: vec![0; 32 << 10],
            events: Vec::new(),
            inflater: Inflater::new(),
            deflater: Deflater::new(Deflater::DEFAULT_LEVEL, 15),
            limits: MessageLimits { max_message: 16 << 20, max_fragments: 1024 },
            key: std::process::id(),
        }
    }

    /// The next masking key. It need not be unpredictable here: there is no proxy to be fooled (RFC 6455 section 10.3).
    fn next_key(&mut self) -> [u8; 4] {
        self.key = self.key.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        self.key.to_ne_bytes()
    }
}

/// What takes the messages that come in on a connection.
pub(super) trait Hear {
    /// Plaintext at a message's boundary: the length of the frame that it begins with, if that is known already and
    /// need not be read again.
    fn recognise(&mut self, plaintext: &[u8]) -> Option<usize>;
    /// A text message; with its frame's bytes, if it came as one whole frame that means the same on every connection.
    fn text(&mut self, message: &str, frame: Option<&[u8]>);
    /// A binary message, or bytes of a stream of events.
    fn bytes(&mut self, bytes: &[u8]);
    /// A ping, which is answered.
    fn ping(&mut self);
    /// The server closes, with this code and reason.
    fn close(&mut self, reason: Option<(u16, &str)>);
}

/// How far a connection is.
enum Stage {
    /// TCP, TLS and the upgrade are under way: the request, and what has come of its answer.
    Opening { connected: bool, request: Box<ClientHandshake>, answer: Vec<u8> },
    /// Messages go both ways.
    Open,
    /// Events come as soon as the head of the answer has.
    Events { connected: bool, stream: Box<EventStream> },
}

/// One connection.
pub(super) struct Link {
    socket: TcpStream,
    tls: ClientConnection,
    stage: Stage,
    reader: Reader,
    deflate: bool,
    /// Its own, where it keeps its window.
    inflater: Option<Box<Inflater>>,
    interest: Interest,
}

impl Link {
    /// Begins to connect; the connection's `index` chooses the source address.
    pub(super) fn start(join: &Join, index: usize, tls: &Arc<ClientConfig>) -> Result<Self, BenchError> {
        let socket = connect(join, index).doing(|| format!("connecting to {}", join.address))?;
        let name = ServerName::try_from(join.host.clone())
            .map_err(|_| BenchError::Usage(format!("{:?} is no host name", join.host)))?;
        let mut tls = ClientConnection::new(Arc::clone(tls), name)
            .map_err(|e| BenchError::Protocol(format!("the receiver's TLS: {e}")))?;
        let offer =
            Offer { server_no_context_takeover: !join.takeover, client_no_context_takeover: true, ..Offer::default() };
        let host = format!("{}:{}", join.host, join.address.port());
        let target = join.dialect.target_of(join.room(index)).unwrap_or_else(|| join.path.clone());
        // rustls keeps it until the handshake lets it go.
        let mut write = |request: &[u8]| tls.writer().write_all(request).doing(|| "writing the request".to_owned());
        let stage = if join.dialect.is_event_stream() {
            write(&EventStream::request(&host, &target, join.deflate))?;
            Stage::Events { connected: false, stream: Box::new(EventStream::new()) }
        } else {
            let (protocols, offer) = (join.dialect.subprotocols(), join.deflate.then_some(offer));
            let request = Box::new(ClientHandshake::new(&host, &target, protocols, offer, &[]));
            write(request.request())?;
            Stage::Opening { connected: false, request, answer: Vec::new() }
        };
        Ok(Self {
            socket,
            tls,
            stage,
            reader: Reader::new(Role::Client, false),
            deflate: false,
            inflater: join.takeover.then(|| Box::new(Inflater::with_takeover())),
            interest: Interest::WRITABLE,
        })
    }

    /// The socket, to be registered; it waits for [`Interest::WRITABLE`] first.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// What the socket waits for, if that has changed since it was last asked.
    pub(super) fn new_interest(&mut self) -> Option<Interest> {
        let interest = match self.stage {
            Stage::Opening { connected: false, .. } | Stage::Events { connected: false, .. } => Interest::WRITABLE,
            _ if self.tls.wants_write() => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::READABLE,
        };
        (interest != std::mem::replace(&mut self.interest, interest)).then_some(interest)
    }

    /// Whether messages go both ways, or events come.
    pub(super) fn is_open(&self) -> bool {
        match &self.stage {
            Stage::Opening { .. } => false,
            Stage::Open => true,
            Stage::Events { stream, .. } => stream.is_open(),
        }
    }

    /// The TLS cipher suite.
    pub(super) fn suite(&self) -> String {
        let suite = self.tls.negotiated_cipher_suite();
        suite.map_or_else(|| "none".to_owned(), |suite| format!("{:?}", suite.suite()))
    }

    /// Whether permessage-deflate was agreed, or the events are compressed.
    pub(super) fn deflate(&self) -> bool {
        matches!(&self.stage, Stage::Events { stream, .. } if stream.is_compressed()) || self.deflate
    }

    /// Whether TLS resumed an earlier session.
    pub(super) fn resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The socket is ready: reads what there is, hands it out, writes what can be. Returns the bytes read.
    pub(super) fn ready(
        &mut self,
        ready: Ready,
        shared: &mut Shared,
        hear: &mut dyn Hear,
    ) -> Result<usize, BenchError> {
        if let Stage::Opening { connected: connected @ false, .. }
        | Stage::Events { connected: connected @ false, .. } = &mut self.stage
        {
            if let Some(error) = self.socket.take_error().doing(|| "asking for a socket's error".to_owned())? {
                return Err(error).doing(|| "connecting".to_owned());
            }
            *connected = true;
        }
        let (mut read, mut more) = (0, ready.read);
        while more {
            let (some, full) = self.read(shared, hear)?;
            read += some;
            more = full || (ready.ended && some > 0);
        }
        self.flush()?;
        Ok(read)
    }

    /// Sends a text message, compressed if that was agreed and makes it smaller.
    pub(super) fn send(&mut self, message: &[u8], shared: &mut Shared) -> Result<(), BenchError> {
        let key = shared.next_key();
        let compressed = if self.deflate { shared.deflater.deflate(message) } else { None };
        let frame = match compressed {
            Some(payload) => Frame { compressed: true, ..Frame::new(Opcode::Text, payload) },
            None => Frame::new(Opcode::Text, message),
        };
        self.write_frame(&frame, key)?;
        self.flush()
    }

    /// Says goodbye (1000 is a normal closure, RFC 6455 section 7.4.1), as far as that can be done without waiting.
    pub(super) fn leave(&mut self, shared: &mut Shared) {
        let key = shared.next_key();
        // A visitor that leaves does not wait until the other side knows.
        if self.write_frame(&Frame::new(Opcode::Close, &1000u16.to_be_bytes()), key).is_ok() {
            self.tls.send_close_notify();
            drop(self.flush());
        }
    }

    fn write_frame(&mut self, frame: &Frame<'_>, key: [u8; 4]) -> Result<(), BenchError> {
        let mut bytes = Vec::with_capacity(frame.payload.len() + 14);
        frame.write_client(key, &mut bytes);
        self.tls.writer().write_all(&bytes).doing(|| "sending a frame".to_owned())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).doing(|| "writing to a connection".to_owned()),
            }
        }
        Ok(())
    }

    /// Reads once; how many bytes, and whether there may be more.
    fn read(&mut self, shared: &mut Shared, hear: &mut dyn Hear) -> Result<(usize, bool), BenchError> {
        let mut drain = Drain::new(&self.socket);
        let read = match self.tls.read_tls(&mut drain) {
            Ok(0) => return Err(BenchError::Protocol("the server ended the connection".to_owned())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((0, false)),
            Err(error) => return Err(error).doing(|| "reading from a connection".to_owned()),
        };
        let more = drain.more;
        self.tls.process_new_packets().map_err(|e| BenchError::Protocol(format!("the server's TLS: {e}")))?;
        let mut plaintext = std::mem::take(&mut shared.plaintext);
        let mut result = Ok(());
        while result.is_ok() {
            match self.tls.reader().read(&mut plaintext) {
                Ok(count @ 1..) => result = self.plaintext(&mut plaintext[..count], shared, hear),
                // Nothing more for now, or the end, which the next read of the socket will say.
                Ok(0) | Err(_) => break,
            }
        }
        shared.plaintext = plaintext;
        result.map(|()| (read, more))
    }

    fn plaintext(&mut self, plaintext: &mut [u8], shared: &mut Shared, hear: &mut dyn Hear) -> Result<(), BenchError> {
        match &mut self.stage {
            Stage::Open => self.frames(plaintext, shared, hear),
            Stage::Events { stream, .. } => {
                shared.events.clear();
                stream.take(plaintext, &mut shared.events)?;
                hear.bytes(&shared.events);
                Ok(())
            }
            Stage::Opening { request, answer, .. } => {
                answer.extend_from_slice(plaintext);
                let refused = |e| BenchError::Protocol(format!("the WebSocket was refused: {e}"));
                let Some(agreed) = request.answer(answer).map_err(refused)? else { return Ok(()) };
                let mut answer = std::mem::take(answer);
                self.deflate = agreed.deflate.is_some();
                self.reader = Reader::new(Role::Client, self.deflate);
                self.stage = Stage::Open;
                self.frames(&mut answer[agreed.head_bytes..], shared, hear)
            }
        }
    }

    fn frames(&mut self, mut bytes: &mut [u8], shared: &mut Shared, hear: &mut dyn Hear) -> Result<(), BenchError> {
        while !bytes.is_empty() {
            let (whole, length) = if self.reader.is_mid_message() {
                (false, bytes.len())
            } else if self.inflater.is_none()
                && let Some(length) = hear.recognise(bytes)
            {
                bytes = &mut bytes[length..];
                continue;
            } else {
                whole_frame(bytes).map_or((false, bytes.len()), |length| (true, length))
            };
            let (frame, rest) = bytes.split_at_mut(length);
            // A server's frames are not masked: reading leaves the bytes as they are, so they can be kept.
            let kept = (whole && self.inflater.is_none()).then(|| frame.to_vec());
            let mut pongs = Vec::new();
            let Shared { inflater, limits, .. } = shared;
            let inflater = self.inflater.as_deref_mut().unwrap_or(inflater);
            let read = self.reader.read(frame, inflater, limits, &mut |incoming| {
                match incoming {
                    Incoming::Text(text) => hear.text(text, kept.as_deref()),
                    Incoming::Ping(payload) => {
                        pongs.push(payload.to_vec());
                        hear.ping();
                    }
                    Incoming::Close(reason) => hear.close(reason),
                    Incoming::Binary(bytes) => hear.bytes(bytes),
                    Incoming::Pong(_) => {}
                }
                ControlFlow::Continue(())
            });
            read.map_err(|e| BenchError::Protocol(format!("the server's frames are wrong: {e:?}")))?;
            for payload in pongs {
                let key = shared.next_key();
                self.write_frame(&Frame::new(Opcode::Pong, &payload), key)?;
            }
            bytes = rest;
        }
        Ok(())
    }
}

/// A non-blocking connect, on loopback from one of sixteen addresses of this receiver's own.
fn connect(join: &Join, index: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(join.address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if join.address.is_ipv4() && join.address.ip().is_loopback() {
        let source = Ipv4Addr::new(127, 1, join.source, 1 + (index % 16) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&join.address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
