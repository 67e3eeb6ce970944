//! `GET /poll` and the polls of described dialects: a request that waits for news, for clients that have neither WebSockets nor event streams.
//!
//! Keeps nothing between two polls: the answer says where the client stands, and the next poll says it again, to whichever
//! pod. Always holds: what an answer leaves out is still in the log, behind the answer's cursor.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    config::Config,
    hub::{Budget, ConnectionTask, Services, unix_millis},
    protocol::{DialectId, HttpAnswer},
};

/// The most bytes of messages in one answer, about: the last message may stand out.
const MAX_BYTES: usize = 1024 * 1024;

/// The same while the pod is short of memory, of what it has left: however many polls come at once and are not read, there is some left for
/// newcomers until those are shed. The cursor leads to the rest.
const SHARE_OF_LEFT: usize = 64;

/// An answer has place for a message of usual length all the same.
const FEW_BYTES: usize = 4 * 1024;

/// With less than this share of the memory left an answer waits: one batch of a log stands out far above its share of what is left.
const SHARE_FOR_NEWCOMERS: usize = 32;

/// For so long at most: those that do not read are shed meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks whether there is memory again.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits for news, at most as long as polls may, and answers.
pub async fn answer(
    task: ConnectionTask,
    dialect: DialectId,
    services: &Arc<Services>,
    config: &Config,
    headers: HeaderMap,
) -> Response<Bytes> {
    let end = Instant::now() + config.timeouts.poll;
    wait_for_memory(&services.budget, end.min(Instant::now() + PATIENCE)).await;
    // Fetching is the client's sign of life: a poll may last longer than a silent connection may.
    let step = (config.timeouts.ping / 2).max(Duration::from_millis(100));
    let (mut messages, closed) = loop {
        let left = end.saturating_duration_since(Instant::now());
        let most = most_bytes(&services.budget);
        match timeout(left.min(step), task.next_bytes(most)).await {
            Ok(Ok(messages)) => break (messages, None),
            Ok(Err(closed)) => break (Vec::new(), closed),
            Err(_) if left <= step => break (task.take(most), None),
            Err(_) => {}
        }
    };
    // Each message has a comma behind it.
    messages.pop();
    let cursor = task.cursor().to_string();
    let answer = HttpAnswer { messages: &messages, cursor: Some(&cursor), closed };
    let body = services.dialects.get(dialect).http_answer(&answer, unix_millis());
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

/// Waits, at most until then, while what is left is for newcomers.
async fn wait_for_memory(budget: &Budget, until: Instant) {
    while budget.left() < budget.limit() / SHARE_FOR_NEWCOMERS && Instant::now() < until {
        sleep(PAUSE).await;
    }
}

/// What an answer may hold now.
fn most_bytes(budget: &Budget) -> usize {
    if budget.is_tight() { (budget.left() / SHARE_OF_LEFT).clamp(FEW_BYTES, MAX_BYTES) } else { MAX_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_is_left_the_less_an_answer_holds() {
        let budget = Budget::new(64 * MAX_BYTES);
        assert_eq!(most_bytes(&budget), MAX_BYTES);
        budget.take(60 * MAX_BYTES);
        assert_eq!(most_bytes(&budget), 64 * 1024);
        budget.take(3 * MAX_BYTES);
        assert_eq!(most_bytes(&budget), 16 * 1024);
        budget.take(2 * MAX_BYTES);
        assert_eq!(most_bytes(&budget), FEW_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_memory_but_not_for_ever() {
        let budget = Budget::new(64 * MAX_BYTES);
        let began = Instant::now();
        budget.take(62 * MAX_BYTES);
        wait_for_memory(&budget, began + PATIENCE).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        budget.take(MAX_BYTES);
        wait_for_memory(&budget, began + PATIENCE).await;
        let waited = began.elapsed();
        assert!(waited >= PATIENCE && waited < PATIENCE + 2 * PAUSE, "{waited:?}");
        let relief = async {
            sleep(PAUSE).await;
            budget.give(MAX_BYTES);
        };
        tokio::join!(wait_for_memory(&budget, Instant::now() + PATIENCE), relief);
        assert!(began.elapsed() < waited + 4 * PAUSE, "{:?}", began.elapsed());
    }
}
