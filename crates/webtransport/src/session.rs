//! An accepted session: its streams, its datagrams, its close.
//!
//! Only what a handshake needs waits here: streams are opened and written now or not. Always holds: the session ends with its
//! connection, which carries no other.

use std::{
    borrow::Cow,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use smallvec::SmallVec;
use tokio::{io::ReadBuf, time::timeout};
use web_transport_proto::{Capsule, Frame, StreamUni, VarInt as Number, error_to_http3};

use crate::{
    error::HandshakeError,
    unread::{Unread, take_unread},
};

/// What a datagram of the first request's session begins with: its quarter stream id (RFC 9297 section 2.1). It stands
/// before the bytes that all receivers share, so that a datagram is no copy.
pub const DATAGRAM_PREFIX: u8 = 0;

/// How long a connection outlives a session that was closed here and whose end the client has confirmed. A Chromium that hears
/// of both ends at once tells its page, for one session in thirty, that the connection was lost instead of the code.
const LINGER: Duration = Duration::from_secs(1);

/// The most bytes of a close's reason (section 6 of the draft).
const MAX_REASON: usize = 1_024;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendState {
    /// QUIC took everything.
    Done,
    /// QUIC is full, and wakes the waker when it takes more.
    Full,
    /// The client does not want this stream any more.
    Stopped,
}

/// An accepted session. Dropping it ends its connection, with the code of its accept unless it was closed.
pub struct Session {
    connection: Connection,
    connect: SendStream,
    requests: RecvStream,
    id: Number,
    closed_with: Option<(u32, Cow<'static, str>)>,
    /// The code of a session that is dropped without a close.
    drop_code: u32,
    /// Until both sides have ended the session and the connection may end too.
    lingering: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// HTTP/3's own stream, which must stay open as long as the connection (RFC 9114 section 6.2.1).
    _control: SendStream,
    /// Takes what the client sends beside the session; `None`: the connection was lost.
    unread: Option<Unread>,
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        connect: SendStream,
        requests: RecvStream,
        control: SendStream,
        remote: SmallVec<[RecvStream; 3]>,
        drop_code: u32,
    ) -> Self {
        let id = Number::try_from(u64::from(connect.id())).unwrap_or(Number::MAX);
        // A close leaves before everything that waits for space.
        let _ = connect.set_priority(i32::MAX);
        Self {
            connection: connection.clone(),
            connect,
            requests,
            id,
            closed_with: None,
            drop_code,
            lingering: None,
            _control: control,
            unread: Some(take_unread(connection, remote)),
        }
    }

    /// Where the client is now; it may move (RFC 9000 section 9).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Waits for the client's stream of commands and reads what announces it (section 4.2 of the draft). The caller sets a
    /// deadline.
    ///
    /// # Errors
    /// The connection was lost, or the stream does not belong to this session.
    pub async fn commands(&self) -> Result<(SendStream, RecvStream), HandshakeError> {
        let (send, mut recv) = self.connection.accept_bi().await?;
        let kind = Number::read(&mut recv).await.map_err(|_| HandshakeError::Unsupported)?;
        let id = Number::read(&mut recv).await.map_err(|_| HandshakeError::Unsupported)?;
        if Frame(kind) != Frame::WEBTRANSPORT || id != self.id {
            return Err(HandshakeError::Unsupported);
        }
        Ok((send, recv))
    }

    /// Opens a stream to the client, and appends the bytes that must go first to `head` (section 4.1 of the draft). `None`: the
    /// client allows no more streams.
    #[must_use]
    pub fn open(&self, head: &mut Vec<u8>) -> Option<SendStream> {
        let open = pin!(self.connection.open_uni());
        let Poll::Ready(Ok(stream)) = open.poll(&mut Context::from_waker(Waker::noop())) else { return None };
        StreamUni::WEBTRANSPORT.encode(head);
        self.id.encode(head);
        Some(stream)
    }

    /// Sends a datagram that begins with [`DATAGRAM_PREFIX`]. `false`: it is too large, or the client takes none.
    #[must_use]
    #[inline]
    pub fn send_datagram(&self, datagram: &Bytes) -> bool {
        self.id.into_inner() == u64::from(DATAGRAM_PREFIX) && self.connection.send_datagram(datagram.clone()).is_ok()
    }

    /// Polls for the session's end. `Ready`: the client ended it, or the connection was lost. After [`Session::close`] it is
    /// ready once the client has ended the connection too, or a second after it confirmed the close. Whatever else the client sends from
    /// then on is refused or forgotten: [`Session::commands`] comes before.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(lingering) = &mut self.lingering {
            return lingering.as_mut().poll(cx);
        }
        if self.unread.as_mut().is_some_and(|unread| unread.as_mut().poll(cx).is_ready()) {
            self.unread = None;
        }
        let mut ignored = [0; 256];
        loop {
            let mut ignored = ReadBuf::new(&mut ignored);
            // Capsules are not read: the stream ends behind the one that ends the session (section 6 of the draft).
            match self.requests.poll_read_buf(cx, &mut ignored) {
                Poll::Ready(Ok(())) if !ignored.filled().is_empty() => {}
                Poll::Ready(Ok(())) if self.is_closing() => {
                    let connection = self.connection.clone();
                    let lingering = self.lingering.insert(Box::pin(async move {
                        let _ = timeout(LINGER, connection.closed()).await;
                    }));
                    return lingering.as_mut().poll(cx);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Tells the client that the session is closed and why, and stops sending. A reason is cut after 1,024 bytes.
    pub fn close(&mut self, code: u32, reason: impl Into<Cow<'static, str>>) {
        let reason = cut(reason.into());
        let (mut capsule, mut bytes) = (Vec::new(), Vec::new());
        Capsule::CloseWebTransportSession { code, reason: reason.clone().into_owned() }.encode(&mut capsule);
        self.closed_with = Some((code, reason));
        Frame::DATA.encode(&mut bytes);
        // Some bytes and a reason.
        Number::from_u32(capsule.len() as u32).encode(&mut bytes);
        bytes.append(&mut capsule);
        // However full the window is, the close has room behind it.
        self.connection.set_send_window(u64::MAX >> 2);
        let mut bytes = Bytes::from(bytes);
        let mut cx = Context::from_waker(Waker::noop());
        if matches!(write_some(&mut self.connect, &mut bytes, &mut cx), Ok(SendState::Done)) {
            let _ = self.connect.finish();
        } else {
            // The client's window is shut. The connection's own end still reaches it.
            self.end();
        }
    }

    /// Whether [`Session::close`] was called.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closed_with.is_some()
    }

    /// Ends the connection at once.
    fn end(&self) {
        let (code, reason) =
            self.closed_with.as_ref().map_or((self.drop_code, ""), |(code, reason)| (*code, &**reason));
        let number = VarInt::try_from(error_to_http3(code)).unwrap_or(VarInt::MAX);
        self.connection.close(number, reason.as_bytes());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// A reason of at most [`MAX_REASON`] bytes.
fn cut(reason: Cow<'static, str>) -> Cow<'static, str> {
    if reason.len() <= MAX_REASON {
        return reason;
    }
    let end = (0..=MAX_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or_default();
    Cow::Owned(reason.get(..end).unwrap_or_default().to_owned())
}

/// Writes as much as QUIC takes; the rest stays in `bytes`. Shares the bytes, copies nothing.
///
/// # Errors
/// The connection was lost.
#[inline]
pub fn write_some(stream: &mut SendStream, bytes: &mut Bytes, cx: &mut Context<'_>) -> io::Result<SendState> {
    while !bytes.is_empty() {
        let write = pin!(stream.write_chunks(std::slice::from_mut(bytes)));
        match write.poll(cx) {
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => return Ok(SendState::Full),
            Poll::Ready(Err(quinn::WriteError::Stopped(_) | quinn::WriteError::ClosedStream)) => {
                return Ok(SendState::Stopped);
            }
            Poll::Ready(Err(error)) => return Err(error.into()),
        }
    }
    Ok(SendState::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("over".into()), "over");
        let long = cut("é".repeat(MAX_REASON).into());
        assert_eq!(long.len(), MAX_REASON);
        let long = cut(format!("x{}", "é".repeat(MAX_REASON)).into());
        assert_eq!((long.len(), long.chars().last()), (MAX_REASON - 1, Some('é')));
    }
}
