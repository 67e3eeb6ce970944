//! A WebSocket server that says back what it hears, through the same message layer as the pod. The conformance suite
//! runs against it (`tests/autobahn/run`): `cargo run --release -p roomcast-websocket --example echo -- --plain-listen 127.0.0.1:9001`.

use std::{cell::RefCell, io, net::SocketAddr, ops::ControlFlow, rc::Rc, time::Duration};

use clap::Parser;
use http::Request;
use roomcast_websocket::{
    Deflater, Deflaters, Incoming, Inflater, MessageLimits, Opcode, Reader, Role, accept, close_frame, message_frame,
    pong_frame, write_head,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The suite's largest message, and the most frames in which it sends one: 65,536 and an empty last one.
const LIMITS: MessageLimits = MessageLimits { max_message: 16 << 20, max_fragments: 65_537 };
const MAX_HEAD: usize = 16 * 1024;
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Arguments {
    /// The address to listen on, without TLS; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    plain_listen: SocketAddr,
}

/// What all connections share, as a worker's connections do.
struct Shared {
    inflater: Inflater,
    deflaters: Deflaters,
}

#[tokio::main(flavor = "local")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(Arguments::parse().plain_listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let (inflater, deflaters) = (Inflater::new(), Deflaters::new(Deflater::DEFAULT_LEVEL));
    let shared = Rc::new(RefCell::new(Shared { inflater, deflaters }));
    loop {
        let (stream, _) = listener.accept().await?;
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(async move {
            if let Err(error) = connection(stream, &shared).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

async fn connection(mut stream: TcpStream, shared: &RefCell<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(MAX_HEAD);
    let request = loop {
        if let Some((request, length)) = parse_head(&input)? {
            input.drain(..length);
            break request;
        }
        let read = timeout(HEAD_WITHIN, stream.read_buf(&mut input)).await??;
        if read == 0 || input.len() > MAX_HEAD {
            return Err(io::Error::other("no request"));
        }
    };
    let mut out = Vec::new();
    let accepted = match accept(&request, &[], true) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            let response = refusal.response();
            write_head(&response, &mut out);
            out.extend_from_slice(response.body().as_bytes());
            return close(stream, &out).await;
        }
    };
    write_head(&accepted.response, &mut out);
    let window_bits = accepted.deflate.map(|deflate| deflate.server_max_window_bits);
    let mut reader = Reader::new(Role::Server, accepted.deflate.is_some());
    let mut chunk = vec![0; 64 * 1024];
    loop {
        // What came behind the head is the first to be read.
        if echo(&mut reader, &mut input, window_bits, &mut shared.borrow_mut(), &mut out).is_break() {
            return close(stream, &out).await;
        }
        stream.write_all(&out).await?;
        out.clear();
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        input.clear();
        input.extend_from_slice(&chunk[..read]);
    }
}

/// Appends the answers to what came in; a break if the last of them is a close frame.
fn echo(
    reader: &mut Reader,
    input: &mut [u8],
    window_bits: Option<u8>,
    shared: &mut Shared,
    out: &mut Vec<u8>,
) -> ControlFlow<()> {
    let Shared { inflater, deflaters } = shared;
    let mut closing = false;
    let end = reader.read(input, inflater, &LIMITS, &mut |incoming| {
        let (opcode, message) = match incoming {
            Incoming::Text(text) => (Opcode::Text, text.as_bytes()),
            Incoming::Binary(bytes) => (Opcode::Binary, bytes),
            Incoming::Ping(payload) => {
                pong_frame(payload, out);
                return ControlFlow::Continue(());
            }
            Incoming::Pong(_) => return ControlFlow::Continue(()),
            Incoming::Close(close) => {
                let (code, reason) = close.unwrap_or((1000, ""));
                close_frame(code, reason, out);
                closing = true;
                return ControlFlow::Break(());
            }
        };
        message_frame(opcode, message, window_bits.map(|bits| (deflaters.window(bits), 0)), out);
        ControlFlow::Continue(())
    });
    if let Err(error) = end {
        close_frame(error.close_code(), &error.to_string(), out);
        closing = true;
    }
    if closing { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Writes the last bytes and waits a moment for the peer to hang up: closing at once would reset the connection if
/// something is unread, and the peer might never see them.
async fn close(mut stream: TcpStream, last: &[u8]) -> io::Result<()> {
    stream.write_all(last).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 4096];
    let drained = timeout(CLOSE_WITHIN, async {
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    });
    drained.await.unwrap_or(Ok(()))
}

/// The request at the beginning of `input` and the length of its head; `None` if it is incomplete.
fn parse_head(input: &[u8]) -> io::Result<Option<(Request<()>, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(input).map_err(io::Error::other)? else { return Ok(None) };
    let mut request = Request::builder().method(parsed.method.unwrap_or("")).uri(parsed.path.unwrap_or(""));
    for header in parsed.headers {
        request = request.header(header.name, header.value);
    }
    Ok(Some((request.body(()).map_err(io::Error::other)?, length)))
}
