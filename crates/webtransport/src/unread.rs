//! What a client sends beside a session's own streams: read and forgotten, or refused, so that none of it is kept.
//!
//! Always holds: streams of HTTP/3 itself stay open and are read (RFC 9114 section 6.2.1, RFC 9204 section 4.2), every other one is
//! stopped at its first byte, and datagrams are dropped.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use quinn::{Connection, RecvStream, SendStream, VarInt};
use smallvec::SmallVec;

/// Takes what the session does not; ready when the connection is lost.
pub(crate) type Unread = Pin<Box<dyn Future<Output = ()>>>;

/// H3_STREAM_CREATION_ERROR (RFC 9114 section 8.1): a stream of a kind that is not known here.
const STREAM_CREATION_ERROR: VarInt = VarInt::from_u32(0x103);

/// The first bytes of QPACK's streams (RFC 9204 section 4.2).
const QPACK: [u8; 2] = [2, 3];

/// A unidirectional stream of the client.
struct PeerBytes {
    stream: RecvStream,
    /// Whether its first byte said that it must stay.
    stays: bool,
}

/// What there was.
enum Arrival {
    Stream(RecvStream),
    Pair(SendStream, RecvStream),
    Datagram,
    Lost,
}

/// Takes what comes on `connection` from now on. `known`: HTTP/3's own streams so far.
pub(crate) fn take_unread(connection: Connection, known: SmallVec<[RecvStream; 3]>) -> Unread {
    Box::pin(async move {
        let mut streams: SmallVec<[PeerBytes; 3]> =
            known.into_iter().map(|stream| PeerBytes { stream, stays: true }).collect();
        loop {
            match next(&connection, &mut streams).await {
                Arrival::Stream(stream) => streams.push(PeerBytes { stream, stays: false }),
                Arrival::Pair(mut send, mut stream) => {
                    // It fails where the client has ended it already.
                    let _ = stream.stop(STREAM_CREATION_ERROR);
                    let _ = send.reset(STREAM_CREATION_ERROR);
                }
                Arrival::Datagram => {}
                Arrival::Lost => return,
            }
        }
    })
}

async fn next(connection: &Connection, streams: &mut SmallVec<[PeerBytes; 3]>) -> Arrival {
    let (mut uni, mut bi) = (pin!(connection.accept_uni()), pin!(connection.accept_bi()));
    let mut datagram = pin!(connection.read_datagram());
    std::future::poll_fn(move |cx| {
        streams.retain(|stream| stream.is_open(cx));
        if let Poll::Ready(stream) = uni.as_mut().poll(cx) {
            return Poll::Ready(stream.map_or(Arrival::Lost, Arrival::Stream));
        }
        if let Poll::Ready(pair) = bi.as_mut().poll(cx) {
            return Poll::Ready(pair.map_or(Arrival::Lost, |(send, recv)| Arrival::Pair(send, recv)));
        }
        datagram.as_mut().poll(cx).map(|datagram| datagram.map_or(Arrival::Lost, |_| Arrival::Datagram))
    })
    .await
}

impl PeerBytes {
    /// Forgets what has come. `false`: the stream has ended, or is stopped.
    fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        let mut bytes = [0; 512];
        loop {
            match self.stream.poll_read(cx, &mut bytes) {
                Poll::Ready(Ok(1..)) => {
                    self.stays |= QPACK.contains(&bytes[0]);
                    if !self.stays {
                        let _ = self.stream.stop(STREAM_CREATION_ERROR);
                        return false;
                    }
                }
                Poll::Ready(Ok(_) | Err(_)) => return false,
                Poll::Pending => return true,
            }
        }
    }
}
