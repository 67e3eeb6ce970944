//! A client with a window of its own, that inflates as RFC 7692 section 7.2.2 says.

use std::{num::NonZeroU8, sync::Arc};

use flate2::{Decompress, FlushDecompress, Status};

use super::script::{Random, WORKERS};
use crate::{
    hub::{connection::send_queue::SendQueue, fanout::client_window::ClientWindow},
    protocol::{DialectId, Framing, WireFormat},
};

/// How many rooms there are.
pub const ROOMS: usize = 3;

/// What a frame's messages are, uncompressed.
pub type Plain = Arc<Vec<Vec<u8>>>;

/// What is wrong.
#[derive(Debug)]
pub struct Unreadable(pub String);

/// A client: what it has of the network, and of the messages.
pub struct WindowClient {
    pub worker: usize,
    pub rooms: [bool; ROOMS],
    pub format: WireFormat,
    pub window: ClientWindow,
    pub queue: Option<SendQueue>,
    /// What does not leave, because the client does not read.
    pub stuck: bool,
    inflater: Decompress,
}

/// How much is how likely.
#[derive(Clone, Copy)]
pub struct Weather {
    /// One client in so many comes or goes at a step.
    pub churn: u64,
    /// One step in so many has a slow client.
    pub slow: u64,
    /// Rooms of each client.
    pub rooms: u64,
}

/// The frames of a run of bytes: whether each is compressed, and its payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(bool, &[u8])> {
    let mut found = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, _) => panic!("no frame is so large"),
            (length, rest) => (usize::from(*length), rest),
        };
        found.push((first & 0x40 != 0, &rest[..length]));
        bytes = &rest[length..];
    }
    found
}

impl WindowClient {
    /// A client of the weather.
    pub fn new(random: &mut Random, weather: Weather) -> Self {
        let bits = [15, 15, 15, 10][random.below(4)];
        let framing = Framing::websocket(NonZeroU8::new(bits)).keeping_window(random.below(8) > 0);
        let mut rooms = [false; ROOMS];
        for _ in 0..=random.below(weather.rooms) {
            rooms[random.below(ROOMS as u64)] = true;
        }
        Self {
            worker: random.below(WORKERS as u64),
            rooms,
            format: WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing },
            window: ClientWindow::new(),
            queue: None,
            stuck: false,
            inflater: Decompress::new(false),
        }
    }

    /// Reads one message as RFC 7692 section 7.2.2 says; one without a window of its own forgets it before.
    fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, Unreadable> {
        if !self.format.framing.keeps_window() {
            self.inflater.reset(false);
        }
        let mut out = Vec::with_capacity(64 * 1024);
        for part in [payload, &[0, 0, 0xff, 0xff]] {
            let before = self.inflater.total_in();
            let status = self.inflater.decompress_vec(part, &mut out, FlushDecompress::Sync);
            let taken = self.inflater.total_in() - before;
            if !matches!(status, Ok(Status::Ok)) || taken != part.len() as u64 {
                return Err(Unreadable(format!("{status:?} behind {taken} of {} bytes", part.len())));
            }
        }
        Ok(out)
    }

    /// A frame's bytes reach it.
    pub fn read(&mut self, bytes: &[u8], plain: Option<&Plain>) -> Result<(), Unreadable> {
        let frames = frames(bytes);
        if let Some(plain) = plain
            && plain.len() != frames.len()
        {
            return Err(Unreadable(format!("{} messages of {}", frames.len(), plain.len())));
        }
        for (at, (compressed, payload)) in frames.into_iter().enumerate() {
            let message = if compressed { self.inflate(payload)? } else { payload.to_vec() };
            let Some(expected) = plain.map(|plain| &plain[at]) else { continue };
            if message != *expected {
                let (got, wanted) = (String::from_utf8_lossy(&message), String::from_utf8_lossy(expected));
                return Err(Unreadable(format!("{got}\ninstead of\n{wanted}")));
            }
        }
        Ok(())
    }
}
