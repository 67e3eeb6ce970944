//! NATS with its WebSocket listener, configured by `bench/peers/nats/nats.conf`. Rooms are subjects of the core: nothing is kept, as
//! JetStream, which keeps, has no subscribers of its own for a broadcast. It has no HTTP API: events are published over its protocol.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    Pending, Program, Publication,
    contender::{Contender, Site},
    free_address, install,
};
use crate::{
    callers::{Api, Request},
    content::Recipe,
    dialect::Dialect,
    error::{BenchError, Doing as _},
    foreign::{Foreign, utterance::Utterance},
    process::Process,
    receiver::control::{Join, Target},
};

const CONFIG: &str = include_str!("../../peers/nats/nats.conf");
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server, and the connection that publishes.
struct Nats {
    program: Program,
    address: SocketAddr,
    publisher: Line,
}

/// Starts it; it is built first if it is not there yet.
pub(crate) async fn contend(site: &Site, deflate: bool) -> Result<Box<dyn Contender>, BenchError> {
    let nats = install::nats().await?;
    let (address, own) = (free_address()?, free_address()?);
    let words = [("CLIENTS", address.to_string()), ("OWN", own.to_string()), ("DEFLATE", deflate.to_string())];
    let config = site.write("nats.conf", CONFIG, &words)?;
    let arguments = ["-c".to_owned(), config.display().to_string()];
    let probe = async || Line::connect(own).await.map(drop);
    let program = Program::start_until("nats", &nats, &arguments, &site.out, probe).await?;
    let publisher = Line::connect(own).await?;
    Ok(Box::new(Nats { program, address, publisher }))
}

/// A connection that speaks the protocol of NATS over TCP.
struct Line {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Line {
    async fn connect(address: SocketAddr) -> Result<Self, BenchError> {
        let doing = || format!("connecting to {address}");
        let stream = TcpStream::connect(address).await.doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        let mut line = Self { stream, received: Vec::new() };
        line.say("CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\"}\r\nPING\r\n")
            .await?;
        Ok(line)
    }

    /// Says something that ends with a ping, and waits for the answer to that.
    async fn say(&mut self, text: &str) -> Result<(), BenchError> {
        let doing = || "publishing to NATS".to_owned();
        self.stream.write_all(text.as_bytes()).await.doing(doing)?;
        loop {
            while let Some((taken, said)) = Foreign::Nats.first(&self.received, "") {
                let answer = match said {
                    Utterance::Joined => {
                        self.received.drain(..taken);
                        return Ok(());
                    }
                    Utterance::Answer(answer) => answer,
                    Utterance::Nothing => String::new(),
                    Utterance::Event(_) | Utterance::Delta(_) | Utterance::Wrong => {
                        let text = String::from_utf8_lossy(&self.received);
                        return Err(BenchError::Faults(format!("NATS said: {text}")));
                    }
                };
                self.received.drain(..taken);
                self.stream.write_all(answer.as_bytes()).await.doing(doing)?;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            if !matches!(read, Ok(Ok(1..))) {
                return Err(BenchError::Protocol("NATS does not answer".to_owned()));
            }
        }
    }
}

impl Contender for Nats {
    fn processes(&self) -> Vec<Process> {
        vec![self.program.process]
    }

    fn join(&self, recipe: Recipe, deflate: bool) -> Join {
        let dialect = Dialect::Foreign(Foreign::Nats);
        Join { takeover: deflate, ..Join::new(Target::Pod, self.address, dialect, recipe, deflate) }
    }

    fn post<'a>(&'a mut self, event: &'a Publication) -> Pending<'a, ()> {
        Box::pin(async move {
            let Publication { room, data } = event;
            self.publisher.say(&format!("PUB {room} {}\r\n{data}\r\nPING\r\n", data.len())).await
        })
    }

    fn request(&self, _: &Publication) -> Result<(Api, Request), &'static str> {
        Err("NATS has no HTTP API")
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.program.explain(error)
    }
}
