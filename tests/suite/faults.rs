//! What goes wrong inside a pod stays where it went wrong.

use std::{process::Command, time::Duration};

use crate::harness::{Client, Seen, config, pod, publish, settings};
use roomcast::testing::{
    model::{Batch, CommandError, CommandId, Disconnect, Reply, Request, Retained, Spelling},
    pod::Pod,
    protocol::{Dialect, Dialects, Message, Messages, Native, OpenOutcome, Opening, PresenceChange},
};
use serde_json::json;
use testkit::process::Process;

/// The native protocol, with a fault at one word.
struct Faulty;

impl Dialect for Faulty {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        Native.open(opening, out)
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        assert!(!matches!(message, Message::Text("panic")), "planted");
        Native.decode(message)
    }

    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages) {
        Native.reply(reply, id, out);
    }

    fn batch(&self, batch: &Batch, spelling: Spelling, out: &mut Messages) {
        assert!(batch.room.as_str() != "panic:1", "planted");
        Native.batch(batch, spelling, out);
    }

    fn retained(&self, retained: &Retained, spelling: Spelling, out: &mut Messages) {
        Native.retained(retained, spelling, out);
    }

    fn presence(&self, change: &PresenceChange, out: &mut Messages) {
        Native.presence(change, out);
    }
}

#[tokio::test]
async fn a_panic_in_one_connection_closes_that_connection() {
    let settings = settings(|settings| settings.general.workers = Some(1));
    let pod = Pod::start_with(config(settings), Dialects::new(vec![("faulty".into(), Box::new(Faulty))])).unwrap();
    let address = pod.addresses().plain[0];
    let (mut bad, mut good) = (Client::connect(address).await, Client::connect(address).await);
    bad.subscribe("shared:1").await;
    good.subscribe("shared:1").await;
    bad.send("panic").await;
    assert_eq!(bad.next().await, Seen::Ended);
    publish(&pod, "shared:1", "t", "1").await;
    assert_eq!(good.json().await["offset"], 1);
    assert_eq!(pod.services().gate.connections(), 1, "the other one is gone, and counted so");
    let mut new = Client::connect(address).await;
    new.subscribe("shared:1").await;
    pod.stop();
}

#[tokio::test]
async fn a_panic_in_a_fan_out_costs_no_other_room_anything() {
    let settings = settings(|settings| settings.general.workers = Some(1));
    let pod = Pod::start_with(config(settings), Dialects::new(vec![("faulty".into(), Box::new(Faulty))])).unwrap();
    let address = pod.addresses().plain[0];
    let (mut bad, mut good) = (Client::connect(address).await, Client::connect(address).await);
    bad.subscribe("panic:1").await;
    good.subscribe("fine:1").await;
    publish(&pod, "panic:1", "t", "1").await;
    for offset in 1..=3 {
        publish(&pod, "fine:1", "t", "1").await;
        assert_eq!(good.json().await["offset"], offset);
    }
    assert_eq!(bad.closed().await, Some(1011), "whoever cannot be served is told so");
    pod.stop();
}

/// More events than any queue between broker and socket holds: what was dropped on the way is filled from history or
/// told as a gap, and nothing is silently missing.
#[tokio::test]
async fn full_queues_leave_no_silent_hole() {
    let pod = pod(|settings| {
        settings.general.workers = Some(2);
        settings.default_policy.batch_max_events = 1;
        settings.default_policy.history_size = 200_000;
        settings.default_policy.history_bytes = 256 << 20;
        settings.memory_broker.max_bytes = 512 << 20;
        settings.limits.send_queue = 512 << 20;
        settings.general.memory_budget = Some(1 << 30);
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("burst:1").await;
    let events = 100_000;
    let broker = std::sync::Arc::clone(&pod.services().broker);
    let publisher = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let room = roomcast::testing::model::Room::parse("burst:1").unwrap();
            for n in 1..=events {
                broker.publish(&room, crate::harness::publication("t", &n.to_string())).await.unwrap();
            }
        });
    });
    let (mut position, mut seen, mut gaps) = (0, 0, 0);
    while position < events {
        let message = client.json().await;
        assert_eq!(message["after"].as_u64(), Some(position), "{}", message["type"]);
        position = message["offset"].as_u64().unwrap();
        match message["type"].as_str() {
            Some("events") => seen += message["events"].as_array().unwrap().len(),
            Some("gap") => gaps += 1,
            other => panic!("{other:?}"),
        }
    }
    publisher.await.unwrap();
    assert!(seen as u64 == events || gaps > 0, "{seen} of {events} without a word");
    publish(&pod, "burst:1", "t", "1").await;
    assert_eq!(client.json().await["after"].as_u64(), Some(events));
    pod.stop();
}

/// Out of files, those who are here go on, and when files are free again the waiting come in.
#[test]
fn accept_survives_running_out_of_files() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("bash");
    command.env("XDG_STATE_HOME", home.path()).arg("-c").arg(format!(
        "ulimit -n 64; exec {} --dev --workers 1 --listen 127.0.0.1:0 --plain-listen 127.0.0.1:0 \
         --internal-listen 127.0.0.1:0 --max-connections 1000",
        env!("CARGO_BIN_EXE_roomcast")
    ));
    let pod = Process::start(command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let address = pod.address("plain");
        let mut first = Client::connect(address).await;
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Whoever was in before still works.
        assert_eq!(first.ask(json!({"type": "ping"})).await["type"], "pong");
        drop(idle);
        let mut late = Client::connect(address).await;
        late.ask(json!({"type": "ping"})).await["type"].clone()
    });
    assert_eq!(outcome, "pong");
}
