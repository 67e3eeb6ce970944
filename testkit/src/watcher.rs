//! Clients: each is in several rooms, writes down what it sees, and comes back with its positions whenever its
//! connection is lost.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::checker::Seen;

/// Silence after which a client asks whether the pod is there, and then gives it up.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a client that stalls does not read, and how long it then reads.
const STALL: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(2));

/// What all clients of a run share.
pub struct Plan {
    /// Where clients connect, without TLS.
    pub pods: Vec<SocketAddr>,
    /// Set when clients shall end.
    pub over: AtomicBool,
    /// Whether clients give their positions when they come back. Off, a run must lose events: that tests the checker.
    pub recovers: bool,
    /// How many clients, the first ones, stop reading for a while again and again.
    pub stalling: usize,
    pub stalls: AtomicUsize,
    pub reconnects: AtomicUsize,
    /// The longest that a client was without a connection, in milliseconds.
    pub longest_away_ms: AtomicUsize,
}

/// What one client saw.
#[derive(Debug, Default)]
pub struct Diary {
    pub rooms: BTreeMap<String, Vec<Seen>>,
    positions: BTreeMap<String, (String, u64)>,
}

impl Diary {
    /// Where the client stands in a room.
    pub fn offset(&self, room: &str) -> Option<u64> {
        self.positions.get(room).map(|(_, offset)| *offset)
    }
}

/// Follows rooms until the run is over.
pub async fn watch(plan: Arc<Plan>, me: usize, rooms: Vec<String>, diary: Arc<Mutex<Diary>>) {
    let mut attempt = me;
    let mut lost = None::<Instant>;
    while !plan.over.load(Relaxed) {
        let pod = plan.pods[attempt % plan.pods.len()];
        attempt += 1;
        let Some(mut socket) = connect(pod).await else {
            // Spread over a quarter of a second, so that not all come at once.
            tokio::time::sleep(Duration::from_millis(50 + (me as u64 * 37) % 250)).await;
            continue;
        };
        let all_here = converse(&plan, &mut socket, &rooms, &diary, &mut lost, me < plan.stalling).await;
        if !plan.over.load(Relaxed) {
            plan.reconnects.fetch_add(1, Relaxed);
            if all_here {
                lost = Some(Instant::now());
            }
        }
    }
}

async fn connect(pod: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{pod}/ws").into_client_request().ok()?;
    request.headers_mut().insert("sec-websocket-protocol", "roomcast.v1".parse().unwrap());
    let attempt = async {
        let stream = TcpStream::connect(pod).await.ok()?;
        client_async(request, stream).await.ok()
    };
    Some(timeout(SILENCE, attempt).await.ok()??.0)
}

/// One connection, to its end; whether it had been in all rooms.
async fn converse(
    plan: &Plan,
    socket: &mut WebSocketStream<TcpStream>,
    rooms: &[String],
    diary: &Mutex<Diary>,
    lost: &mut Option<Instant>,
    stalls: bool,
) -> bool {
    for room in rooms {
        if !subscribe(plan, socket, room, diary).await {
            return false;
        }
    }
    let mut here = 0;
    let mut asked = false;
    let mut read_since = Instant::now();
    while !plan.over.load(Relaxed) {
        let message = match timeout(SILENCE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Value>(&text).unwrap(),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(_) => return here >= rooms.len(),
            Err(_) if asked => return here >= rooms.len(),
            Err(_) => {
                asked = true;
                if socket.send(Message::text(json!({"type":"ping"}).to_string())).await.is_err() {
                    return here >= rooms.len();
                }
                continue;
            }
        };
        asked = false;
        if stalls && read_since.elapsed() > STALL.1 {
            plan.stalls.fetch_add(1, Relaxed);
            tokio::time::sleep(STALL.0).await;
            read_since = Instant::now();
        }
        match message["type"].as_str() {
            Some("subscribed") => {
                here += 1;
                if here == rooms.len()
                    && let Some(lost) = lost.take()
                {
                    plan.longest_away_ms.fetch_max(lost.elapsed().as_millis() as usize, Relaxed);
                }
                note(diary, &message);
            }
            Some("error") if message["room"].is_string() => {
                // Not now: the pod's broker may be away. The position stays the client's.
                tokio::time::sleep(Duration::from_millis(200)).await;
                if !subscribe(plan, socket, message["room"].as_str().unwrap(), diary).await {
                    return false;
                }
            }
            Some("events" | "gap") => note(diary, &message),
            _ => {}
        }
    }
    true
}

async fn subscribe(plan: &Plan, socket: &mut WebSocketStream<TcpStream>, room: &str, diary: &Mutex<Diary>) -> bool {
    let mut command = json!({"type":"subscribe","room":room});
    let position = diary.lock().unwrap().positions.get(room).cloned();
    if let Some((epoch, offset)) = position {
        // The id says whether a position was given.
        command["id"] = "asked".into();
        if plan.recovers {
            command["since"] = json!({"epoch":epoch,"offset":offset});
        } else {
            command["id"] = "pretended".into();
        }
    }
    socket.send(Message::text(command.to_string())).await.is_ok()
}

/// Writes down what a message says of its room.
fn note(diary: &Mutex<Diary>, message: &Value) {
    let mut diary = diary.lock().unwrap();
    let room = message["room"].as_str().unwrap().to_owned();
    let (epoch, offset) = (message["epoch"].as_str().unwrap().to_owned(), message["offset"].as_u64().unwrap());
    let seen = match message["type"].as_str() {
        // A client that pretends to have recovered is how a run without recovery looks to the checker.
        Some("subscribed") if message["id"] == "pretended" => {
            let offset = diary.positions.get(&room).map_or(offset, |(_, had)| *had);
            Seen::Subscribed { epoch: epoch.clone(), offset, recovered: true, asked: true }
        }
        Some("subscribed") => Seen::Subscribed {
            epoch: epoch.clone(),
            offset,
            recovered: message["recovered"] == true,
            asked: message["id"] == "asked",
        },
        Some("gap") => Seen::Gap { epoch: epoch.clone(), offset },
        _ => {
            let event = |event: &Value| {
                (event["offset"].as_u64().unwrap(), event["id"].as_str().unwrap_or_default().to_owned())
            };
            let events = message["events"].as_array().unwrap().iter().map(event).collect();
            Seen::Events { epoch: epoch.clone(), after: message["after"].as_u64().unwrap(), offset, events }
        }
    };
    diary.rooms.entry(room.clone()).or_default().push(seen);
    diary.positions.insert(room, (epoch, offset));
}
