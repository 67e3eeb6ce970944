//! Clients of a peer, each on a plain WebSocket in one room: what comes is counted, its order is checked, and how long it took is
//! written down. Needs a `LocalSet`.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, rc::Rc, time::Duration};

use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    clock,
    content::Stamp,
    error::BenchError,
    foreign::{Foreign, utterance::Utterance},
    plain_websocket::PlainWebSocket,
    stats::Latencies,
};

/// How long joining may take, and what is still on its way at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a peer's clients speak.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    Roomcast,
    Foreign(Foreign),
}

/// What a message says.
#[derive(Debug, PartialEq)]
enum Heard {
    /// The room is joined.
    Joined,
    /// Events came.
    Events(Vec<Stamp>),
    /// This is to be answered.
    Answer(String),
    Nothing,
    Wrong,
}

impl Language {
    fn path(self, room: &str) -> String {
        match self {
            Self::Roomcast => "/ws".to_owned(),
            Self::Foreign(language) => language.target(room),
        }
    }

    fn subprotocols(self) -> &'static [&'static str] {
        match self {
            Self::Roomcast => &["roomcast.v1"],
            Self::Foreign(_) => &[],
        }
    }

    /// Whether a client is in its room once its request is answered.
    fn joins_by_request(self) -> bool {
        matches!(self, Self::Foreign(Foreign::Nchan))
    }

    /// What a client says first.
    fn hello(self, room: &str) -> Option<String> {
        match self {
            Self::Roomcast => Some(format!(r#"{{"type":"subscribe","room":"{room}"}}"#)),
            Self::Foreign(language) => language.hello(room),
        }
    }

    /// What a message says first, and how much of it that takes.
    fn hear(self, text: &str, room: &str) -> (usize, Heard) {
        match self {
            Self::Roomcast => (text.len(), roomcast(text)),
            Self::Foreign(language) => {
                let (taken, said) = language.first(text.as_bytes(), room).unwrap_or((text.len(), Utterance::Wrong));
                (taken, said.into())
            }
        }
    }
}

impl From<Utterance<'_>> for Heard {
    fn from(said: Utterance<'_>) -> Self {
        match said {
            Utterance::Joined => Self::Joined,
            Utterance::Event(data) => {
                serde_json::from_str(data).map_or(Self::Wrong, |stamp: Stamp| Self::Events(vec![stamp]))
            }
            Utterance::Answer(answer) => Self::Answer(answer),
            Utterance::Nothing => Self::Nothing,
            Utterance::Delta(_) | Utterance::Wrong => Self::Wrong,
        }
    }
}

fn stamp(data: &Value) -> Option<Stamp> {
    Some(Stamp { n: data["n"].as_u64()?, t: data["t"].as_u64()? })
}

fn events<'a>(data: impl Iterator<Item = &'a Value>) -> Heard {
    data.map(stamp).collect::<Option<_>>().map_or(Heard::Wrong, Heard::Events)
}

fn roomcast(text: &str) -> Heard {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return Heard::Wrong };
    match message["type"].as_str() {
        Some("subscribed") => Heard::Joined,
        Some("events") => events(message["events"].as_array().into_iter().flatten().map(|event| &event["data"])),
        Some("welcome") => Heard::Nothing,
        _ => Heard::Wrong,
    }
}

/// What the clients saw.
#[derive(Debug)]
struct Seen {
    joined: usize,
    received: u64,
    latency: Latencies,
    /// The first thing that should not have come.
    wrong: Option<String>,
}

/// Connected clients; they are gone when this is dropped.
pub(crate) struct Clients {
    seen: Rc<RefCell<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    /// One client a room, all joined.
    pub(super) async fn connect(language: Language, address: SocketAddr, rooms: &[String]) -> Result<Self, BenchError> {
        let seen = Seen { joined: 0, received: 0, latency: Latencies::new(), wrong: None };
        let seen = Rc::new(RefCell::new(seen));
        let mut clients = Self { seen: Rc::clone(&seen), tasks: Vec::new() };
        for room in rooms {
            let client = Client { language, room: room.clone(), next: 0, seen: Rc::clone(&seen) };
            let socket = PlainWebSocket::connect(address, &language.path(room), language.subprotocols()).await?;
            clients.tasks.push(tokio::task::spawn_local(client.run(socket)));
            if language.joins_by_request() {
                seen.borrow_mut().joined += 1;
            }
        }
        clients.until("the answer to a subscription", |seen| seen.joined == rooms.len()).await?;
        Ok(clients)
    }

