//! Plain messages while a run goes on: what publishes them, what bears witness to them, and clients of the presets that take them in.
//!
//! Always holds: a room's messages are published over one connection, and the witness hears over one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use testkit::redis::{Link, Node, Reply};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::fleet::Addresses;

/// How many rooms messages go to. Each gets one at a time.
pub const ROOMS: u64 = 10;

/// The time between two rounds of messages: a thousand a second in a run of some length, and 250 in the short form, which debug builds
/// on two busy cores keep up with.
fn between_rounds() -> Duration {
    Duration::from_millis(if super::is_long() { 10 } else { 40 })
}

/// A preset that takes plain messages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Trips,
    LivePolls,
    Loomio,
}

impl Preset {
    pub fn name(self) -> &'static str {
        match self {
            Self::Trips => "trips",
            Self::LivePolls => "live-polls",
            Self::Loomio => "loomio",
        }
    }

    /// The channel and the text of a message.
    fn message(self, room: u64, number: u64) -> (String, String) {
        let n = json!({ "n": number });
        match self {
            Self::Trips => (format!("trip:{room}"), json!({"topic": "comment.created", "data": n}).to_string()),
            Self::LivePolls => (format!("session:{room}"), json!({"eventType": "vote", "payload": n}).to_string()),
            Self::Loomio => ("/records".into(), json!({"room": format!("group-{room}"), "records": n}).to_string()),
        }
    }

    /// The room and the number of a message.
    fn read(self, channel: &str, text: &str) -> Option<(u64, u64)> {
        let message: Value = serde_json::from_str(text).ok()?;
        let (room, n) = match self {
            Self::Trips => (channel.strip_prefix("trip:")?, &message["data"]["n"]),
            Self::LivePolls => (channel.strip_prefix("session:")?, &message["payload"]["n"]),
            Self::Loomio => (message["room"].as_str()?.strip_prefix("group-")?, &message["records"]["n"]),
        };
        Some((room.parse().ok()?, n.as_u64()?))
    }

    /// What the application keeps in Redis for its clients.
    pub fn prepare(self, mut call: impl FnMut(&[&str])) {
        if self == Self::Loomio {
            for room in 0..ROOMS {
                let who = json!({"id": room + 1, "name": "A", "group_ids": [room]}).to_string();
                call(&["SET", &format!("/current_users/token{room}"), &who]);
            }
        }
    }

    fn path(self, room: u64) -> String {
        let query = match self {
            Self::Trips => return "/ws".into(),
            Self::LivePolls => format!("sessionId={room}"),
            Self::Loomio => format!("channel_token=token{room}"),
        };
        format!("/socket.io/?EIO=4&transport=websocket&{query}")
    }

    /// What a client says to what it gets: to come in, and to stay.
    fn answer(self, room: u64, text: &str) -> Option<String> {
        match (self, text.bytes().next()) {
            (Self::Trips, _) => None,
            (_, Some(b'0')) if room < ROOMS => Some("40".into()),
            (_, Some(b'2')) => Some("3".into()),
            _ => None,
        }
    }

    /// The numbers in a frame.
    fn numbers(self, text: &str) -> Vec<u64> {
        let n = |of: &Value| of["n"].as_u64();
        if self == Self::Trips {
            let message: Value = serde_json::from_str(text).unwrap_or_default();
            let events = message["events"].as_array().into_iter().flatten();
            return events.filter_map(|event| n(&event["data"])).collect();
        }
        let Some(packet) = text.strip_prefix("42").and_then(|json| serde_json::from_str::<Value>(json).ok()) else {
            return Vec::new();
        };
        let data = if self == Self::LivePolls { &packet[1]["payload"] } else { &packet[1]["records"] };
        n(data).into_iter().collect()
    }
}

/// Publishes until it is stopped; a number of a room now and then twice.
pub struct PlainPublisher {
    over: Arc<AtomicBool>,
    /// The newest number of each room.
    newest: Arc<AtomicU64>,
    thread: thread::JoinHandle<BTreeMap<u64, Vec<u64>>>,
}

