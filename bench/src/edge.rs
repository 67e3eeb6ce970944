//! What mio's edge-triggered events ask of a reader: an event comes once for new bytes, and the reader reads until none are left.

use std::io::{self, Read};

use mio::event::Event;

/// What a socket is ready for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// Something can be read, or the other side has ended, or the socket failed.
    pub(crate) read: bool,
    /// The other side has ended, or the socket failed: reading goes on until it says so, because no further event will.
    pub(crate) ended: bool,
}

impl Ready {
    /// As the event says.
    pub(crate) fn of(event: &Event) -> Self {
        let ended = event.is_read_closed() || event.is_error();
        Self { read: ended || event.is_readable(), ended }
    }
}

/// A socket that is read from, and whether it may hold more.
///
/// A stream that gives less than the buffer holds is empty (epoll(7), questions and answers, 9), and the next byte is a new
/// event. That saves a system call a wake-up.
pub(crate) struct Drain<S> {
    socket: S,
    /// A read filled its buffer, or there was none yet.
    pub(crate) more: bool,
}

impl<S: Read> Drain<S> {
    /// Begins to read.
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, more: true }
    }
}

impl<S: Read> Read for Drain<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.more = false;
        let read = self.socket.read(buffer)?;
        self.more = read == buffer.len();
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_drained_when_it_gives_less_than_was_asked_for() {
        let mut drain = Drain::new(&b"12345678"[..]);
        let mut buffer = [0; 4];
        assert!(drain.more);
        for (read, more) in [(4, true), (4, true), (0, false)] {
            assert_eq!(drain.read(&mut buffer).expect("bytes"), read);
            assert_eq!(drain.more, more);
        }
    }

    #[test]
    fn a_socket_that_would_block_is_drained() {
        struct Empty;
        impl Read for Empty {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        let mut drain = Drain::new(Empty);
        assert!(drain.read(&mut [0; 4]).is_err());
        assert!(!drain.more);
    }
}