    /// Waits until all have had so many events together, and returns how long these took from publishing to receiving.
    pub(crate) async fn received(&self, events: u64) -> Result<Latencies, BenchError> {
        self.until("the last event", |seen| seen.received >= events).await?;
        let seen = self.seen.borrow();
        if seen.received != events {
            return Err(BenchError::Faults(format!("{events} events were published, clients got {}", seen.received)));
        }
        Ok(seen.latency.clone())
    }

    async fn until(&self, what: &str, enough: impl Fn(&Seen) -> bool) -> Result<(), BenchError> {
        let wait = async {
            loop {
                if let Some(wrong) = &self.seen.borrow().wrong {
                    return Err(BenchError::Faults(format!("a client met with this: {wrong}")));
                }
                if enough(&self.seen.borrow()) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, wait).await.map_err(|_| BenchError::Timeout {
            what: what.to_owned(),
            seconds: PATIENCE.as_secs(),
            hint: "the peers' logs are in the directory of the results".to_owned(),
        })?
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One of them.
struct Client {
    language: Language,
    room: String,
    /// The number of the room's next event.
    next: u64,
    seen: Rc<RefCell<Seen>>,
}

impl Client {
    async fn run(mut self, socket: PlainWebSocket) {
        let Err(error) = self.listen(socket).await;
        self.wrong(&error.to_string());
    }

    async fn listen(&mut self, mut socket: PlainWebSocket) -> Result<Infallible, BenchError> {
        if let Some(hello) = self.language.hello(&self.room) {
            socket.send(&hello).await?;
        }
        socket.listen(|text| self.hear(text)).await
    }

    /// Takes note of a message, which may say several things; what is to be answered.
    fn hear(&mut self, mut text: &str) -> Vec<String> {
        let mut answers = Vec::new();
        while !text.is_empty() {
            let (taken, heard) = self.language.hear(text, &self.room);
            answers.extend(self.note(text, heard));
            text = text.get(taken..).unwrap_or_default();
        }
        answers
    }

    fn note(&mut self, text: &str, heard: Heard) -> Option<String> {
        match heard {
            Heard::Joined => self.seen.borrow_mut().joined += 1,
            Heard::Events(stamps) => {
                let now = clock::now();
                for Stamp { n, t } in stamps {
                    if n != self.next {
                        self.wrong(&format!("event {n} of {} where {} was due", self.room, self.next));
                    }
                    self.next = n + 1;
                    let mut seen = self.seen.borrow_mut();
                    seen.received += 1;
                    seen.latency.record(now.saturating_sub(t));
                }
            }
            Heard::Answer(answer) => return Some(answer),
            Heard::Nothing => {}
            Heard::Wrong => self.wrong(text),
        }
        None
    }

    fn wrong(&self, what: &str) {
        self.seen.borrow_mut().wrong.get_or_insert_with(|| what.chars().take(300).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_knows_its_events_and_what_else_is_said() {
        let one = || Heard::Events(vec![Stamp { n: 7, t: 9 }]);
        let data = r#"{"n":7,"t":9,"ref":"x"}"#;
        let said = |language: Language, text: &str| language.hear(text, "a").1;
        let roomcast = format!(r#"{{"type":"events","room":"a","events":[{{"offset":1,"data":{data}}}]}}"#);
        assert_eq!(said(Language::Roomcast, &roomcast), one());
        assert_eq!(said(Language::Roomcast, r#"{"type":"subscribed","room":"a"}"#), Heard::Joined);
        assert_eq!(said(Language::Roomcast, r#"{"type":"gap","room":"a"}"#), Heard::Wrong);
        let socketio = format!(r#"42["event",{data},"1-0"]"#);
        assert_eq!(said(Language::Foreign(Foreign::Socketio), &socketio), one());
        assert_eq!(said(Language::Foreign(Foreign::Socketio), r#"42["event",{}]"#), Heard::Wrong);
    }
}
