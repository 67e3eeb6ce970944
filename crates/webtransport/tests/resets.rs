//! Pods that share the keys of their connection IDs, and a client whose packets come to the wrong one.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::{Connection, ConnectionError, Endpoint, TokioRuntime};
use roomcast_webtransport::{
    CONNECTION_ID_LENGTH, ConnectionIdKeys, ConnectionOrigin, EndpointSettings, Neighbours, StrayPacket, bind,
    endpoint_config, server_config,
};
use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

const SOON: Duration = Duration::from_secs(20);

/// The bytes of a stateless reset token, which end the packet.
const TOKEN: usize = 16;

/// What the pods know of each other.
#[derive(Default)]
struct Fleet {
    left: Mutex<HashSet<u64>>,
    strays: Mutex<Vec<StrayPacket>>,
}

impl Neighbours for Fleet {
    fn has_left(&self, pod: u64) -> bool {
        self.left.lock().unwrap().contains(&pod)
    }

    fn count(&self, stray: StrayPacket) {
        self.strays.lock().unwrap().push(stray);
    }
}

/// Endpoints of pods, and a client of one of them whose packets pass through here.
struct Net {
    fleet: Arc<Fleet>,
    tls: rustls::ServerConfig,
    trusting: quinn::ClientConfig,
    keys: Arc<ConnectionIdKeys>,
}

/// A connection, and its way: a socket that the client takes for the server.
struct Caller {
    connection: Connection,
    front: Arc<UdpSocket>,
    address: SocketAddr,
    /// The newest packet of the connection itself.
    packet: Arc<Mutex<Vec<u8>>>,
    way: JoinHandle<()>,
    _endpoint: Endpoint,
}

impl Net {
    fn new() -> Self {
        let (tls, trusting) = support::tls();
        let keys = Arc::new(ConnectionIdKeys::new(&[[7; 32]]).unwrap());
        Self { fleet: Arc::default(), tls, trusting, keys }
    }

    /// Serves as one address of a pod: connections are accepted and kept.
    fn endpoint(&self, pod: u64, endpoint: u8) -> Endpoint {
        let neighbours: Arc<dyn Neighbours> = Arc::clone(&self.fleet) as _;
        let config = endpoint_config(&self.keys, ConnectionOrigin { pod, endpoint }, &neighbours).unwrap();
        let server = server_config(self.tls.clone(), &EndpointSettings::default()).unwrap();
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into(), 64 << 10).unwrap();
        let endpoint = Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime)).unwrap();
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(incoming) = accepting.accept().await {
                kept.push(incoming.await);
            }
        });
        endpoint
    }

    async fn call(&self, server: &Endpoint) -> Caller {
        let server = server.local_addr().unwrap();
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        back.connect(server).await.unwrap();
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let packet: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (own, seen) = (Arc::clone(&front), Arc::clone(&packet));
        let way = tokio::spawn(async move {
            let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
            loop {
                tokio::select! {
                    Ok((length, _)) = own.recv_from(&mut up) => {
                        // A short header: the packet of an established connection.
                        if up[0] & 0x80 == 0 {
                            *seen.lock().unwrap() = up[..length].to_vec();
                        }
                        let _ = back.send(&up[..length]).await;
                    }
                    Ok(length) = back.recv(&mut down) => {
                        let _ = own.send_to(&down[..length], address).await;
                    }
                }
            }
        });
        let connecting = endpoint.connect_with(self.trusting.clone(), front.local_addr().unwrap(), "localhost");
        let connection = timeout(SOON, connecting.unwrap()).await.unwrap().unwrap();
        let caller = Caller { connection, front, address, packet, way, _endpoint: endpoint };
        caller.says_something().await;
        caller
    }

    fn strays(&self) -> Vec<StrayPacket> {
        std::mem::take(&mut *self.fleet.strays.lock().unwrap())
    }
}

impl Caller {
    /// Sends until the server has acknowledged it: the connection lives, and a packet of it was seen.
    async fn says_something(&self) {
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.finish().unwrap();
        let acknowledged = timeout(SOON, stream.stopped()).await.expect("an acknowledgement in time");
        assert_eq!(acknowledged.unwrap(), None, "the stream is not stopped");
        assert!(!self.packet.lock().unwrap().is_empty());
    }

    /// A packet of the connection, as long as one that carries a message.
    fn packet(&self) -> Vec<u8> {
        let mut packet = self.packet.lock().unwrap().clone();
        packet.resize(packet.len().max(100), 0);
        packet
    }

    /// An answer comes to the client on its way.
    async fn hears(&self, answer: &[u8]) {
        self.front.send_to(answer, self.address).await.unwrap();
    }
}

