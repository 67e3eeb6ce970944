//! Presets as the pods of a fleet run them: over a real Redis, alone and as a cluster.

mod live_polls;
mod loomio;
mod social;
mod ticketing;
mod ticketing_environment;
mod trips;

use std::time::{Duration, Instant};

use crate::harness::{Client, Seen, config, publish};
use roomcast::testing::{
    compat::ticketing::REALTIME_DESCRIPTIONS,
    config::{Config, Flags, ListenAddress, LogFormat, LogLevel, Preset, Settings, Variables, merge_over},
    pod::Pod,
};
use roomcast_proto::realtime::{
    BroadcastEventRequest, GetConnectionStatsRequest, NotifyBookingResultRequest, SendToUserRequest,
    realtime_service_client::RealtimeServiceClient,
};
use serde_json::{Value, json};
use testkit::redis::{Cluster, Standalone};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::block_in_place,
};
use tonic::transport::Channel;

/// A pod with a preset, on loopback and free ports; the variables are those of the system that it replaces.
fn preset(name: &str, urls: &str, variables: &[(&str, &str)]) -> Pod {
    let flags = Flags::from([("redis.urls".to_owned(), urls.to_owned())]);
    start(merge_over(Preset::named(name), &flags, &set(variables), None).unwrap().settings)
}

fn set(variables: &[(&str, &str)]) -> Variables {
    variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn start(mut settings: Settings) -> Pod {
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    if !settings.grpc.listen.is_empty() {
        settings.grpc.listen = vec![free];
    }
    settings.general.workers = Some(2);
    settings.redis.lease = Duration::from_secs(2);
    Pod::start(config(settings)).unwrap()
}

async fn open(pod: &Pod, target: &str) -> Client {
    Client::open(pod.addresses().plain[0], target, &[], &[], None).await.unwrap()
}

/// A GET of the public listener: the status and the body.
async fn get(pod: &Pod, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(pod.addresses().plain[0]).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until a preset's pod has reached Redis.
async fn ready(pod: &Pod) {
    let began = Instant::now();
    while crate::harness::get(pod, "/ready").await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(15), "not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleets_in_two_databases_of_one_server_do_not_hear_each_other() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let port = port.to_string();
    let fleet = |database: &str| {
        let variables = set(&[("REDIS_HOST", &host), ("REDIS_PORT", &port), ("REDIS_DB", database)]);
        start(merge_over(Preset::named("ticketing"), &Flags::new(), &variables, None).unwrap().settings)
    };
    let pods = [fleet("3"), fleet("3"), fleet("0")];
    for pod in &pods {
        ready(pod).await;
    }
    let mut clients = Vec::new();
    for pod in &pods {
        let mut client = open(pod, "/ws").await;
        client.json().await;
        client.send(r#"{"type":"room:join","payload":{"room":"event:1"}}"#).await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    publish(&pods[0], "event:1", "ticket:availability", "3").await;
    publish(&pods[2], "event:1", "ticket:availability", "0").await;
    for (client, expected) in clients.iter_mut().zip([3, 3, 0]) {
        assert_eq!(client.json().await["payload"], expected);
        assert!(client.is_quiet().await);
    }
    let keys = block_in_place(|| {
        let mut link = server.link().unwrap();
        [0, 3].map(|database: i32| {
            link.call(&["SELECT", &database.to_string()]).unwrap().ok();
            link.call(&["DBSIZE"]).unwrap().number()
        })
    });
    assert!(keys.iter().all(|keys| *keys > 0), "{keys:?}");
    for pod in pods {
        pod.stop();
    }
    // A cluster has one database: such a pod says so in its log, and is not ready.
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let (host, port) = cluster.addresses()[0].clone();
    let pod = preset("ticketing", &format!("redis://{host}:{port}/3"), &[]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(get(&pod, "/ready").await, (503, "{\"status\":\"starting\"}".to_owned()));
    pod.stop();
}
