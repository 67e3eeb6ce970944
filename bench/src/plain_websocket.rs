//! A WebSocket to a server on this machine, without TLS and compression: for scenarios with few clients, whose own cost does not matter.
//!
//! Owns the socket and what was read of it; answers pings. Never knows what the messages mean.

use std::{convert::Infallible, net::SocketAddr, ops::ControlFlow, time::Duration};

use roomcast_websocket::{ClientHandshake, Frame, Incoming, Inflater, MessageLimits, Opcode, Reader, Role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{BenchError, Doing as _};

/// How long the answer to the upgrade may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection on which messages go both ways.
pub(crate) struct PlainWebSocket {
    stream: TcpStream,
    received: Vec<u8>,
}

impl PlainWebSocket {
    /// Connects, and is upgraded.
    pub(crate) async fn connect(address: SocketAddr, path: &str, subprotocols: &[&str]) -> Result<Self, BenchError> {
        let doing = || format!("connecting to {address}");
        let mut stream = TcpStream::connect(address).await.doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        let handshake = ClientHandshake::new(&address.to_string(), path, subprotocols, None, &[]);
        stream.write_all(handshake.request()).await.doing(doing)?;
        let mut received = Vec::new();
        loop {
            let refused = |e| BenchError::Protocol(format!("{}: the WebSocket was refused: {e}", doing()));
            if let Some(agreed) = handshake.answer(&received).map_err(refused)? {
                received.drain(..agreed.head_bytes);
                return Ok(Self { stream, received });
            }
            if !matches!(timeout(PATIENCE, stream.read_buf(&mut received)).await, Ok(Ok(1..))) {
                return Err(BenchError::Protocol(format!("{}: no answer to the upgrade", doing())));
            }
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, text: &str) -> Result<(), BenchError> {
        self.stream.write_all(&frame(Opcode::Text, text.as_bytes())).await.doing(|| "sending a message".to_owned())
    }

    /// Hears messages, and sends what is to be answered, until the server ends the connection.
    pub(crate) async fn listen(&mut self, mut hear: impl FnMut(&str) -> Vec<String>) -> Result<Infallible, BenchError> {
        let doing = || "listening to a server".to_owned();
        let (mut reader, mut inflater) = (Reader::new(Role::Client, false), Inflater::new());
        let limits = MessageLimits { max_message: 16 << 20, max_fragments: 1024 };
        loop {
            let (mut answers, mut closed) = (Vec::new(), None);
            let read = reader.read(&mut self.received, &mut inflater, &limits, &mut |incoming| {
                match incoming {
                    Incoming::Text(text) => {
                        answers.extend(hear(text).iter().flat_map(|answer| frame(Opcode::Text, answer.as_bytes())));
                    }
                    Incoming::Ping(payload) => answers.extend(frame(Opcode::Pong, payload)),
                    Incoming::Close(reason) => closed = Some(format!("the server closed a connection: {reason:?}")),
                    Incoming::Binary(_) | Incoming::Pong(_) => {}
                }
                ControlFlow::Continue(())
            });
            read.map_err(|e| BenchError::Protocol(format!("the server's frames are wrong: {e:?}")))?;
            if let Some(why) = closed {
                return Err(BenchError::Protocol(why));
            }
            self.stream.write_all(&answers).await.doing(doing)?;
            self.received.clear();
            if self.stream.read_buf(&mut self.received).await.doing(doing)? == 0 {
                return Err(BenchError::Protocol("the server ended a connection".to_owned()));
            }
        }
    }
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::new(opcode, payload).write_client([1, 2, 3, 4], &mut bytes);
    bytes
}