/// Sends packets to an endpoint, then one of an unknown version, which is always answered; all answers until that one. The loopback
/// keeps the order of packets, and quinn that of its answers.
async fn answers(endpoint: &Endpoint, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(endpoint.local_addr().unwrap()).await.unwrap();
    let mut probe = vec![0; 1_200];
    probe[..7].copy_from_slice(&[0xc0, 0xba, 0xba, 0xba, 0xba, 8, 1]);
    for packet in packets.iter().chain([&probe]) {
        socket.send(packet).await.unwrap();
    }
    let mut answers = Vec::new();
    loop {
        let mut answer = [0; 2_048];
        let length = timeout(SOON, socket.recv(&mut answer)).await.expect("an answer in time").unwrap();
        if answer[0] & 0x80 != 0 && answer[1..5] == [0; 4] {
            return answers;
        }
        answers.push(answer[..length].to_vec());
    }
}

fn token(answer: &[u8]) -> &[u8] {
    &answer[answer.len() - TOKEN..]
}

#[tokio::test]
async fn a_living_pods_connection_is_not_reset_by_its_neighbour_and_a_dead_ones_is_at_once() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1, 0), net.endpoint(2, 0));
    let caller = net.call(&a).await;
    let packet = caller.packet();
    assert!(answers(&b, &[packet.clone(), packet.clone(), packet.clone()]).await.is_empty(), "the pod lives");
    assert_eq!(net.strays(), [StrayPacket::Living; 3]);
    caller.says_something().await;
    net.fleet.left.lock().unwrap().insert(1);
    let resets = answers(&b, std::slice::from_ref(&packet)).await;
    assert_eq!((resets.len(), net.strays()), (1, vec![StrayPacket::Reset]), "one packet, one answer");
    assert!(resets[0].len() < packet.len());
    caller.hears(&resets[0]).await;
    assert!(matches!(timeout(SOON, caller.connection.closed()).await.unwrap(), ConnectionError::Reset));
    caller.way.abort();
}

/// All of a dead pod's clients come at once: none waits for the others.
#[tokio::test]
async fn many_are_answered_in_one_moment() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1, 0), net.endpoint(2, 0));
    let caller = net.call(&a).await;
    net.fleet.left.lock().unwrap().insert(1);
    let packets = vec![caller.packet(); 50];
    assert_eq!(answers(&b, &packets).await.len(), packets.len());
}

#[tokio::test]
async fn an_endpoint_resets_for_no_other_of_its_pod() {
    let net = Net::new();
    let (one, other) = (net.endpoint(1, 0), net.endpoint(1, 1));
    let caller = net.call(&one).await;
    net.fleet.left.lock().unwrap().insert(1);
    assert!(answers(&other, &[caller.packet()]).await.is_empty());
    assert_eq!(net.strays(), [StrayPacket::Living]);
    caller.says_something().await;
}

/// An endpoint without a server's configuration answers an Initial for anything with a reset, and asks no generator.
#[tokio::test]
async fn an_initial_at_an_endpoint_that_takes_none_does_not_get_a_living_pods_token() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1, 0), net.endpoint(2, 0));
    let caller = net.call(&a).await;
    b.set_server_config(None);
    let mut initial = vec![0; 1_200];
    initial[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, CONNECTION_ID_LENGTH as u8]);
    initial[6..6 + CONNECTION_ID_LENGTH].copy_from_slice(&caller.packet()[1..=CONNECTION_ID_LENGTH]);
    // No source ID, no token, and the length of what is left.
    let rest = 6 + CONNECTION_ID_LENGTH;
    let length = (1_200 - rest - 4) as u16 | 0x4000;
    initial[rest + 2..rest + 4].copy_from_slice(&length.to_be_bytes());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(b.local_addr().unwrap()).await.unwrap();
    socket.send(&initial).await.unwrap();
    let mut answer = [0; 2_048];
    let length = timeout(SOON, socket.recv(&mut answer)).await.expect("quinn answers").unwrap();
    caller.hears(&answer[..length]).await;
    caller.says_something().await;
    // What the true one would have been.
    b.set_server_config(Some(server_config(net.tls.clone(), &EndpointSettings::default()).unwrap()));
    net.fleet.left.lock().unwrap().insert(1);
    let resets = answers(&b, &[caller.packet()]).await;
    assert_ne!(token(&resets[0]), token(&answer[..length]));
}

#[tokio::test]
async fn a_key_that_was_replaced_still_resets_and_one_that_was_forgotten_does_not() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1, 0), net.endpoint(2, 0));
    let caller = net.call(&a).await;
    net.fleet.left.lock().unwrap().insert(1);
    net.keys.renew(&[[8; 32]]).unwrap();
    assert!(answers(&b, &[caller.packet()]).await.is_empty());
    assert_eq!(net.strays(), [StrayPacket::Unknown]);
    net.keys.renew(&[[8; 32], [7; 32]]).unwrap();
    let resets = answers(&b, &[caller.packet()]).await;
    caller.hears(&resets[0]).await;
    assert!(matches!(timeout(SOON, caller.connection.closed()).await.unwrap(), ConnectionError::Reset));
}
