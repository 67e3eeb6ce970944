//! Which clients over QUIC are let in, by their addresses, before and after these are proved.

use std::net::Ipv4Addr;

use futures_util::future::join_all;
use quinn::{ConnectionError, Endpoint, VarInt};
use roomcast::testing::{config::Network, pod::Pod, protocol::SUBPROTOCOL};
use tokio::time::timeout;
use web_transport_quinn::{Session, proto::ConnectRequest};

use super::{
    client::{Page, ask, code, endpoint},
    first_packet,
};
use crate::harness::{SOON, get, pod};

/// Another address of this machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A metric's value; what it is of stands behind its name.
async fn metric(pod: &Pod, name: &str) -> u64 {
    let (_, metrics) = get(pod, "/metrics").await;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value).unwrap_or_else(|| panic!("{name} in {metrics}"))
}

async fn of_quic(pod: &Pod, result: &str) -> u64 {
    metric(pod, &format!("roomcast_handshakes_total{{stage=\"quic\",result=\"{result}\"}}")).await
}

async fn refused_by_address(pod: &Pod) -> u64 {
    metric(pod, "roomcast_limit_refused_total{limit=\"addresses\"}").await
}

/// Makes a connection from an address, and no session.
async fn connect(pod: &Pod, from: Ipv4Addr) -> Result<(Endpoint, quinn::Connection), ConnectionError> {
    let (_, config) = endpoint(|_| {});
    let endpoint = Endpoint::client((from, 0).into()).unwrap();
    let connecting = endpoint.connect_with(config, pod.addresses().quic[0], "localhost").unwrap();
    let connection = timeout(SOON, connecting).await.expect("an end in time")?;
    Ok((endpoint, connection))
}

fn is_refusal(end: &ConnectionError) -> bool {
    let ConnectionError::ConnectionClosed(close) = end else { return false };
    close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED
}

/// First packets may say that they come from anywhere: they cost the address a round trip, and do not lock it out.
#[tokio::test]
async fn what_comes_in_an_addresss_name_does_not_lock_it_out() {
    let pod = pod(|settings| {
        (settings.addresses.handshakes_per_second, settings.addresses.handshake_burst) = (Some(1), 2);
    });
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut packets = Vec::new();
    for _ in 0..40 {
        packets.push(first_packet().await);
    }
    for packet in &packets {
        stranger.send_to(packet, pod.addresses().quic[0]).await.unwrap();
    }
    let page = Page::connect(pod.addresses().quic[0]).await;
    assert!(of_quic(&pod, "retried").await > 0, "more than two did not begin a handshake");
    assert_eq!((of_quic(&pod, "refused").await, refused_by_address(&pod).await), (0, 0));
    drop(page);
    pod.stop();
}

#[tokio::test]
async fn an_address_that_is_proved_has_its_rate_and_another_has_its_own() {
    let pod = pod(|settings| {
        (settings.addresses.handshakes_per_second, settings.addresses.handshake_burst) = (Some(1), 2);
    });
    let all = join_all((0..30).map(|_| connect(&pod, Ipv4Addr::LOCALHOST))).await;
    let (came, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert!(!came.is_empty() && !refused.is_empty(), "{} came, {} did not", came.len(), refused.len());
    for end in refused.iter().filter_map(|end| end.as_ref().err()) {
        assert!(is_refusal(end), "it is told at once: {end:?}");
    }
    assert!(of_quic(&pod, "retried").await > 0);
    // A first packet may come twice.
    assert!(refused_by_address(&pod).await >= refused.len() as u64);
    connect(&pod, ELSEWHERE).await.expect("another address has its own rate");
    drop(came);
    pod.stop();
}

#[tokio::test]
async fn an_address_has_so_many_sessions_and_another_has_its_own() {
    let pod = pod(|settings| settings.addresses.max_connections = Some(1));
    let address = pod.addresses().quic[0];
    let page = Page::connect(address).await;
    let (_endpoint, session) = ask(address, "/wt", &[], |_| {}).await.expect("it is accepted to be told");
    assert_eq!(code(&timeout(SOON, session.closed()).await.unwrap()), Some(1013));
    assert_eq!(refused_by_address(&pod).await, 1);
    let of_upgrades = async |result| {
        metric(&pod, &format!("roomcast_handshakes_total{{stage=\"upgrade\",result=\"{result}\"}}")).await
    };
    assert_eq!((of_upgrades("address").await, of_upgrades("full").await), (1, 0));
    let (endpoint, connection) = connect(&pod, ELSEWHERE).await.unwrap();
    let url = url::Url::parse(&format!("https://127.0.0.1:{}/wt", address.port())).unwrap();
    let request = ConnectRequest::new(url).with_protocol(SUBPROTOCOL);
    let session = timeout(SOON, Session::connect(connection, request)).await.unwrap().unwrap();
    let mut other = Page::begin(endpoint, session).await;
    assert_eq!(other.reply().await["type"], "welcome");
    drop(page);
    pod.stop();
}

#[tokio::test]
async fn a_network_that_may_not_come_is_refused_before_tls_and_so_is_all_at_the_end() {
    let pod = pod(|settings| settings.addresses.deny = vec![Network::parse("127.0.0.2").unwrap()]);
    let end = connect(&pod, ELSEWHERE).await.err().unwrap();
    assert!(is_refusal(&end), "{end:?}");
    assert_eq!((of_quic(&pod, "refused").await, refused_by_address(&pod).await), (1, 1));
    let (_endpoint, connection) = connect(&pod, Ipv4Addr::LOCALHOST).await.unwrap();
    pod.services().gate.drain();
    let end = connect(&pod, Ipv4Addr::LOCALHOST).await.err().unwrap();
    assert!(is_refusal(&end), "a client that comes now need not wait: {end:?}");
    connection.close(VarInt::from_u32(0), b"");
    pod.stop();
}

/// Handshakes that are under way have a limit, which the metrics show.
#[tokio::test]
async fn handshakes_under_way_are_shown_and_end() {
    let pod = pod(|settings| settings.timeouts.tls = std::time::Duration::from_secs(600));
    let limit = "roomcast_limit_used{limit=\"quic_handshakes\"}";
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        stranger.send_to(&first_packet().await, pod.addresses().quic[0]).await.unwrap();
    }
    let began = std::time::Instant::now();
    while metric(&pod, limit).await != 3 {
        assert!(began.elapsed() < SOON, "three handshakes are under way");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let page = Page::connect(pod.addresses().quic[0]).await;
    assert_eq!(metric(&pod, limit).await, 3, "a session is no handshake");
    drop(page);
    pod.stop();
}
