//! Each privacy switch, off alone: what it is about is seen nowhere outside of the pod, while all else is. Looked at are what other clients are
//! told, what a backend is answered, and every command that reaches Redis, those of scripts and its pub/sub included.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::{JoinHandle, block_in_place},
    time::timeout,
};

use crate::{
    harness::{Client, Seen, pod, rule},
    hooks::dialects::Polling,
    users::{call, connect, connect_as, known, over, ready, signed, token},
};
use roomcast::testing::{
    config::{PersonalRoom, Settings},
    model::{Access, AckMode, EraseMode, PresenceMode, Retain},
    pod::Pod,
};

const USER: &str = "ann-s";

/// From where it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outside {
    /// A member of the room, which follows the user and wrote what it reads.
    Other,
    /// Another device of the user.
    OwnDevice,
    /// What the internal listener answers.
    Backend,
    /// What is said to Redis.
    Redis,
}

/// What is about the user: which kind it is of, where it is seen, and what then stands in one message, answer or command.
type Trace = (&'static str, Outside, &'static [&'static str]);

const TRACES: &[Trace] = &[
    ("signal", Outside::Other, &["\"signal\"", "S-mark"]),
    ("signal", Outside::Redis, &["S-mark"]),
    ("ack", Outside::Redis, &["acks:ann-s", "chat:1"]),
    ("ack", Outside::OwnDevice, &["\"type\":\"unread\"", "chat:1"]),
    ("ack", Outside::Backend, &["\"unread\":1", "chat:1"]),
    ("receipt", Outside::Other, &["\"receipts\":[{", USER]),
    ("receipt", Outside::Redis, &["\"HSET\"", ":untold", USER]),
    ("delivered", Outside::Other, &["\"delivered\":[{", USER]),
    ("status", Outside::Other, &["\"presence\"", "\"busy\"", USER]),
    ("status", Outside::Other, &["\"presence\"", "\"last_seen\"", USER]),
    ("status", Outside::Backend, &["\"status\":\"busy\"", USER]),
    ("status", Outside::Backend, &["\"last_seen\"", USER]),
    ("record", Outside::Redis, &["user:presence:ann-s"]),
    ("members", Outside::Other, &["\"joined\"", USER]),
    ("members", Outside::Other, &["\"left\"", USER]),
    ("members", Outside::Redis, &["members:chat:1", USER]),
    ("places", Outside::Redis, &["places:ann-s"]),
    ("author", Outside::Redis, &["authors:chat:1", USER]),
    ("session", Outside::Redis, &["value:socketio:", USER]),
];

/// A switch: its name, how it is put off, what the user's token or client says then, and of which traces nothing is left.
struct Switch {
    name: &'static str,
    off: fn(&mut Settings),
    claims: fn(&mut Value),
    status: fn(&mut Value),
    hides: &'static [&'static str],
}

impl Switch {
    const fn of(name: &'static str, hides: &'static [&'static str], off: fn(&mut Settings)) -> Self {
        Self { name, off, claims: |_| (), status: |_| (), hides }
    }
}

fn switches() -> Vec<Switch> {
    vec![
        Switch::of("none", &[], |_| ()),
        Switch::of("signal = nobody", &["signal"], |s| s.policies[0].policy.signal = Access::Nobody),
        Switch::of("acks = off", &["ack", "receipt", "delivered"], |s| s.policies[0].policy.acks = AckMode::Off),
        Switch::of("acks = keep", &["receipt", "delivered"], |s| s.policies[0].policy.acks = AckMode::Keep),
        Switch::of("presence = off", &["members"], |s| s.policies[0].policy.presence = PresenceMode::Off),
        Switch::of("user_presence.room", &["status", "record"], |s| s.user_presence.room = None),
        Switch::of("limits.user_connections", &["places"], |s| s.limits.user_connections = None),
        Switch::of("erase = keep", &["author"], |s| s.policies[0].policy.erase = EraseMode::Keep),
        Switch::of("socketio.recovery", &["session"], |s| s.socketio.recovery = None),
        Switch {
            claims: |claims| claims["receipts"] = json!(false),
            ..Switch::of("the claim of receipts", &["receipt", "delivered"], |_| ())
        },
        Switch { status: |status| status["hidden"] = json!(true), ..Switch::of("hidden", &["status"], |_| ()) },
    ]
}

fn all_on(settings: &mut Settings) {
    known(settings);
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
    settings.user_presence.room = Some(PersonalRoom::parse("presence:{user}").unwrap());
    settings.user_presence.offline_after = Duration::from_millis(50);
    settings.acks.every = Duration::from_millis(20);
    settings.limits.user_connections = Some(5);
    settings.socketio.enabled = true;
    settings.policies = vec![
        rule("chat:*", |policy| {
            (policy.publish, policy.signal) = (Access::User, Access::User);
            (policy.acks, policy.erase) = (AckMode::Receipts, EraseMode::Event);
            policy.presence = PresenceMode::Events;
        }),
        rule("user:*", |policy| policy.join = Access::Owner),
        rule("presence:*", |policy| policy.retain = Retain::Room),
    ];
}

/// What was seen at each place, a line each.
#[derive(Clone, Default)]
struct Sight(Arc<Mutex<Vec<(Outside, String)>>>);

impl Sight {
    fn see(&self, place: Outside, line: impl Into<String>) {
        self.0.lock().unwrap().push((place, line.into()));
    }

    fn has(&self, (_, place, needles): &Trace) -> bool {
        let is_it = |(at, line): &(Outside, String)| at == place && needles.iter().all(|part| line.contains(part));
        self.0.lock().unwrap().iter().any(is_it)
    }

    /// Sees every command of a server.
    async fn watch(&self, server: &Standalone) -> JoinHandle<()> {
        let (host, port) = server.address();
        let mut stream = TcpStream::connect((host.as_str(), port)).await.unwrap();
        stream.write_all(b"MONITOR\r\n").await.unwrap();
        let mut lines = BufReader::new(stream).split(b'\n');
        assert_eq!(lines.next_segment().await.unwrap().unwrap(), b"+OK\r");
        let sight = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line);
                if line.contains(USER) || line.contains("S-mark") {
                    sight.see(Outside::Redis, line);
                }
            }
        })
    }

    /// Sees what a client is told, as long as it is there.
    fn follow(&self, place: Outside, mut client: Client) -> JoinHandle<()> {
        let sight = self.clone();
        tokio::spawn(async move {
            loop {
                match timeout(Duration::from_secs(1), client.next()).await {
                    Ok(Seen::Json(message)) => sight.see(place, message.to_string()),
                    Ok(_) => return,
                    // It is quiet.
                    Err(_) => {}
                }
            }
        })
    }

    /// Sees what a backend is answered about the user.
    async fn ask(&self, pod: &Pod) {
        for path in [format!("/api/users/{USER}/unread"), format!("/api/v1/presence?users={USER}")] {
            let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer test-key");
            self.see(Outside::Backend, call(pod.addresses().internal[0], &head, "").await.1);
        }
    }
}

