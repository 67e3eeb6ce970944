//! Clients of a peer, each on a plain WebSocket in one room: what comes is counted, its order is checked, and how long it took is
//! written down. Needs a `LocalSet`.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, rc::Rc, time::Duration};

use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use crate::{clock, content::Stamp, error::BenchError, plain_websocket::PlainWebSocket, stats::Latencies};

/// How long joining may take, and what is still on its way at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a peer's clients speak.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    Roomcast,
    Centrifugo,
    Socketio,
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
    fn path(self) -> &'static str {
        match self {
            Self::Roomcast => "/ws",
            Self::Centrifugo => "/connection/websocket",
            Self::Socketio => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    fn subprotocols(self) -> &'static [&'static str] {
        match self {
            Self::Roomcast => &["roomcast.v1"],
            Self::Centrifugo | Self::Socketio => &[],
        }
    }

    /// What a client says first.
    fn hello(self, room: &str) -> Option<String> {
        match self {
            Self::Roomcast => Some(format!(r#"{{"type":"subscribe","room":"{room}"}}"#)),
            Self::Centrifugo => {
                Some(format!("{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{room}\"}}}}"))
            }
            // The server begins.
            Self::Socketio => None,
        }
    }

    /// What one message says.
    fn hear(self, text: &str, room: &str) -> Heard {
        match self {
            Self::Roomcast => roomcast(text),
            Self::Centrifugo => centrifugo(text),
            Self::Socketio => socketio(text, room),
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

fn centrifugo(text: &str) -> Heard {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return Heard::Wrong };
    if message == serde_json::json!({}) {
        return Heard::Answer("{}".to_owned());
    }
    if message.get("subscribe").is_some() {
        return Heard::Joined;
    }
    match (message.get("connect"), message["push"].get("pub")) {
        (Some(_), _) => Heard::Nothing,
        (_, Some(publication)) => events(std::iter::once(&publication["data"])),
        _ => Heard::Wrong,
    }
}

fn socketio(text: &str, room: &str) -> Heard {
    match text.split_at_checked(2) {
        // Open, and connected: "0{…}" and "40{…}".
        Some(("0{", _)) => Heard::Answer("40".to_owned()),
        Some(("40", _)) => Heard::Answer(format!(r#"420["join","{room}"]"#)),
        Some(("43", _)) => Heard::Joined,
        Some(("42", event)) => serde_json::from_str::<Value>(event)
            .map_or(Heard::Wrong, |event| events(event.as_array().into_iter().flatten().skip(1).take(1))),
        None if text == "2" => Heard::Answer("3".to_owned()),
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
            let socket = PlainWebSocket::connect(address, language.path(), language.subprotocols()).await?;
            clients.tasks.push(tokio::task::spawn_local(client.run(socket)));
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
        // Centrifugo puts several messages into one, a line each.
        socket.listen(|text| text.lines().filter_map(|line| self.hear(line)).collect()).await
    }

    /// Takes note of one message; what is to be answered.
    fn hear(&mut self, text: &str) -> Option<String> {
        match self.language.hear(text, &self.room) {
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
        let said = |language: Language, text: &str| language.hear(text, "a");
        let roomcast = format!(r#"{{"type":"events","room":"a","events":[{{"offset":1,"data":{data}}}]}}"#);
        assert_eq!(said(Language::Roomcast, &roomcast), one());
        assert_eq!(said(Language::Roomcast, r#"{"type":"subscribed","room":"a"}"#), Heard::Joined);
        assert_eq!(said(Language::Roomcast, r#"{"type":"gap","room":"a"}"#), Heard::Wrong);
        let centrifugo = format!(r#"{{"push":{{"channel":"a","pub":{{"data":{data},"offset":1}}}}}}"#);
        assert_eq!(said(Language::Centrifugo, &centrifugo), one());
        assert_eq!(said(Language::Centrifugo, r#"{"id":2,"subscribe":{"epoch":"x"}}"#), Heard::Joined);
        assert_eq!(said(Language::Centrifugo, "{}"), Heard::Answer("{}".to_owned()));
        assert_eq!(said(Language::Centrifugo, r#"{"id":2,"error":{"code":103}}"#), Heard::Wrong);
        let socketio = format!(r#"42["event",{data},"1-0"]"#);
        assert_eq!(said(Language::Socketio, &socketio), one());
        assert_eq!(said(Language::Socketio, r#"0{"sid":"x"}"#), Heard::Answer("40".to_owned()));
        assert_eq!(said(Language::Socketio, r#"40{"sid":"x"}"#), Heard::Answer(r#"420["join","a"]"#.to_owned()));
        assert_eq!(said(Language::Socketio, "430[]"), Heard::Joined);
        assert_eq!(said(Language::Socketio, "2"), Heard::Answer("3".to_owned()));
        assert_eq!(said(Language::Socketio, "44{}"), Heard::Wrong);
    }
}
