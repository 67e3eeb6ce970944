//! WebSockets as a client opens them: the upgrade, deflate, origins, latency, and how long silence is borne.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::{
    exchange::{HttpAnswer, begin},
    finding::Findings,
    target::{DoctorTarget, PATIENCE},
};
use crate::{cli::dial::Socket, model::Disconnect, protocol::SUBPROTOCOL};

/// An origin that no page has (RFC 2606 section 2).
const FOREIGN: &str = "https://doctor.invalid";

/// How often the round trip is measured.
const PINGS: usize = 10;

/// A round trip above it is felt.
const FAR: Duration = Duration::from_millis(300);

/// What became of a request for a WebSocket.
struct Asked {
    answer: HttpAnswer,
    /// If it was granted.
    socket: Option<Socket>,
    /// The server has shown that it read this request's key.
    is_proved: bool,
}

async fn ask(target: &DoctorTarget, origin: Option<&str>) -> Result<Asked, String> {
    let mut line = target.connect().await.map_err(|error| error.to_string())?;
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    let key = BASE64_STANDARD.encode(key);
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    let request = format!(
        "{}{origin}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n",
        target.request(&target.path)
    );
    let mut answer = begin(&mut line, &request).await?;
    let is_proved = answer.header("sec-websocket-accept") == Some(&derive_accept_key(key.as_bytes()));
    let socket = if answer.status == 101 {
        let ahead = std::mem::take(&mut answer.body);
        Some(WebSocketStream::from_partially_read(line.stream, ahead, Role::Client, None).await)
    } else {
        None
    };
    Ok(Asked { answer, socket, is_proved })
}

/// The upgrade and what it agrees on. `false`: there is no WebSocket.
pub(super) async fn check_upgrade(target: &DoctorTarget, findings: &mut Findings) -> bool {
    let asked = match ask(target, None).await {
        Ok(asked) => asked,
        Err(why) => {
            findings.fail(
                "upgrade",
                why,
                "look what between here and the pod closes connections that ask for a WebSocket",
            );
            return false;
        }
    };
    let Asked { answer, socket, is_proved } = asked;
    if socket.is_none() {
        refused(target, &answer, findings);
        return false;
    }
    if !is_proved {
        let change =
            "let the proxy pass Sec-WebSocket-Key and Sec-WebSocket-Accept as they are: browsers refuse this answer";
        findings.fail("upgrade", "`Sec-WebSocket-Accept` is missing or wrong", change);
        return false;
    }
    if answer.lines("sec-websocket-protocol").ne([SUBPROTOCOL]) {
        let change = "let the proxy pass Sec-WebSocket-Protocol; browsers refuse the answer without it";
        findings.fail("upgrade", format!("the subprotocol {SUBPROTOCOL} was not agreed on"), change);
        return false;
    }
    findings.ok("upgrade", format!("a WebSocket opens on {}", target.path));
    match answer.header("sec-websocket-extensions") {
        Some(extension) if extension.contains("permessage-deflate") => findings.ok("deflate", extension),
        _ => findings.warn(
            "deflate",
            "permessage-deflate was not agreed on: broadcasts go uncompressed",
            "let the proxy pass Sec-WebSocket-Extensions both ways, and leave `compression.enabled` of the pod on",
        ),
    }
    true
}

fn refused(target: &DoctorTarget, answer: &HttpAnswer, findings: &mut Findings) {
    let says = format!("the answer is {}: {}", answer.status, answer.sentence());
    match answer.status {
        // The pod answers that to a request without `Upgrade`.
        426 => findings.fail(
            "upgrade",
            "the pod got the request without its `Upgrade`",
            "let the proxy pass it on: nginx wants proxy_http_version 1.1 and the headers Upgrade and Connection set, \
             other proxies have a switch for WebSockets",
        ),
        401 if target.token.is_none() => {
            findings.warn(
                "upgrade",
                "the pod wants a token, so that nothing is known of what follows",
                "pass one: --token TOKEN",
            );
        }
        401 => findings.fail("upgrade", says, "pass a good token: `roomcast token check` says what is wrong with one"),
        404 => {
            findings.fail("upgrade", says, "give the whole URL of the WebSocket, or let the proxy pass this path on")
        }
        503 => findings.fail("upgrade", says, "the pod is full or goes: `roomcast stats` shows which limit refuses"),
        _ => findings.fail("upgrade", says, "look at what lies between: is this path a WebSocket's there?"),
    }
}