/// The answer to a command, whatever comes before it.
async fn does(client: &mut Client, mut command: Value) {
    command["id"] = json!("it");
    client.send(&command.to_string()).await;
    while client.json().await["id"] != "it" {}
}

/// Looks until that holds; whether it did.
async fn soon(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    while !holds().await {
        if began.elapsed() > Duration::from_secs(15) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// The user does all that there is to be seen of it, while the switch is off. What is not as it should be.
async fn wrong(server: &Standalone, switch: &Switch) -> Vec<String> {
    block_in_place(|| server.call(&["FLUSHALL"]));
    let sight = Sight::default();
    let watching = sight.watch(server).await;
    let pod = pod(|settings| {
        all_on(settings);
        over(server, settings);
        (switch.off)(settings);
    });
    ready(&pod).await;
    let mut bob = connect(&pod, "bob").await;
    for room in ["chat:1".to_owned(), format!("presence:{USER}")] {
        does(&mut bob, json!({"type": "subscribe", "room": room})).await;
    }
    for n in 0..2 {
        does(&mut bob, json!({"type": "publish", "room": "chat:1", "topic": "said", "data": n})).await;
    }
    let bob = sight.follow(Outside::Other, bob);
    let mut claims = json!({"sub": USER, "exp": 4_102_444_800_u64});
    (switch.claims)(&mut claims);
    let laptop = sight.follow(Outside::OwnDevice, connect_as(&pod, &signed(&claims)).await);
    let mut ann = connect_as(&pod, &signed(&claims)).await;
    let mut status = json!({"type": "status", "status": "busy"});
    (switch.status)(&mut status);
    for command in [
        status,
        json!({"type": "subscribe", "room": "chat:1"}),
        json!({"type": "ack", "room": "chat:1", "offset": 2, "delivered": true}),
        json!({"type": "ack", "room": "chat:1", "offset": 1}),
        json!({"type": "signal", "room": "chat:1", "topic": "typing", "data": "S-mark", "ttl": 1_000}),
    ] {
        does(&mut ann, command).await;
    }
    sight.ask(&pod).await;
    does(&mut ann, json!({"type": "publish", "room": "chat:1", "topic": "said", "data": 2})).await;
    let tablet = Polling::open(pod.addresses().plain[0], &format!("&token={}", token(USER))).await;
    tablet.send("40\x1e420[\"subscribe\",{\"room\":\"chat:1\"}]").await;
    // What is not seen behind all else is not there.
    let (hidden, shown): (Vec<&Trace>, Vec<_>) = TRACES.iter().partition(|(kind, ..)| switch.hides.contains(kind));
    let while_here = |trace: &&&Trace| !trace.2.contains(&"\"last_seen\"") && !trace.2.contains(&"\"left\"");
    soon(async || {
        sight.ask(&pod).await;
        shown.iter().filter(while_here).all(|trace| sight.has(trace))
    })
    .await;
    drop(ann);
    laptop.abort();
    tablet.send("1").await;
    soon(async || {
        sight.ask(&pod).await;
        shown.iter().all(|trace| sight.has(trace))
    })
    .await;
    block_in_place(|| pod.stop());
    bob.abort();
    watching.abort();
    let missing =
        shown.iter().filter(|trace| !sight.has(trace)).map(|trace| format!("{}: {trace:?} is not seen", switch.name));
    let leaked =
        hidden.iter().filter(|trace| sight.has(trace)).map(|trace| format!("{}: {trace:?} is seen", switch.name));
    missing.chain(leaked).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_switch_hides_what_it_is_about_and_nothing_else() {
    let server = block_in_place(Standalone::start);
    let mut all = Vec::new();
    for switch in switches() {
        all.extend(wrong(&server, &switch).await);
    }
    assert!(all.is_empty(), "{all:#?}");
}
