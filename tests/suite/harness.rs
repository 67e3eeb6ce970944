//! Pods in this process: what the tests of the suite share.
#![allow(unreachable_pub)]

use std::{sync::Arc, time::Duration};

use roomcast::testing::{
    config::{
        ApiKey, Config, ListenAddress, Machine, MemoryCeiling, MemorySource, RoomPattern, Rule, Settings,
        SettingsError, resolve,
    },
    model::{Payload, Policy, Position, Publication, Room},
    pod::{Pod, StartError},
};
pub use testkit::client::{Client, SOON, Seen};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Settings of a pod for a test: loopback, free ports, two workers.
pub fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.dev = Some(true);
    settings.general.listen = Some(vec![free]);
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    settings.general.workers = Some(2);
    // The client of the kit answers no ping.
    settings.timeouts.ping = Duration::from_secs(3_600);
    change(&mut settings);
    settings
}

/// A policy for the rooms of a pattern: what is changed, and otherwise what a policy is by itself.
pub fn rule(pattern: &str, change: impl FnOnce(&mut Policy)) -> Rule {
    let mut policy = Policy::default();
    change(&mut policy);
    Rule { patterns: vec![RoomPattern::parse(pattern).unwrap()], policy }
}

fn machine() -> Machine {
    Machine {
        cores: 2,
        open_files: 10_000,
        // Whatever else runs on the machine of the tests.
        memory: MemoryCeiling { bytes: 1 << 36, source: MemorySource::Machine },
        state_dir: None,
        api_key: ApiKey::new("test-key".into()).unwrap(),
    }
}

pub fn config(settings: Settings) -> Config {
    resolve(settings, &machine()).expect("the settings make a configuration")
}

/// Starts a pod.
pub fn pod(change: impl FnOnce(&mut Settings)) -> Pod {
    pod_on(change, |_| ())
}

/// Why settings make no configuration.
pub fn refused(change: impl FnOnce(&mut Settings)) -> Vec<SettingsError> {
    resolve(settings(change), &machine()).err().unwrap_or_default()
}

/// Starts a pod on a machine that is not quite this one.
pub fn pod_on(change: impl FnOnce(&mut Settings), change_machine: impl FnOnce(&mut Machine)) -> Pod {
    let settings = settings(change);
    let mut machine = machine();
    change_machine(&mut machine);
    for _ in 0..10 {
        match Pod::start(resolve(settings.clone(), &machine).expect("the settings make a configuration")) {
            // The kernel gave out a TCP port whose UDP port another test's client has.
            Err(StartError::ListenUdp { .. }) => {}
            pod => return pod.expect("the pod starts"),
        }
    }
    panic!("no port is free for TCP and UDP");
}

/// An event of JSON data.
pub fn publication(topic: &str, data: &str) -> Publication {
    let data = serde_json::value::RawValue::from_string(data.to_owned()).unwrap();
    Publication {
        topic: topic.into(),
        key: None,
        payload: Payload::Json(data),
        user: None,
        id: None,
        idempotency_key: None,
    }
}

/// Publishes straight into a pod's broker.
pub async fn publish(pod: &Pod, room: &str, topic: &str, data: &str) -> Position {
    publish_as(pod, room, publication(topic, data)).await
}

/// Publishes straight into a pod's broker.
pub async fn publish_as(pod: &Pod, room: &str, publication: Publication) -> Position {
    let broker = Arc::clone(&pod.services().broker);
    broker.publish(&Room::parse(room).unwrap(), publication).await.unwrap()
}

/// What the internal listener answers to a GET: the status and the body.
pub async fn get(pod: &Pod, path: &str) -> (u16, String) {
    get_from(pod.addresses().internal[0], path).await
}

/// What a listener answers to a GET: the status and the body.
pub async fn get_from(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
