//! Who is let in, and how everybody is sent away.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::harness::{Client, SOON, Seen, get, pod, pod_on, publish};
use roomcast::testing::{
    config::{CgroupVersion, MemorySource},
    pod::Pod,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends bytes, reads until the end or until something was answered and a moment has passed.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let wait = if answer.is_empty() { SOON } else { Duration::from_millis(200) };
        match timeout(wait, stream.read(&mut chunk)).await {
            Ok(Ok(n)) if n > 0 => answer.extend_from_slice(&chunk[..n]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

fn upgrade(path: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_full_pod_says_503_and_when_to_come_back() {
    let pod = pod(|settings| settings.general.max_connections = Some(2));
    let address = pod.addresses().plain[0];
    let first = Client::connect(address).await;
    let _second = Client::connect(address).await;
    let answer = talk(address, &upgrade("/ws", "")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    // Balancers send new clients elsewhere, and those that are here are served.
    let body = |word: &str| format!("{{\"status\":\"{word}\",\"reason\":\"connections\"}}");
    assert_eq!(get(&pod, "/accepting").await, (503, body("overloaded")));
    assert_eq!(get(&pod, "/ready").await, (200, body("degraded")));
    let shown = "roomcast_degraded{reason=\"connections\"} 1";
    timeout(SOON, async {
        while !get(&pod, "/metrics").await.1.contains(shown) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    drop(first);
    timeout(SOON, async {
        while pod.services().gate.connections() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    Client::connect(address).await;
    pod.stop();
}

/// What makes the alert about full pods fire must not be what one client address does.
#[tokio::test]
async fn a_refusal_counts_by_its_reason_whatever_the_client_speaks() {
    let pod = pod(|settings| {
        settings.addresses.max_connections = Some(1);
        settings.socketio.enabled = true;
    });
    let address = pod.addresses().plain[0];
    let _only = Client::connect(address).await;
    let send =
        "POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";
    let asked = [
        ("upgrade", upgrade("/ws", "")),
        ("upgrade", upgrade("/socket.io/?EIO=4&transport=websocket", "")),
        ("poll", b"GET /poll?room=a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("sse", b"GET /events?room=a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("send", send.as_bytes().to_vec()),
    ];
    let counted = async |stage: &str, result: &str| {
        let name = format!("roomcast_handshakes_total{{stage=\"{stage}\",result=\"{result}\"}} ");
        let metrics = get(&pod, "/metrics").await.1;
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or_default()
    };
    for (stage, request) in &asked {
        let before = counted(stage, "address").await;
        let answer = talk(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("address is full"), "{stage}: {answer}");
        assert_eq!((counted(stage, "address").await, counted(stage, "full").await), (before + 1, 0), "{stage}");
    }
    // Another address, which has none yet.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut kept = socket.connect(address).await.unwrap();
    pod.services().gate.drain();
    kept.write_all(&upgrade("/ws", "")).await.unwrap();
    let mut answer = [0; 12];
    timeout(SOON, kept.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert_eq!((counted("upgrade", "draining").await, counted("upgrade", "full").await), (1, 0));
    pod.stop();
}

#[tokio::test]
async fn a_pod_whose_process_is_short_of_memory_takes_no_client_in() {
    // This process uses more than that, whatever its queues hold.
    let pod = pod_on(|_| (), |machine| machine.memory.bytes = 8 << 20);
    let full = "{\"status\":\"overloaded\",\"reason\":\"memory\"}";
    timeout(SOON, async {
        while get(&pod, "/accepting").await != (503, full.to_owned()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let answer = talk(pod.addresses().plain[0], &upgrade("/ws", "")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("short of memory: it uses"), "{answer}");
    assert_eq!(get(&pod, "/ready").await.0, 200);
    let shown = "roomcast_limit_refused_total{limit=\"process_memory\"} 1";
    timeout(SOON, async {
        while !get(&pod, "/metrics").await.1.contains(shown) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    pod.stop();
}

#[tokio::test]
async fn a_pod_whose_process_is_short_of_memory_takes_no_new_room() {
    let folder = tempfile::tempdir().unwrap();
    let used = folder.path().join("memory.current");
    std::fs::write(&used, "1000000").unwrap();
    let pod = pod_on(
        |settings| settings.general.workers = Some(1),
        |machine| {
            let (folder, file) = (folder.path().to_owned(), "memory.max");
            machine.memory.bytes = 64 << 20;
            machine.memory.source = MemorySource::Cgroup { version: CgroupVersion::V2, folder, file };
        },
    );
    let address = pod.addresses().plain[0];
    let (mut first, mut second) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!(first.subscribe("here").await["type"], "subscribed");
    // Newcomers are kept out, and so are names that those within make up.
    std::fs::write(&used, (63 << 20).to_string()).unwrap();
    until_full(&pod, true).await;
    for n in 0..3 {
        let refused = second.ask(json!({"type": "subscribe", "room": format!("made-up:{n}")})).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("unavailable")), "{refused}");
    }
    assert_eq!(second.subscribe("here").await["type"], "subscribed", "that room is there already");
    publish(&pod, "here", "t", "1").await;
    assert_eq!(first.json().await["type"], "events");
    std::fs::write(&used, "1000000").unwrap();
    until_full(&pod, false).await;
    assert_eq!(first.subscribe("made-up:0").await["type"], "subscribed");
    pod.stop();
}

async fn until_full(pod: &Pod, full: bool) {
    let waited = timeout(SOON, async {
        while (get(pod, "/accepting").await.0 == 503) != full {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("the pod notices");
}

#[tokio::test]
async fn requests_that_are_no_websocket_get_http() {
    let pod = pod(|_| ());
    let address = pod.addresses().plain[0];
    for (request, status) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "200"),
        (b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "404"),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "426"),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n".to_vec(), "400"),
        (format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(20_000)).into_bytes(), "431"),
        (upgrade("/elsewhere", ""), "404"),
        (upgrade("/ws", "Origin: https://evil.example\r\n"), "403"),
        (upgrade("/ws", "Origin: null\r\n"), "403"),
        (upgrade("/ws", "Origin: http://localhost:1234\r\n"), "101"),
        (upgrade("/elsewhere", "Sec-WebSocket-Protocol: other, roomcast.v1\r\n"), "101"),
    ] {
        let answer = talk(address, &request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer}");
    }
    let answer = talk(address, &upgrade("/ws", "Sec-WebSocket-Protocol: other\r\n")).await;
    assert!(!answer.to_lowercase().contains("sec-websocket-protocol"), "nothing unoffered is echoed: {answer}");
    pod.stop();
}

#[tokio::test]
async fn an_upgrade_on_a_kept_alive_connection_is_taken_back() {
    let pod = pod(|_| ());
    let mut stream = TcpStream::connect(pod.addresses().plain[0]).await.unwrap();
    stream.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut chunk = vec![0; 4096];
    let n = timeout(SOON, stream.read(&mut chunk)).await.unwrap().unwrap();
    assert!(chunk[..n].starts_with(b"HTTP/1.1 404"));
    // The first message comes in the same packet as the upgrade: not a byte of it may be lost.
    let mut bytes = upgrade("/ws", "");
    use roomcast_websocket::{Frame, Opcode};
    let message = br#"{"type":"subscribe","room":"late:1"}"#;
    Frame::new(Opcode::Text, message).write_client([9, 8, 7, 6], &mut bytes);
    stream.write_all(&bytes).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"subscribed\"") {
        let n = timeout(SOON, stream.read(&mut chunk)).await.unwrap().unwrap();
        assert!(n > 0, "closed after: {seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
    assert!(seen.starts_with("HTTP/1.1 101"), "{seen}");
    assert!(seen.contains("\"welcome\""), "{seen}");
    pod.stop();
}

#[tokio::test]
async fn slow_handshakes_are_ended_while_others_connect() {
    let pod = pod(|settings| {
        settings.timeouts.tls = Duration::from_secs(1);
        settings.timeouts.head = Duration::from_secs(1);
    });
    let (plain, tls) = (pod.addresses().plain[0], pod.addresses().tls[0]);
    let mut drips = Vec::new();
    for n in 0..100 {
        let (address, bytes): (_, &'static [u8]) =
            if n % 2 == 0 { (plain, b"GET /ws HTTP/1.1\r\n") } else { (tls, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc") };
        drips.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut chunk = [0; 64];
            for byte in bytes.iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(100), stream.read(&mut chunk)).await {
                    return;
                }
            }
        }));
    }
    for _ in 0..20 {
        Client::connect(plain).await;
    }
    timeout(Duration::from_secs(4), async {
        for drip in drips {
            drip.await.unwrap();
        }
    })
    .await
    .expect("every dripping socket is ended soon after its time");
    pod.stop();
}

#[tokio::test]
async fn the_silent_are_pinged_and_the_dead_are_closed() {
    let pod = pod(|settings| {
        settings.timeouts.ping = Duration::from_secs(1);
        settings.timeouts.pong = Duration::from_secs(1);
    });
    // This client answers no pings: after ping and pong time it is told why it goes.
    let mut silent = Client::connect(pod.addresses().plain[0]).await;
    assert_eq!(silent.closed().await, Some(4009));
    pod.stop();
}

#[tokio::test]
async fn a_drain_hints_then_closes_with_1012() {
    let pod = pod(|_| ());
    let address = pod.addresses().plain[0];
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(address).await;
        client.subscribe("drain:1").await;
        clients.push(client);
    }
    publish(&pod, "drain:1", "t", "1").await;
    let services = Arc::clone(pod.services());
    let drain = tokio::spawn(pod.drain(Duration::ZERO, Duration::from_secs(2)));
    for client in &mut clients {
        assert_eq!(client.json().await["type"], "events");
        let hint = client.json().await;
        assert_eq!(hint["type"], "reconnect");
        assert!(hint["after_ms"].as_u64().unwrap() < 2_000, "{hint}");
    }
    assert!(services.gate.is_draining());
    for mut client in clients {
        assert_eq!(client.next().await, Seen::Close(Some(1012)));
    }
    timeout(SOON, drain).await.unwrap().unwrap();
}
