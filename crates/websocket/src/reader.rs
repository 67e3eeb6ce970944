//! One connection's incoming side: bytes to whole messages.
//!
//! Owns the bytes of a message that is incomplete, and nothing else: an idle connection costs the size of [`Reader`].
//! A frame that lies whole in the input is unmasked there and handed out from there, without a copy. Never buffers what
//! the limits will refuse: a frame's announced length is judged before its payload comes.

use std::{
    io::Cursor,
    mem,
    ops::ControlFlow::{self, Break, Continue},
};

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::{
    frame::{MAX_CONTROL, MAX_HEADER, mask},
    incoming::{Incoming, MessageLimits, ReadError},
    inflate::{InflateError, Inflater},
};

/// Which side of the connection reads: a server wants masked frames, a client unmasked ones (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what clients send.
    Server,
    /// Reads what a server sends.
    Client,
}

/// Reads one connection's messages.
///
/// ```text
///            header complete                        close frame, or an error
///  Header ───────────────────▶ Payload ──────────────────────────────────────▶ Closed
///     ▲                           │ all of the payload: it joins the message,
///     └───────────────────────────┘ and the message is handed out with its last frame
/// ```
#[derive(Debug)]
pub struct Reader {
    /// The unfinished message so far (unmasked, still compressed), then what there is of the frame in progress: its
    /// header's bytes or a control frame's payload. Without heap memory when empty.
    buffer: Vec<u8>,
    state: State,
    message: Option<Message>,
    role: Role,
    deflate: bool,
}

#[derive(Debug)]
enum State {
    /// Reads a header, of which the last `got` bytes of the buffer are the beginning.
    Header { got: u8 },
    /// Reads a frame's payload.
    Payload(Payload),
    /// Ignores all input.
    Closed,
}

/// A frame whose header was read.
#[derive(Debug)]
struct Payload {
    /// How many bytes are still to come.
    remaining: usize,
    /// The mask, turned so that its first byte belongs to the next byte.
    key: [u8; 4],
    kind: FrameKind,
    /// FIN.
    last: bool,
    /// For a control frame: how many bytes of it are in the buffer.
    held: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    Data,
    Ping,
    Pong,
    Close,
}

/// What a message's first frame says that it is.
#[derive(Debug, Clone, Copy)]
enum DataKind {
    Text,
    Binary,
}

/// A message whose first header was read.
#[derive(Debug, Clone, Copy)]
struct Message {
    fragments: u32,
    kind: DataKind,
    compressed: bool,
}

type Each<'a> = &'a mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>;

impl Reader {
    /// A reader at a connection's beginning; `deflate`: whether permessage-deflate was negotiated.
    #[must_use]
    pub fn new(role: Role, deflate: bool) -> Self {
        Self { buffer: Vec::new(), state: State::Header { got: 0 }, message: None, role, deflate }
    }

    /// Reads `input`, which is unmasked in place, and gives each message to `each` in order. The reader ignores all further
    /// input after a `Break`, after a close frame and after an error.
    ///
    /// # Errors
    /// [`ReadError`], which says how to close the connection. `each` has taken the messages before the fault.
    pub fn read(
        &mut self,
        input: &mut [u8],
        inflater: &mut Inflater,
        limits: &MessageLimits,
        each: &mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let end = self.advance(input, inflater, limits, each);
        if matches!(end, Ok(Break(())) | Err(_)) {
            self.state = State::Closed;
            self.message = None;
            self.buffer = Vec::new();
        }
        end.map(|_| ())
    }

