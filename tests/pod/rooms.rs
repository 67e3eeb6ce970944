//! Rooms end to end over a socket: join, receive, come back, leave.

use crate::harness::{Client, pod, publish};
use roomcast::transport::websocket::Offer;
use serde_json::json;

#[tokio::test]
async fn a_room_end_to_end() {
    let pod = pod(|_| ());
    let address = pod.addresses().plain[0];
    let mut plain = Client::connect(address).await;
    let mut deflate = Client::connect_with(address, Some(Offer::default())).await;
    assert!(deflate.deflate);
    let joined = plain.subscribe("trip:1").await;
    assert_eq!((joined["offset"].as_u64(), joined["recovered"].as_bool()), (Some(0), Some(false)));
    deflate.subscribe("trip:1").await;
    let data = format!("{{\"text\": \"{}\"}}", "lorem ipsum ".repeat(100));
    let position = publish(&pod, "trip:1", "moved", &data).await;
    for client in [&mut plain, &mut deflate] {
        let events = client.json().await;
        assert_eq!(events["type"], "events");
        assert_eq!((events["after"].as_u64(), events["offset"].as_u64()), (Some(0), Some(1)));
        assert_eq!(events["epoch"], position.epoch.as_str());
        assert_eq!(events["events"][0]["data"]["text"].as_str().unwrap().len(), 1200);
    }
    // Away for three events, then back with the position.
    drop(plain);
    for n in 2..=4 {
        publish(&pod, "trip:1", "moved", &n.to_string()).await;
    }
    let mut back = Client::connect(address).await;
    let since = json!({"epoch": position.epoch.as_str(), "offset": 1});
    let joined = back.ask(json!({"type": "subscribe", "room": "trip:1", "since": since, "id": 7})).await;
    assert_eq!(joined["type"], "subscribed");
    assert_eq!((&joined["recovered"], &joined["offset"], &joined["id"]), (&json!(true), &json!(1), &json!(7)));
    let mut offset = 1;
    while offset < 4 {
        let events = back.json().await;
        assert_eq!(events["after"], offset, "{events}");
        offset = events["offset"].as_u64().unwrap();
    }
    let left = back.ask(json!({"type": "unsubscribe", "room": "trip:1"})).await;
    assert_eq!(left["type"], "unsubscribed");
    publish(&pod, "trip:1", "moved", "5").await;
    assert!(back.is_quiet().await);
    pod.stop();
}
