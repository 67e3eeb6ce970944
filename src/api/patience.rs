//! How long a connection of the internal listener may keep the pod waiting: long between requests, briefly in a head.
//!
//! hyper's own time for a head runs between requests too, and would either cut off connections that backends keep, or
//! let a head dribble in. Bodies have a time of their own.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, sleep_until};

/// Between requests. More than the 60 s after which proxies and clients give an idle connection up themselves.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// From a head's first byte to its last.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How late the end of a head's time may be noticed.
const TICK: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq)]
enum Wait {
    /// For a request to begin.
    Idle,
    /// For its head to end.
    Head,
    /// For nothing: it is being answered.
    None,
}

/// Where a connection stands. Shared by its socket, its service and the timer over both.
#[derive(Clone)]
pub(super) struct Patience(Arc<Stand>);

/// A request changes it three times, so that it is one number: the milliseconds since `began`, and [`Wait`] in the last two bits.
struct Stand {
    began: Instant,
    /// The longest between requests.
    idle: Duration,
    packed: AtomicU64,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self::between_requests(IDLE_TIME)
    }

    /// With a connection that has one of few places: it asks at once.
    pub(super) fn brief() -> Self {
        Self::between_requests(HEAD_TIME)
    }

    fn between_requests(idle: Duration) -> Self {
        Self(Arc::new(Stand { began: Instant::now(), idle, packed: AtomicU64::new(Wait::Idle as u64) }))
    }

    /// A request is there.
    pub(super) fn answering(&self) {
        // Since when does not matter.
        self.0.packed.store(Wait::None as u64, Ordering::Relaxed);
    }

    /// Its answer is made.
    pub(super) fn answered(&self) {
        self.enter(Wait::Idle);
    }

    fn received(&self) {
        if let (Wait::Idle, _) = self.stands() {
            self.enter(Wait::Head);
        }
    }

    fn enter(&self, wait: Wait) {
        let since = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        self.0.packed.store(since << 2 | wait as u64, Ordering::Relaxed);
    }

    fn stands(&self) -> (Wait, Instant) {
        let packed = self.0.packed.load(Ordering::Relaxed);
        let wait = [Wait::Idle, Wait::Head].into_iter().find(|wait| packed & 3 == *wait as u64).unwrap_or(Wait::None);
        (wait, self.0.began + Duration::from_millis(packed >> 2))
    }

    /// Until the connection has kept the pod waiting too long.
    pub(super) async fn is_over(&self) {
        loop {
            let (wait, since) = self.stands();
            let now = Instant::now();
            let end = match wait {
                Wait::Idle => since + self.0.idle,
                Wait::Head => since + HEAD_TIME,
                Wait::None => now + HEAD_TIME,
            };
            if end <= now {
                return;
            }
            // A head may begin while this sleeps for an idle connection's end.
            sleep_until(end.min(now + TICK)).await;
        }
    }
}

/// A socket that notes when something comes.
pub(super) struct Noting<T> {
    pub(super) inner: T,
    pub(super) patience: Patience,
}

impl<T: Read + Unpin> Read for Noting<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.patience.received();
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Noting<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the connection may still wait, from now.
    async fn left(patience: &Patience) -> Duration {
        let began = Instant::now();
        patience.is_over().await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_less_time_than_the_next_request() {
        let patience = Patience::new();
        assert_eq!(left(&patience).await, IDLE_TIME);
        patience.answered();
        tokio::time::advance(IDLE_TIME - Duration::from_millis(1)).await;
        patience.received();
        tokio::time::advance(Duration::from_secs(4)).await;
        // What comes after its first byte gives a head no more time.
        patience.received();
        assert_eq!(left(&patience).await, HEAD_TIME - Duration::from_secs(4));
        assert_eq!(left(&Patience::brief()).await, HEAD_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_being_made_has_no_end() {
        let patience = Patience::new();
        patience.received();
        patience.answering();
        tokio::time::timeout(IDLE_TIME * 3, patience.is_over()).await.expect_err("it ends while it is being answered");
        patience.answered();
        assert_eq!(left(&patience).await, IDLE_TIME);
    }
}