    /// Whether the reader ignores all further input: after an error, a close frame or a `Break`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether a message or a frame has begun and not ended.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.message.is_some() || !matches!(self.state, State::Header { got: 0 } | State::Closed)
    }

    /// The bytes of heap memory that the reader holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn advance(
        &mut self,
        mut input: &mut [u8],
        inflater: &mut Inflater,
        limits: &MessageLimits,
        each: Each<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        loop {
            match &mut self.state {
                State::Closed => return Ok(Continue(())),
                State::Header { got } => {
                    let got = usize::from(mem::take(got));
                    match self.header(got, input)? {
                        Some((header, length, used)) => {
                            input = &mut input[used..];
                            self.state = State::Payload(self.begin(&header, length, limits)?);
                        }
                        None => {
                            self.buffer.extend_from_slice(input);
                            // An incomplete header is shorter than 14 bytes.
                            self.state = State::Header { got: (got + input.len()) as u8 };
                            return Ok(Continue(()));
                        }
                    }
                }
                State::Payload(payload) => {
                    let here = payload.remaining.min(input.len());
                    let (bytes, rest) = mem::take(&mut input).split_at_mut(here);
                    input = rest;
                    mask(bytes, payload.key);
                    payload.remaining -= here;
                    if payload.remaining > 0 {
                        payload.key.rotate_left(here % 4);
                        if payload.kind != FrameKind::Data {
                            payload.held += here as u8;
                        }
                        let more = payload.remaining;
                        self.hold(bytes, more, limits);
                        return Ok(Continue(()));
                    }
                    let (kind, last, held) = (payload.kind, payload.last, usize::from(payload.held));
                    self.state = State::Header { got: 0 };
                    let flow = match kind {
                        FrameKind::Data => self.data(bytes, last, inflater, limits, each)?,
                        _ => self.control(kind, held, bytes, each)?,
                    };
                    if self.buffer.is_empty() {
                        self.buffer = Vec::new();
                    }
                    if flow.is_break() || kind == FrameKind::Close {
                        return Ok(Break(()));
                    }
                }
            }
        }
    }

    /// The header that begins with the buffer's last `got` bytes and goes on in `input`; with the payload's length and
    /// how many bytes of the input it took.
    fn header(&mut self, got: usize, input: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, ReadError> {
        if got == 0 {
            let mut cursor = Cursor::new(input);
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ReadError::Protocol)?;
            return Ok(parsed.map(|(header, length)| (header, length, cursor.position() as usize)));
        }
        let start = self.buffer.len() - got;
        let more = input.len().min(MAX_HEADER - got);
        let mut bytes = [0; MAX_HEADER];
        bytes[..got].copy_from_slice(&self.buffer[start..]);
        bytes[got..got + more].copy_from_slice(&input[..more]);
        let mut cursor = Cursor::new(&bytes[..got + more]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ReadError::Protocol)?;
        Ok(parsed.map(|(header, length)| {
            self.buffer.truncate(start);
            (header, length, cursor.position() as usize - got)
        }))
    }

    /// Judges a header (RFC 6455 sections 5.2 to 5.5, RFC 7692 section 6).
    fn begin(&mut self, header: &FrameHeader, length: u64, limits: &MessageLimits) -> Result<Payload, ReadError> {
        let must_be_masked = self.role == Role::Server;
        if header.rsv2 || header.rsv3 || header.mask.is_some() != must_be_masked {
            return Err(ReadError::Protocol);
        }
        let kind = match header.opcode {
            OpCode::Data(data) => {
                self.begin_data(header, data, length, limits)?;
                FrameKind::Data
            }
            OpCode::Control(_) if !header.is_final || header.rsv1 || length > MAX_CONTROL as u64 => {
                return Err(ReadError::Protocol);
            }
            OpCode::Control(Control::Ping) => FrameKind::Ping,
            OpCode::Control(Control::Pong) => FrameKind::Pong,
            OpCode::Control(Control::Close) => FrameKind::Close,
            OpCode::Control(Control::Reserved(_)) => return Err(ReadError::Protocol),
        };
        let remaining = usize::try_from(length).map_err(|_| ReadError::TooBig)?;
        Ok(Payload { remaining, key: header.mask.unwrap_or_default(), kind, last: header.is_final, held: 0 })
    }

    fn begin_data(
        &mut self,
        header: &FrameHeader,
        data: Data,
        length: u64,
        limits: &MessageLimits,
    ) -> Result<(), ReadError> {
        let message = match (data, &mut self.message) {
            (Data::Continue, Some(message)) if !header.rsv1 => message,
            (Data::Text | Data::Binary, message @ None) if self.deflate || !header.rsv1 => {
                let kind = if data == Data::Text { DataKind::Text } else { DataKind::Binary };
                message.insert(Message { fragments: 0, kind, compressed: header.rsv1 })
            }
            _ => return Err(ReadError::Protocol),
        };
        message.fragments = message.fragments.saturating_add(1);
        // A data frame begins behind the message so far: there is nothing else in the buffer.
        let total = length.saturating_add(self.buffer.len() as u64);
        if message.fragments as usize > limits.max_fragments || total > limits.max_message as u64 {
            return Err(ReadError::TooBig);
        }
        Ok(())
    }

    /// A data frame's end: `bytes` are the last of its payload.
    fn data(
        &mut self,
        bytes: &[u8],
        last: bool,
        inflater: &mut Inflater,
        limits: &MessageLimits,
        each: Each<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        if !last {
            self.hold(bytes, usize::MAX, limits);
            return Ok(Continue(()));
        }
        // `begin_data` has set it.
        let Some(message) = self.message.take() else { return Err(ReadError::Protocol) };
        if self.buffer.is_empty() {
            return deliver(message, bytes, inflater, limits, each);
        }
        self.hold(bytes, 0, limits);
        deliver(message, &mem::take(&mut self.buffer), inflater, limits, each)
    }

    /// A control frame's end: its payload is the buffer's last `held` bytes and then `bytes`.
    fn control(
        &mut self,
        kind: FrameKind,
        held: usize,
        bytes: &[u8],
        each: Each<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let start = self.buffer.len() - held;
        let payload = if held == 0 {
            bytes
        } else {
            self.buffer.extend_from_slice(bytes);
            &self.buffer[start..]
        };
        let flow = each(match kind {
            FrameKind::Ping => Incoming::Ping(payload),
            FrameKind::Pong => Incoming::Pong(payload),
            FrameKind::Close | FrameKind::Data => Incoming::Close(close(payload)?),
        });
        self.buffer.truncate(start);
        Ok(flow)
    }

    /// Copies `bytes` into the buffer, to which at least `more` bytes are to come. The buffer doubles, so that a
    /// message costs time in proportion to its size however it is cut; what is announced is not reserved before it
    /// comes, and what cannot come is not reserved at all.
    fn hold(&mut self, bytes: &[u8], more: usize, limits: &MessageLimits) {
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            let most = needed.saturating_add(more).min(limits.max_message).max(needed);
            let target = self.buffer.capacity().saturating_mul(2).clamp(needed, most);
            self.buffer.reserve_exact(target - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }
}

/// Hands out a whole message.
fn deliver(
    message: Message,
    payload: &[u8],
    inflater: &mut Inflater,
    limits: &MessageLimits,
    each: Each<'_>,
) -> Result<ControlFlow<()>, ReadError> {
    let plain = if message.compressed {
        inflater.inflate(payload, limits.max_message).map_err(|error| match error {
            InflateError::Invalid => ReadError::InvalidData,
            InflateError::TooBig => ReadError::TooBig,
        })?
    } else {
        payload
    };
    let flow = each(match message.kind {
        DataKind::Text => Incoming::Text(simdutf8::basic::from_utf8(plain).map_err(|_| ReadError::InvalidData)?),
        DataKind::Binary => Incoming::Binary(plain),
    });
    if message.compressed {
        inflater.shrink();
    }
    Ok(flow)
}

/// A close frame's code and reason (RFC 6455 sections 5.5.1 and 7.4).
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, ReadError> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(ReadError::Protocol);
            }
            let reason = simdutf8::basic::from_utf8(reason).map_err(|_| ReadError::InvalidData)?;
            Ok(Some((code, reason)))
        }
        [_] => Err(ReadError::Protocol),
    }
}
