//! A server alone, and a master that sentinels watch over.

use std::time::Instant;

use roomcast::broker::wire::{Kind, State};

use super::{
    Pod, channels, endpoints,
    redis::{Standalone, wait_until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_channels_and_a_restart() {
    let server = Standalone::start();
    let pod = Pod::start(endpoints(vec![server.address()], Kind::Standalone));
    let channels = channels(10_000);
    println!("10,000 channels of a server alone confirmed in {:?}", pod.join(&channels));
    assert_eq!(pod.health().sharded, Some(true));
    server.call(&["SPUBLISH", &channels[7], "hello"]);
    wait_until("a message", || pod.heard.has(&channels[7], "hello"));

    pod.subscriber.unsubscribe(&channels[7]);
    pod.subscriber.unsubscribe(&channels[8]);
    pod.subscriber.subscribe(&channels[8]);
    let receivers = |channel: &String| server.call(&["SPUBLISH", channel, "again"]).number();
    wait_until("an end of the subscription", || receivers(&channels[7]) == 0);
    wait_until("a subscription again", || receivers(&channels[8]) == 1);

    let began = Instant::now();
    server.kill();
    wait_until("the loss is seen", || pod.health().unconfirmed == 9_999);
    assert_eq!(pod.health().state, State::Degraded);
    server.restart();
    server.wait_ready();
    let ready = Instant::now();
    pod.wait_whole();
    println!("a restart: back {:?} after the server, {:?} after the kill", ready.elapsed(), began.elapsed());
    assert_eq!(receivers(&channels[9]), 1);
    wait_until("each confirmed again", || pod.heard.times_confirmed(&channels[9]) == 2);

    let began = Instant::now();
    assert_eq!(server.kill_subscribers(), 1);
    let again = |channel: &String| *channel == channels[7] || pod.heard.times_confirmed(channel) >= 3;
    wait_until("each confirmed a third time", || channels.iter().all(again));
    println!("CLIENT KILL of 10,000 channels: back in {:?}", began.elapsed());
}
