//! What only a whole pod shows, and nothing from outside can cause.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use testkit::client::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Pod;
use crate::{
    config::{ApiKey, ListenAddress, Machine, MemoryCeiling, MemorySource, Settings, resolve},
    hub::{Sequencer, ToWorker, WorkerCall},
    model::{Epoch, Position, Room},
};

fn pod() -> Pod {
    pod_with(|_| ())
}

fn pod_with(change: impl FnOnce(&mut Settings)) -> Pod {
    let mut settings = Settings::default();
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.listen = Some(Vec::new());
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    settings.general.workers = Some(2);
    settings.webtransport.enabled = false;
    change(&mut settings);
    let machine = Machine {
        cores: 2,
        open_files: 10_000,
        memory: MemoryCeiling { bytes: 1 << 36, source: MemorySource::Machine },
        state_dir: None,
        api_key: ApiKey::new("key".into()).unwrap(),
    };
    Pod::start(resolve(settings, &machine).unwrap()).unwrap()
}

#[tokio::test]
async fn members_get_the_whole_list_after_a_panic_of_their_sequencer() {
    let pod = pod();
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let joined = client.subscribe("demo:p").await;
    let stands = Position::new(Epoch::new(joined["epoch"].as_str().unwrap()), 0);
    let services = Arc::clone(pod.services());
    tokio::task::LocalSet::new()
        .run_until(async {
            // Beside the pod's own, in which nothing can be made to panic.
            Sequencer::new(0, services).panic_in(&Room::parse("demo:p").unwrap(), stands);
            let list = loop {
                let message = client.json().await;
                if message["type"] == "presence" {
                    break message;
                }
            };
            assert_eq!(list["members"].as_array().unwrap().len(), 1, "{list}");
        })
        .await;
    pod.stop();
}

/// A worker's queue holds 4,096. What it refuses of more rooms is not tried over and over while it is full.
#[tokio::test]
async fn rooms_that_wait_for_a_full_queue_cost_a_turn_nothing() {
    let pod = pod();
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let busy = WorkerCall::new(move |_: &mut crate::hub::Worker| {
        let _ = waits.recv();
    });
    assert!(pod.services().queues.tell_worker(0, ToWorker::Call(busy)));
    let rooms: Vec<Room> = (0..6_000).map(|n| Room::parse(&format!("wave-{n}")).unwrap()).collect();
    let stands = Position::new(Epoch::new("e"), 0);
    let mut sequencer = Sequencer::new(0, Arc::clone(pod.services()));
    assert_eq!(sequencer.retried_of(&rooms, 0, &stands), 1);
    let places = sequencer.places_after(&rooms, 0);
    assert!(places < 2_000, "places for {places} rooms when all are gone");
    drop(go_on);
    pod.stop();
}

/// They are no connections: one session is enough for as many of them as there are files.
#[tokio::test]
async fn sockets_that_probe_for_a_session_make_room_for_newcomers() {
    let pod = pod_with(|settings| {
        settings.socketio.enabled = true;
        settings.general.max_connections = Some(16);
    });
    let address = pod.addresses().plain[0];
    let mut opening = TcpStream::connect(address).await.unwrap();
    let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    opening.write_all(request.as_bytes()).await.unwrap();
    let mut opened = String::new();
    opening.read_to_string(&mut opened).await.unwrap();
    let sid = opened.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (mut probes, mut let_in) = (Vec::new(), 0);
    for _ in 0..600 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut head = [0; 12];
        let asked = socket.write_all(request.as_bytes()).await.is_ok();
        let_in += usize::from(asked && socket.read_exact(&mut head).await.is_ok() && head == *b"HTTP/1.1 101");
        probes.push(socket);
    }
    assert!(let_in > 128, "{let_in}");
    let taken = pod.services().sockets.taken();
    assert!(taken <= 256 + 16, "{taken} sockets of 256 that may wait");
    // Those that have waited for a moment give way.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut client = Client::connect(address).await;
    client.subscribe("demo:p").await;
    drop(probes);
    pod.stop();
}
