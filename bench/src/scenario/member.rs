//! A client that joins many rooms on one plain connection and writes down what came and when. Needs a `LocalSet`.

use std::{cell::RefCell, collections::HashMap, net::SocketAddr, ops::ControlFlow, rc::Rc, time::Duration};

use roomcast_websocket::{ClientHandshake, Frame, Incoming, Inflater, MessageLimits, Opcode, Reader, Role};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    clock,
    content::Stamp,
    error::{BenchError, Doing as _},
};

/// How long the upgrade may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What members saw.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Seen {
    /// How many rooms were joined.
    pub(in crate::scenario) joined: usize,
    /// By room, what came: [`clock::now`] and the event's number.
    pub(in crate::scenario) events: HashMap<String, Vec<(u64, u64)>>,
    /// The rooms whose members got a `gap`, one entry for each.
    pub(in crate::scenario) gaps: Vec<String>,
    /// The first thing that should not have come.
    pub(in crate::scenario) wrong: Option<String>,
}

/// Where members write down what they see.
pub(in crate::scenario) type Notes = Rc<RefCell<Seen>>;

#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    room: Option<String>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    data: Stamp,
}

impl Seen {
    fn text(&mut self, text: &str) {
        let message: Result<Message<'_>, _> = serde_json::from_str(text);
        match message {
            Ok(Message { r#type: "events", room: Some(room), events }) => {
                let now = clock::now();
                self.events.entry(room).or_default().extend(events.iter().map(|event| (now, event.data.n)));
            }
            Ok(Message { r#type: "subscribed", .. }) => self.joined += 1,
            Ok(Message { r#type: "gap", room: Some(room), .. }) => self.gaps.push(room),
            Ok(Message { r#type: "welcome", .. }) => {}
            _ => self.wrong(text),
        }
    }

    fn wrong(&mut self, what: &str) {
        self.wrong.get_or_insert_with(|| what.chars().take(300).collect());
    }

    /// Fails if something came, or happened, that should not have.
    pub(in crate::scenario) fn check(&self) -> Result<(), BenchError> {
        match &self.wrong {
            Some(what) => Err(BenchError::Faults(format!("a member met with this: {what}"))),
            None => Ok(()),
        }
    }
}

/// A connection on which messages go both ways.
pub(in crate::scenario) struct Member {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Member {
    /// Connects without TLS or compression.
    pub(in crate::scenario) async fn connect(address: SocketAddr) -> Result<Self, BenchError> {
        let doing = || format!("connecting to {address}");
        let mut stream = TcpStream::connect(address).await.doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        let handshake = ClientHandshake::new(&address.to_string(), "/ws", &["roomcast.v1"], None, &[]);
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

    /// Joins rooms with one command, and takes notes until it is aborted.
    pub(in crate::scenario) fn join(self, rooms: &[String], notes: &Notes) -> JoinHandle<()> {
        let rooms: Vec<_> = rooms.iter().map(|room| format!(r#"{{"room":"{room}"}}"#)).collect();
        let subscribe = format!(r#"{{"type":"subscribe","id":1,"rooms":[{}]}}"#, rooms.join(","));
        let notes = Rc::clone(notes);
        tokio::task::spawn_local(async move {
            if let Err(error) = self.listen(&subscribe, &notes).await {
                notes.borrow_mut().wrong(&error.to_string());
            }
        })
    }

    async fn listen(mut self, subscribe: &str, notes: &Notes) -> Result<(), BenchError> {
        let doing = || "talking as a member".to_owned();
        self.stream.write_all(&frame(Opcode::Text, subscribe.as_bytes())).await.doing(doing)?;
        let (mut reader, mut inflater) = (Reader::new(Role::Client, false), Inflater::new());
        let limits = MessageLimits { max_message: 16 << 20, max_fragments: 1024 };
        loop {
            let mut pongs = Vec::new();
            let read = reader.read(&mut self.received, &mut inflater, &limits, &mut |incoming| {
                match incoming {
                    Incoming::Text(text) => notes.borrow_mut().text(text),
                    Incoming::Ping(payload) => pongs.extend(frame(Opcode::Pong, payload)),
                    Incoming::Close(reason) => notes.borrow_mut().wrong(&format!("closed: {reason:?}")),
                    Incoming::Binary(_) | Incoming::Pong(_) => {}
                }
                ControlFlow::Continue(())
            });
            read.map_err(|e| BenchError::Protocol(format!("the server's frames are wrong: {e:?}")))?;
            self.stream.write_all(&pongs).await.doing(doing)?;
            self.received.clear();
            if self.stream.read_buf(&mut self.received).await.doing(doing)? == 0 {
                return Err(BenchError::Protocol("the pod ended a member's connection".to_owned()));
            }
        }
    }
}

/// Waits until what is seen satisfies `enough`.
pub(in crate::scenario) async fn until(
    notes: &Notes,
    seconds: u64,
    what: &str,
    enough: impl Fn(&Seen) -> bool,
) -> Result<(), BenchError> {
    let wait = async {
        while !enough(&notes.borrow()) {
            notes.borrow().check()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    };
    timeout(Duration::from_secs(seconds), wait).await.map_err(|_| {
        let (what, hint) = (what.to_owned(), "the logs of the pods are in the directory of the results".to_owned());
        BenchError::Timeout { what, seconds, hint }
    })?
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::new(opcode, payload).write_client([1, 2, 3, 4], &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_written_down() {
        let mut seen = Seen::default();
        seen.text(r#"{"type":"welcome","connection":"1"}"#);
        seen.text(r#"{"type":"subscribed","room":"a","epoch":"e","offset":0}"#);
        seen.text(r#"{"type":"events","room":"a","events":[{"offset":1,"data":{"n":7,"t":1,"ref":""}}]}"#);
        seen.text(r#"{"type":"gap","room":"a","reason":"lost"}"#);
        assert_eq!((seen.joined, seen.gaps.len(), seen.events["a"][0].1), (1, 1, 7));
        assert!(seen.check().is_ok());
        seen.text(r#"{"type":"error","room":"a","code":"forbidden"}"#);
        assert!(seen.check().is_err());
    }
}
