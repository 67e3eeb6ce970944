//! A client's way to pods over UDP, as a cluster's network is one: it leads to one pod, and then to another.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

use crate::harness::SOON;

/// The way of one client.
pub struct UdpWay {
    /// Where the client finds the pod.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    front: UdpSocket,
    back: UdpSocket,
    leads_to: Mutex<SocketAddr>,
    client: Mutex<Option<SocketAddr>>,
    /// The newest packet of an established connection.
    packet: Mutex<Vec<u8>>,
}

impl UdpWay {
    pub async fn to(pod: SocketAddr) -> Self {
        let socket = || UdpSocket::bind("127.0.0.1:0");
        let shared = Arc::new(Shared {
            front: socket().await.unwrap(),
            back: socket().await.unwrap(),
            leads_to: Mutex::new(pod),
            client: Mutex::default(),
            packet: Mutex::default(),
        });
        let address = shared.front.local_addr().unwrap();
        Self { address, task: tokio::spawn(Arc::clone(&shared).carry()), shared }
    }

    /// Leads to another pod from now on.
    pub fn lead_to(&self, pod: SocketAddr) {
        *self.shared.leads_to.lock().unwrap() = pod;
    }

    /// A packet of the client's connection, as long as one that carries a message.
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = self.shared.packet.lock().unwrap().clone();
        assert!(!packet.is_empty(), "the client has said something");
        packet.resize(packet.len().max(100), 0);
        packet
    }

    /// Has the client hear an answer.
    pub async fn tell(&self, answer: &[u8]) {
        let client = self.shared.client.lock().unwrap().expect("the client has said something");
        self.shared.front.send_to(answer, client).await.unwrap();
    }
}

impl Drop for UdpWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn carry(self: Arc<Self>) {
        let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
        loop {
            tokio::select! {
                Ok((length, client)) = self.front.recv_from(&mut up) => {
                    *self.client.lock().unwrap() = Some(client);
                    // A short header.
                    if up[0] & 0x80 == 0 {
                        *self.packet.lock().unwrap() = up[..length].to_vec();
                    }
                    let pod = *self.leads_to.lock().unwrap();
                    let _ = self.back.send_to(&up[..length], pod).await;
                }
                // Nothing listens any more where a packet was sent to: that is an error too.
                answer = self.back.recv(&mut down) => {
                    let client = *self.client.lock().unwrap();
                    if let (Ok(length), Some(client)) = (answer, client) {
                        let _ = self.front.send_to(&down[..length], client).await;
                    }
                }
            }
        }
    }
}

/// Sends packets to a pod, then one of an unknown version, which each pod answers; the answers before that one. The loopback keeps the order
/// of packets, and the pod that of its answers.
pub async fn answers(pod: SocketAddr, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(pod).await.unwrap();
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
