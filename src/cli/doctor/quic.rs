//! WebTransport: whether it is offered, and whether UDP gets there.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{ClientConfig, Endpoint, crypto::rustls::QuicClientConfig};
use serde_json::Value;
use tokio::time::timeout;

use super::{exchange::exchange, finding::Findings, target::DoctorTarget};

/// A handshake that takes longer is given up, as clients do.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the pod whether it offers WebTransport, and shakes hands where it does.
pub(super) async fn check_quic(target: &DoctorTarget, addresses: &[SocketAddr], findings: &mut Findings) {
    if !target.is_secure() {
        return findings.ok("webtransport", "not tested: it needs an https or wss URL");
    }
    let Some(announced) = announced(target).await else {
        return findings.ok("webtransport", "not offered");
    };
    // Browsers use the port of the URL; a pod behind a balancer announces its own.
    let mut ports = vec![target.port, announced];
    ports.dedup();
    let mut failures = Vec::new();
    for port in ports {
        for address in addresses {
            match handshake(target, SocketAddr::new(address.ip(), port)).await {
                Ok(took) if port == target.port => {
                    let says = format!("QUIC answers on UDP port {port}, in {:.1} ms", took.as_secs_f64() * 1_000.0);
                    return findings.ok("webtransport", says);
                }
                Ok(_) => {
                    let says =
                        format!("QUIC answers on UDP port {port}, and clients of this URL ask port {}", target.port);
                    let change = "publish UDP under the same port number as TCP: clients make the address from the URL";
                    return findings.warn("webtransport", says, change);
                }
                Err(why) => failures.push(format!("{}:{port}: {why}", address.ip())),
            }
        }
    }
    let change = "open the UDP port with TCP's number in the firewall, and give the balancer a UDP listener; or switch `webtransport.enabled` off";
    findings.warn("webtransport", format!("it is offered and UDP does not get there: {}", failures.join("; ")), change);
}

/// The UDP port of the pod, if it offers WebTransport.
async fn announced(target: &DoctorTarget) -> Option<u16> {
    let mut line = target.connect().await.ok()?;
    let request = format!("{}Connection: close\r\n\r\n", target.request("/certificate-hashes"));
    let answer = exchange(&mut line, &request).await.ok().filter(|answer| answer.status == 200)?;
    let said: Value = serde_json::from_slice(&answer.body).ok()?;
    said["port"].as_u64().and_then(|port| u16::try_from(port).ok())
}

async fn handshake(target: &DoctorTarget, address: SocketAddr) -> Result<Duration, String> {
    let mut tls = (*target.tls().ok_or("there is no TLS")?).clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
    let own: SocketAddr = if address.is_ipv6() { ([0; 8], 0).into() } else { ([0; 4], 0).into() };
    let endpoint = Endpoint::client(own).map_err(|error| error.to_string())?;
    let config = ClientConfig::new(Arc::new(crypto));
    let began = std::time::Instant::now();
    let connecting = endpoint.connect_with(config, address, &target.host).map_err(|error| error.to_string())?;
    let connected = timeout(PATIENCE, connecting).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let connection = connected.map_err(|error| error.to_string())?;
    let took = began.elapsed();
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(took)
}
