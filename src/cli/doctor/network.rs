//! The way to the listener: names, addresses, TLS.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use roomcast_certs::expires_at;
use rustls::ProtocolVersion;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    exchange::exchange,
    finding::Findings,
    target::{DoctorTarget, LineError, PATIENCE, TlsFacts},
};

/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;

/// A certificate with fewer days left is about to be forgotten.
const DAYS: u64 = 14;

/// Names and addresses. `None`: there is no way to the listener.
pub(super) async fn reach(target: &DoctorTarget, findings: &mut Findings) -> Option<Vec<SocketAddr>> {
    let looked = timeout(PATIENCE, lookup_host((target.host.as_str(), target.port))).await;
    let mut addresses: Vec<SocketAddr> = match looked {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            let change = "make an A or AAAA record for it, or mend the name in the URL";
            findings.fail("dns", format!("{} has no address: {error}", target.host), change);
            return None;
        }
        Err(_) => {
            findings.fail("dns", format!("no answer within {PATIENCE:?}"), "look at the resolver of this machine");
            return None;
        }
    };
    addresses.sort();
    addresses.dedup();
    let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.ok("dns", format!("{} is {}", target.host, shown.join(", ")));
    addresses.truncate(MOST_ADDRESSES);
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    let mut fastest = PATIENCE;
    for address in addresses {
        let began = Instant::now();
        match timeout(Duration::from_secs(3), TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                fastest = fastest.min(began.elapsed());
                open.push(address);
            }
            Ok(Err(error)) => closed.push(format!("{address}: {error}")),
            Err(_) => closed.push(format!("{address}: no answer within 3 s")),
        }
    }
    let change = "open the port in the firewall or security group, and look whether the balancer has a listener on it";
    match (open.is_empty(), closed.is_empty()) {
        (true, _) => {
            findings.fail("tcp", closed.join("; "), change);
            return None;
        }
        (false, true) => {
            let ms = fastest.as_secs_f64() * 1_000.0;
            findings.ok("tcp", format!("port {} is open, in {ms:.1} ms", target.port));
        }
        (false, false) => {
            let change =
                format!("{change}; or take the addresses that do not answer out of the DNS: clients try them first");
            findings.warn("tcp", closed.join("; "), change);
        }
    }
    Some(open)
}

/// Version, chain, days left, resumption. `false`: there is no TLS with it.
pub(super) async fn check_tls(target: &DoctorTarget, findings: &mut Findings) -> bool {
    if !target.is_secure() {
        let says = "there is none: what clients send can be read and changed on its way";
        findings.warn(
            "tls",
            says,
            "give clients an https or wss URL; plain listeners are for what ends TLS before the pod",
        );
        return true;
    }
    let mut connected = target.connect().await;
    if let Err(distrust @ LineError::Distrust(error)) = &connected {
        findings.fail("certificate", distrust.to_string(), distrusted(error));
        target.distrust();
        connected = target.connect().await;
    }
    let mut line = match connected {
        Ok(line) => line,
        Err(error) => {
            let change = "look whether this port speaks TLS at all, and TLS 1.2 or 1.3";
            findings.fail("tls", error.to_string(), change);
            return false;
        }
    };
    if let Some(facts) = &line.tls {
        judge(facts, findings);
    }
    // Tickets come with the first answer, under TLS 1.3 behind the handshake.
    let request = format!("{}Connection: close\r\n\r\n", target.request("/accepting"));
    let _ = exchange(&mut line, &request).await;
    drop(line);
    match target.connect().await.ok().and_then(|line| line.tls).map(|tls| tls.resumed) {
        Some(true) => findings.ok("resumption", "a client that comes back resumes its session"),
        Some(false) => findings.warn(
            "resumption",
            "a client that comes back needs a whole handshake",
            "let all pods have the same `tls.ticket_keys`; where a balancer ends TLS, switch session tickets on there",
        ),
        None => findings.warn(
            "resumption",
            "the second connection could not be made",
            "run this again: is it the balancer?",
        ),
    }
    true
}

fn judge(facts: &TlsFacts, findings: &mut Findings) {
    match facts.version {
        Some(ProtocolVersion::TLSv1_3) => findings.ok("tls", "TLS 1.3"),
        Some(version) => {
            let change = "let what ends TLS offer 1.3: a handshake is a round trip shorter";
            findings.warn("tls", format!("{version:?}"), change);
        }
        None => {}
    }
    let Some(left) = facts.leaf.as_ref().and_then(|leaf| expires_at(leaf).ok()) else { return };
    let renew = "renew it: does what renews it still run, and does the pod read the new file?";
    match left.duration_since(SystemTime::now()).map(|left| left.as_secs() / 86_400) {
        Ok(days) if days >= DAYS => {
            findings.ok("expiry", format!("the certificate has {days} days left; {} in its chain", facts.chain));
        }
        Ok(days) => findings.warn("expiry", format!("the certificate has {days} days left"), renew),
        Err(_) => findings.fail("expiry", "the certificate has expired", renew),
    }
}

/// What to do about a certificate that is not believed.
fn distrusted(error: &rustls::Error) -> String {
    use rustls::CertificateError as Why;
    let rustls::Error::InvalidCertificate(why) = error else { return "look at the certificate".to_owned() };
    match why {
        Why::Other(_) => {
            "serve a certificate of a server (CA:FALSE, with a subjectAltName); one of your own that is an authority's is trusted by --ca FILE here"
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            "serve a certificate that names this host, or give clients a name that it has"
        }
        Why::Expired | Why::ExpiredContext { .. } => "renew the certificate, and look why it was not",
        Why::NotValidYet | Why::NotValidYetContext { .. } => "set the clock of this machine, or of what made the certificate",
        Why::UnknownIssuer => {
            "serve the whole chain, intermediate certificates too; if the authority is your own, clients must trust it (--ca FILE here)"
        }
        _ => "serve a certificate that browsers take",
    }
    .to_owned()
}
