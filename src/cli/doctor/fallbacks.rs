//! What clients fall back to: long-polls and event streams.

use std::time::{Duration, Instant};

use super::{
    exchange::{HttpAnswer, begin, exchange, read_until},
    finding::Findings,
    target::{DoctorTarget, Line},
};

/// Bytes of a stream that come later were held back.
const PROMPT: Duration = Duration::from_secs(3);

fn request(target: &DoctorTarget, path: &str, room: &str, accept: &str) -> String {
    let room: String = form_urlencoded::byte_serialize(room.as_bytes()).collect();
    // A client that takes compression: only a proxy would compress, because the pod does not.
    let more = format!("Accept: {accept}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    format!("{}{more}", target.request(&format!("{path}?room={room}")))
}

async fn line(target: &DoctorTarget) -> Result<Line, String> {
    target.connect().await.map_err(|error| error.to_string())
}

/// One poll and one stream, in a room.
pub(super) async fn check_fallbacks(target: &DoctorTarget, room: &str, findings: &mut Findings) {
    let polled =
        async { exchange(&mut line(target).await?, &request(target, "/poll", room, "application/json")).await };
    match polled.await {
        Ok(answer) if answer.status == 200 => {
            let is_poll = serde_json::from_slice::<serde_json::Value>(&answer.body);
            if is_poll.is_ok_and(|body| body["cursor"].is_string()) {
                findings.ok("long-poll", "a poll is answered");
            } else if answer.header("content-encoding").is_some() {
                compressed("long-poll", findings);
            } else {
                let change = "let the proxy pass /poll on to the pod, and cache nothing of it";
                findings.fail("long-poll", format!("something else answers: {}", answer.sentence()), change);
            }
        }
        Ok(answer) => refused("long-poll", target, &answer, findings),
        Err(why) => findings.fail(
            "long-poll",
            why,
            "let the proxy pass /poll on, and wait longer than `timeouts.poll` for its answer",
        ),
    }
    match stream(target, room).await {
        Ok((answer, _)) if answer.status != 200 => refused("event-stream", target, &answer, findings),
        Ok((answer, _)) if answer.header("content-encoding").is_some() => compressed("event-stream", findings),
        Ok((answer, took)) => {
            let kind = answer.header("content-type").unwrap_or_default();
            if !kind.starts_with("text/event-stream") {
                let change = "let the proxy pass /events on to the pod as it is";
                findings.fail("event-stream", format!("the answer is {kind:?}, which no EventSource takes"), change);
            } else if took > PROMPT {
                findings.fail("event-stream", format!("its first event came after {took:.1?}"), BUFFERS);
            } else {
                findings.ok("event-stream", "a stream begins at once");
            }
        }
        Err(why) => findings.fail("event-stream", format!("its first event does not come: {why}"), BUFFERS),
    }
}

const BUFFERS: &str = "switch buffering of answers off in the proxy (nginx: proxy_buffering off): it holds events back";

/// Begins a stream. Returns its head and how long its first bytes took.
async fn stream(target: &DoctorTarget, room: &str) -> Result<(HttpAnswer, Duration), String> {
    let mut line = line(target).await?;
    let began = Instant::now();
    let mut answer = begin(&mut line, &request(target, "/events", room, "text/event-stream")).await?;
    if answer.status == 200 {
        let first = |body: &[u8]| body.windows(5).any(|bytes| bytes == b"data:") || body.starts_with(&[0x1f, 0x8b]);
        if answer.header("content-encoding").is_none() {
            read_until(&mut line, &mut answer, first).await?;
        }
    }
    Ok((answer, began.elapsed()))
}

fn compressed(check: &'static str, findings: &mut Findings) {
    findings.fail(
        check,
        "something between compresses it, and the pod does not: what it holds back comes late, and a secret beside a client's own text can be guessed",
        "switch compression off in the proxy for /poll and /events",
    );
}

fn refused(check: &'static str, target: &DoctorTarget, answer: &HttpAnswer, findings: &mut Findings) {
    let says = format!("the answer is {}: {}", answer.status, answer.sentence());
    match answer.status {
        401 if target.token.is_none() => findings.warn(check, "the pod wants a token", "pass one: --token TOKEN"),
        401 => findings.fail(check, says, "pass a good token"),
        403 => findings.warn(check, says, "name a room that this client may join: --room ROOM"),
        404 => findings.fail(check, says, "let the proxy pass /poll and /events on to the pod"),
        503 => findings.fail(check, says, "the pod is full or goes: `roomcast stats` shows which limit refuses"),
        _ => findings.fail(check, says, "look at what lies between: this is not a pod's answer"),
    }
}
