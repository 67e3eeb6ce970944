//! However the streams of an HTTP/3 handshake are cut, the same settings and the same request come out, nothing behind them is
//! read, and what a request holds is bounded.

#![no_main]

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use libfuzzer_sys::fuzz_target;
use roomcast_webtransport::{ClientRequest, read_peer_stream};
use tokio::io::{AsyncRead, ReadBuf};

/// A stream that gives at most `chunk` bytes at a time, and then ends.
struct Cut<'a> {
    rest: &'a [u8],
    chunk: usize,
}

impl AsyncRead for Cut<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, rest) = self.rest.split_at(self.rest.len().min(self.chunk).min(out.remaining()));
        out.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// The result of a future that never waits, because its stream never does.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits, and its stream has not ended"),
    }
}

/// What is read, and how many bytes are left.
fn request(bytes: &[u8], chunk: usize) -> (Option<String>, usize) {
    let mut stream = Cut { rest: bytes, chunk };
    let request = ready(ClientRequest::read(&mut stream));
    let shown = request.ok().map(|request| {
        assert!(request.path().starts_with('/'), "{:?}", request.path());
        // A query can stand in a target again.
        assert!(request.query().is_none_or(|query| !query.contains(['#', ' ', '\n'])));
        let bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let protocols: usize = request.protocols().iter().map(String::len).sum();
        assert!(bytes + protocols <= 32 * 1024, "{bytes} of headers, {protocols} of protocols");
        // Fields are collected in no order, so that of two equal names, or two faults, either may win.
        let mut names: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        format!("{} {:?} {:?} {names:?}", request.path(), request.query(), request.protocols())
    });
    (shown, stream.rest.len())
}

fn settings(bytes: &[u8], chunk: usize) -> (String, usize) {
    let mut stream = Cut { rest: bytes, chunk };
    let read = ready(read_peer_stream(&mut stream));
    (format!("{read:?}"), stream.rest.len())
}

fuzz_target!(|data: &[u8]| {
    let Some((chunk, stream)) = data.split_first() else { return };
    let chunk = usize::from(*chunk).max(1);
    let (whole, left) = request(stream, usize::MAX);
    assert_eq!(request(stream, chunk), (whole.clone(), left), "a request in chunks");
    if whole.is_some() {
        // The same without what follows it.
        assert_eq!(request(&stream[..stream.len() - left], 1), (whole, 0), "a request alone, byte by byte");
    }
    let (whole, left) = settings(stream, usize::MAX);
    assert_eq!(settings(stream, chunk), (whole.clone(), left), "settings in chunks");
    assert_eq!(settings(stream, 1), (whole, left), "settings byte by byte");
});
