//! Events that a home compresses on their way to edges (`relay.compress`).

use serde_json::json;

use crate::{
    edges::{KEY, Walker, edge, publish_each, takes_edges, url},
    harness::{pod, publish, rule},
    raw_link::{greeted, hello, metric},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_compressed_for_edges_that_inflate_and_of_rooms_that_share_a_window_only() {
    let home = pod(|settings| {
        takes_edges(settings);
        settings.relay.compress = true;
        settings.policies = vec![
            rule("quiet:*", |policy| policy.shared_window = false),
            rule("plain:*", |policy| policy.compress_from = None),
        ];
    });
    let mut inflates = hello("00000000000000f1");
    inflates["hello"]["inflates"] = json!(true);
    for (says, packs) in [(hello("00000000000000f2"), false), (inflates, true)] {
        let mut link = greeted(&home, KEY, &says).await.unwrap();
        let rooms = [("a", true), ("quiet:1", false), ("plain:1", false), ("b", true)];
        for (number, (room, shares)) in (1..).zip(rooms) {
            link.say(&json!({"follow": {"number": number, "room": room}})).await;
            link.hear_of("started").await;
            publish(&home, room, "t", r#""a text that is long enough to be compressed""#).await;
            let (word, said) = (if packs && shares { "packed" } else { "delivery" }, link.hear().await.unwrap());
            assert!(said.get(word).is_some(), "{room}: {said} instead of {word}");
        }
    }
    let edge = edge(&[url(&home)]).await;
    let rooms = ["a:1", "a:2", "quiet:2"].map(str::to_owned);
    let mut walker = Walker::enter(&edge, &rooms).await;
    for offset in 1..=20 {
        publish_each(if offset % 2 == 0 { &home } else { &edge }, &rooms, offset).await;
    }
    walker.reads_up_to(20).await;
    metric(&home, "roomcast_relay_saved_bytes_total", |saved| saved > 500.0).await;
    edge.stop();
    home.stop();
}