impl PlainPublisher {
    pub fn start(preset: Preset, port: u16) -> Self {
        let (over, newest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, shows) = (Arc::clone(&over), Arc::clone(&newest));
        let thread = thread::spawn(move || {
            let mut published = BTreeMap::<u64, Vec<u64>>::new();
            let mut link = Link::open(port, None).unwrap();
            let mut due = Instant::now();
            for round in 0.. {
                // Of four rounds, two publish the same.
                let number = round - u64::from(round % 4 == 1);
                let commands: Vec<Vec<String>> = (0..ROOMS)
                    .map(|room| {
                        published.entry(room).or_default().push(number);
                        let (channel, text) = preset.message(room, number);
                        vec!["PUBLISH".to_owned(), channel, text]
                    })
                    .collect();
                link.pipeline(&commands).expect("the server that is published to lives").into_iter().for_each(
                    |reply| {
                        reply.ok();
                    },
                );
                shows.store(number, SeqCst);
                if stop.load(SeqCst) && round % 4 == 0 {
                    break;
                }
                // What could not be published in time is not made up for at once.
                due = (due + between_rounds()).max(Instant::now());
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            published
        });
        Self { over, newest, thread }
    }

    /// The newest number: every room has it.
    pub fn newest(&self) -> u64 {
        self.newest.load(SeqCst)
    }

    /// Ends; what was published, by room.
    pub fn stop(self) -> BTreeMap<u64, Vec<u64>> {
        self.over.store(true, SeqCst);
        self.thread.join().unwrap()
    }
}

/// A channel on which witnesses are told that all has been said.
const END: &str = "chaos:end";

/// Listens at a server beside the pods.
pub struct Witness(thread::JoinHandle<Vec<(Instant, u64, u64)>>);

impl Witness {
    /// Listens to everything that is published.
    pub fn start(preset: Preset, server: &Node) -> Self {
        let mut link = server.link().unwrap();
        link.call(&["PSUBSCRIBE", "*"]).unwrap().ok();
        Self(thread::spawn(move || {
            let mut heard = Vec::new();
            while let Ok(Reply::List(parts)) = link.receive() {
                let [_, _, channel, text] = parts.as_slice() else { continue };
                if channel.text() == END {
                    break;
                }
                if let Some((room, number)) = preset.read(channel.text(), text.text()) {
                    heard.push((Instant::now(), room, number));
                }
            }
            heard
        }))
    }

    /// What it heard of each room, with everything that was published at that server before now.
    pub fn heard(self, published_at: &Node) -> BTreeMap<u64, Vec<u64>> {
        published_at.call(&["PUBLISH", END, ""]);
        by_room(self.0.join().unwrap())
    }

    /// What it heard of each room until its server was killed. What came last does not count: the server has told it to some and not
    /// to others.
    pub fn heard_until_the_end(self) -> BTreeMap<u64, Vec<u64>> {
        let mut heard = self.0.join().unwrap();
        let end = heard.last().map_or_else(Instant::now, |(at, ..)| *at);
        heard.retain(|(at, ..)| *at + TAIL < end);
        by_room(heard)
    }
}

/// Longer than a server takes to tell all of its listeners what came in one piece.
const TAIL: Duration = Duration::from_millis(30);

fn by_room(heard: Vec<(Instant, u64, u64)>) -> BTreeMap<u64, Vec<u64>> {
    let mut rooms = BTreeMap::<u64, Vec<u64>>::new();
    for (_, room, number) in heard {
        rooms.entry(room).or_default().push(number);
    }
    rooms
}

/// What a client has seen so far.
#[derive(Debug, Default)]
pub struct Following {
    pub pod: usize,
    pub room: u64,
    pub numbers: Vec<u64>,
    pub has_ended: bool,
}

/// Follows a room on a pod until the connection ends or the run is over.
pub async fn follow(preset: Preset, pod: Addresses, following: Arc<Mutex<Following>>, over: Arc<AtomicBool>) {
    let room = following.lock().unwrap().room;
    let talk = async {
        let url = format!("ws://{}{}", pod.clients, preset.path(room));
        let request = url.into_client_request().ok()?;
        let stream = TcpStream::connect(pod.clients).await.ok()?;
        let mut socket = client_async(request, stream).await.ok()?.0;
        if preset == Preset::Trips {
            let subscribe = json!({"type": "subscribe", "trip_id": room.to_string()}).to_string();
            socket.send(Message::text(subscribe)).await.ok()?;
        }
        while !over.load(SeqCst) {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            if let Some(answer) = preset.answer(room, &text) {
                socket.send(Message::text(answer)).await.ok()?;
            }
            following.lock().unwrap().numbers.extend(preset.numbers(&text));
        }
        Some(())
    };
    talk.await;
    following.lock().unwrap().has_ended = true;
}
