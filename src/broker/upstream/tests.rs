//! How long what is asked of a home may take, without a home.
#![allow(clippy::unwrap_used)]

use tokio::time::sleep;

use super::*;
use crate::broker::{Delivery, relay::pod_memory::TestMemory};

const TIMEOUT: Duration = Duration::from_secs(5);

struct NoHub;

impl Deliver for NoHub {
    fn deliver(&self, _: &Room, _: Delivery) {}
}

fn edge_without_links() -> Upstream {
    let settings = UpstreamSettings {
        urls: vec!["ws://a".to_owned()],
        key: "k".to_owned(),
        tls: None,
        connect_timeout: TIMEOUT,
        call_timeout: TIMEOUT,
        calls: 8,
        tail_bytes: 0,
        token_bytes: 0,
        advertise: None,
        peers: Vec::new(),
    };
    let rooms = FollowedRooms::new(settings.urls.clone(), 0, Arc::new(NoHub));
    let names = ("e".to_owned(), "s".to_owned());
    let (policies, metrics) = (Arc::default(), UpstreamMetrics::none());
    let state = Arc::new(EdgeState::new(settings, names, policies, rooms, metrics, TestMemory::plenty()));
    Upstream { state, stop: watch::channel(false).0, thread: None }
}

#[tokio::test(start_paused = true)]
async fn a_question_has_one_deadline_whatever_it_waits_for() {
    let (edge, room) = (edge_without_links(), Room::parse("a").unwrap());
    edge.subscribe(&room);
    // The room's gate until the half, and the only turn of reads until a moment before the end.
    let gate = edge.state.rooms.gate(&room).unwrap().lock_owned().await;
    let holds_gate = async {
        sleep(TIMEOUT / 2).await;
        drop(gate);
    };
    let holds_turn = edge.retained(&room);
    let asks = async {
        let moment = Duration::from_millis(10);
        sleep(moment).await;
        let began = Deadline::now();
        let query = HistoryQuery { since: None, until: None, max_events: 9, max_bytes: 9 };
        let said = edge.history(&room, query).await;
        (said, (TIMEOUT..TIMEOUT + moment).contains(&began.elapsed()), began.elapsed())
    };
    let ((), other, (said, is_in_time, took)) = tokio::join!(holds_gate, holds_turn, asks);
    assert!(is_in_time, "{took:?}");
    assert!(matches!(said, Err(BrokerError::Unavailable(_))) && matches!(other, Err(BrokerError::Unavailable(_))));
}