/// Whether pages of others are kept out. That those of `own` are let in is seen by the upgrade.
pub(super) async fn check_origins(target: &DoctorTarget, own: Option<&str>, findings: &mut Findings) {
    match ask(target, Some(FOREIGN)).await.map(|asked| asked.answer.status) {
        Ok(403) => findings.ok("origin", "a page of another origin is refused"),
        Ok(101) => findings.warn(
            "origin",
            format!("a page of any origin may connect ({FOREIGN} may)"),
            "list the origins of your pages in `origins`, unless any page on the Internet may act for its visitors",
        ),
        Ok(401) => findings.warn(
            "origin",
            "without a token it cannot be told whether foreign pages are refused",
            "pass one: --token TOKEN",
        ),
        Ok(status) => findings.warn(
            "origin",
            format!("a foreign page is answered {status}"),
            "look what answers so: a pod says 403",
        ),
        Err(why) => findings.warn("origin", why, "run this again: is a limit by address reached?"),
    }
    match own {
        Some(own) => match ask(target, Some(own)).await.map(|asked| asked.answer.status) {
            Ok(101) => findings.ok("own-origin", format!("pages of {own} may connect")),
            Ok(401) if target.token.is_none() => {
                findings.warn("own-origin", "without a token it cannot be told", "pass one: --token TOKEN");
            }
            Ok(status) => findings.fail(
                "own-origin",
                format!("pages of {own} are answered {status}"),
                format!("add {own} to `origins`"),
            ),
            Err(why) => findings.fail("own-origin", why, "run this again: is a limit by address reached?"),
        },
        None => findings.warn(
            "own-origin",
            "not tested: whether your pages may connect",
            "pass their origin: --origin https://app.example.com",
        ),
    }
}

/// The round trip of the protocol's own ping, through everything that lies between; then silence.
pub(super) async fn check_line(target: &DoctorTarget, idle: Duration, findings: &mut Findings) {
    // A new one: what ends silent connections would have ended one that waited for the other checks.
    let mut socket = match ask(target, None).await {
        Ok(Asked { socket: Some(socket), .. }) => socket,
        other => {
            let why = other.map_or_else(|why| why, |asked| format!("the answer is {}", asked.answer.status));
            let change = "run this again: is a limit by address reached, or is one pod of several not as the others?";
            return findings.fail("latency", format!("a second WebSocket does not open: {why}"), change);
        }
    };
    let mut interval = None;
    let mut trips = Vec::new();
    for _ in 0..PINGS {
        match trip(&mut socket, &mut interval).await {
            Ok(took) => trips.push(took),
            Err(why) => {
                let change = "look what between ends or buffers WebSockets, and at the pod's log of disconnects";
                return findings.fail("latency", why, change);
            }
        }
    }
    trips.sort();
    let (median, most) = (trips[PINGS / 2], trips[PINGS - 1]);
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let says = format!("a round trip takes {:.1} ms, the longest of {PINGS} {:.1} ms", ms(median), ms(most));
    if median > FAR {
        findings.warn(
            "latency",
            says,
            "run pods nearer to their clients: a region that is nearer, or a pod at the edge",
        );
    } else {
        findings.ok("latency", says);
    }
    silence(&mut socket, idle, interval, findings).await;
}

async fn trip(socket: &mut Socket, interval: &mut Option<Duration>) -> Result<Duration, String> {
    let began = Instant::now();
    let lost = |error| format!("the connection is lost: {error}");
    socket.send(Message::text(r#"{"type":"ping"}"#)).await.map_err(lost)?;
    let answer = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_default();
                    match message["type"].as_str() {
                        Some("pong") => return Ok(began.elapsed()),
                        Some("welcome") => *interval = message["ping_interval"].as_u64().map(Duration::from_millis),
                        Some("error") => return Err(format!("the pod says {}", message["message"])),
                        _ => {}
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    return Err(closed(close.map(|close| (close.code.into(), close.reason.to_string()))));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(error)),
                None => return Err(closed(None)),
            }
        }
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(format!("no pong within {PATIENCE:?}")))
}

fn closed(close: Option<(u16, String)>) -> String {
    match close {
        Some((code, reason)) => format!("the connection is closed: {code} {reason}"),
        None => "the connection is closed without a word".to_owned(),
    }
}

/// Says nothing for a while. The pod's own pings come in between, as they do for every client.
async fn silence(socket: &mut Socket, idle: Duration, interval: Option<Duration>, findings: &mut Findings) {
    let began = Instant::now();
    let ended = timeout(idle, async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(close))) => return close.map(|close| close.code.into()),
                Some(Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    })
    .await;
    if ended == Ok(Some(Disconnect::Unauthorized.code())) {
        let says = "a client that shows no token is not kept, so that longer silence cannot be tested";
        return findings.warn("idle", says, "pass one: --token TOKEN");
    }
    let pings = interval.map(|interval| format!("{interval:?}")).unwrap_or_else(|| "`timeouts.ping`".to_owned());
    let change = format!(
        "raise the idle time-out of the balancer or proxy well above {pings}, in which the pod pings, or lower `timeouts.ping` below it"
    );
    let waited = began.elapsed().as_secs_f64();
    if ended.is_ok() {
        return findings.fail("idle", format!("a silent connection is ended after {waited:.1} s"), change);
    }
    if let Err(why) = trip(socket, &mut None).await {
        return findings.fail("idle", format!("after {waited:.0} s of silence nothing comes through: {why}"), change);
    }
    if interval.is_some_and(|interval| idle < interval * 2) {
        let longer = interval.unwrap_or_default() * 3;
        let says = format!(
            "a connection that is silent for {idle:?} stays; longer was not tested (the pod pings every {pings})"
        );
        return findings.ok("idle", format!("{says}: --idle {}s", longer.as_secs()));
    }
    findings.ok("idle", format!("a connection that is silent for {idle:?} stays; the pod pings every {pings}"));
}
