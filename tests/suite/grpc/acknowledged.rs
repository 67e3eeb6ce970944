//! `SendToUser` with `require_ack`: delivered is what a device has acknowledged.

use std::time::Duration;

use testkit::redis::Standalone;
use tokio::task::block_in_place;

use super::*;
use crate::users::{over, ready};
use roomcast::testing::model::{Access, AckMode};

/// Whatever a device does not say is not delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_an_ack_is_delivered_once_a_device_says_so() {
    let server = block_in_place(Standalone::start);
    let [a, b] = [(); 2].map(|()| {
        start(|settings| {
            over(&server, settings);
            settings.policies = vec![rule("user:*", |policy| {
                (policy.join, policy.acks) = (Access::Owner, AckMode::Keep);
            })];
            settings.acks.every = Duration::from_millis(50);
            settings.customers.ticketing.service.ack_timeout = Duration::from_secs(20);
        })
    });
    ready(&a).await;
    ready(&b).await;
    let mut client = ann(&b).await;
    let own = |user: &str| SendToUserRequest {
        user_id: user.into(),
        event_type: "ticket:issued".into(),
        payload: "1".into(),
        require_ack: true,
    };
    let call = async |pod: &Pod, timeout: Option<Duration>| {
        let mut request = with_key(own("ann"));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        RealtimeServiceClient::new(channel(pod).await).send_to_user(request).await.unwrap().into_inner().delivered
    };
    // A device that got it and says nothing: false before the caller's own deadline.
    assert!(!call(&a, Some(Duration::from_secs(1))).await);
    // One that acknowledges, on another pod and on the same one.
    for pod in [&a, &b] {
        let acknowledge = async {
            loop {
                let message = client.json().await;
                let offset = &message["offset"];
                if message["type"] == "events" && offset.as_u64() > Some(1) {
                    let ack = json!({"type": "ack", "room": "user:ann", "epoch": message["epoch"], "offset": offset});
                    return client.send(&ack.to_string()).await;
                }
            }
        };
        let (delivered, ()) = tokio::join!(call(pod, None), acknowledge);
        assert!(delivered);
    }
    // Nobody is there; and a policy that keeps no acks.
    let mut nobody = with_key(own("bob"));
    nobody.set_timeout(Duration::from_millis(500));
    let answer = RealtimeServiceClient::new(channel(&a).await).send_to_user(nobody).await.unwrap().into_inner();
    assert!(!answer.delivered && answer.connections_notified == 0);
    let plain = start(|_| ());
    let _here = ann(&plain).await;
    assert!(!call(&plain, None).await, "at once");
    block_in_place(|| [a, b, plain].into_iter().for_each(|pod| pod.stop()));
}
