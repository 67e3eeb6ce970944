//! `GET /poll`: a request that waits for news, for clients that have neither WebSockets nor event streams.
//!
//! Keeps nothing between two polls: the answer says where the client stands, and the next poll says it again, to whichever
//! pod. Always holds: what an answer leaves out is still in the log, behind the answer's cursor.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use tokio::time::{Instant, timeout};

use crate::{
    config::Config,
    hub::{ConnectionTask, Services},
    model::Disconnect,
};

/// The most bytes of messages in one answer, about: the last message may stand out.
const MAX_BYTES: usize = 1024 * 1024;

/// Waits for news, at most as long as polls may, and answers.
pub async fn answer(
    task: ConnectionTask,
    services: &Arc<Services>,
    config: &Config,
    headers: HeaderMap,
) -> Response<Bytes> {
    let end = Instant::now() + config.timeouts.poll;
    // Fetching is the client's sign of life: a poll may last longer than a silent connection may.
    let step = (config.timeouts.ping / 2).max(Duration::from_millis(100));
    let (messages, closed) = loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left.min(step), task.next_bytes(MAX_BYTES)).await {
            Ok(Ok(messages)) => break (messages, None),
            Ok(Err(closed)) => break (Vec::new(), closed),
            Err(_) if left <= step => break (task.take(MAX_BYTES), None),
            Err(_) => {}
        }
    };
    let body = body(messages, &task.cursor().to_string(), closed);
    task.finish();
    let mut response = Response::new(Bytes::from(body));
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The next poll comes over another connection, which a balancer sends to another pod.
    if services.gate.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The messages are there as the elements of an array, each with a comma behind it.
fn body(mut messages: Vec<u8>, cursor: &str, closed: Option<Disconnect>) -> Vec<u8> {
    messages.pop();
    let mut body = Vec::with_capacity(messages.len() + cursor.len() + 64);
    body.extend_from_slice(b"{\"messages\":[");
    body.append(&mut messages);
    // A cursor has no character that JSON escapes.
    body.extend_from_slice(format!("],\"cursor\":\"{cursor}\"").as_bytes());
    // A client that polls comes back anyway, so a pod that goes away says nothing.
    if let Some(closed) = closed.filter(|closed| *closed != Disconnect::Restart) {
        body.extend_from_slice(close(closed).as_bytes());
    }
    body.push(b'}');
    body
}

fn close(closed: Disconnect) -> String {
    format!(",\"close\":{{\"code\":{},\"reason\":\"{}\"}}", closed.code(), closed.reason())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn answers_are_json() {
        let read = |messages: &[u8], closed| -> Value {
            serde_json::from_slice(&body(messages.to_vec(), "a=e:1", closed)).unwrap()
        };
        assert_eq!(read(b"", None), json!({"messages": [], "cursor": "a=e:1"}));
        assert_eq!(read(b"{\"a\":1},2,", None), json!({"messages": [{"a": 1}, 2], "cursor": "a=e:1"}));
        assert_eq!(read(b"", Some(Disconnect::Restart)), json!({"messages": [], "cursor": "a=e:1"}));
        for disconnect in Disconnect::ALL.into_iter().filter(|d| *d != Disconnect::Restart) {
            let close = json!({"code": disconnect.code(), "reason": disconnect.reason()});
            assert_eq!(read(b"1,", Some(disconnect))["close"], close);
        }
    }
}
