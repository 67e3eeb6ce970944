//! Whatever a node says of its cluster is read, and slots belong to those who claim them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_redis_subscriber::{Layout, SLOTS, describe};

fuzz_target!(|text: &str| {
    for names in [false, true] {
        let nodes = describe(text, "asked", names);
        let layout = Layout::merge(nodes.iter());
        for node in &nodes {
            assert!(node.address.port > 0 && !node.address.host.is_empty());
            assert!(node.slots.iter().all(|(first, last)| first <= last && *last < SLOTS));
        }
        for slot in (0..=SLOTS).step_by(97) {
            let claims = |slots: &[(u16, u16)]| slots.iter().any(|(first, last)| (*first..=*last).contains(&slot));
            let epoch = nodes.iter().filter(|node| node.master && claims(&node.slots)).map(|node| node.epoch).max();
            let owner = layout.owner(slot);
            assert_eq!(owner.is_some(), epoch.is_some());
            let wins = |node: &roomcast_redis_subscriber::NodeDescription| {
                Some(&node.address) == owner && Some(node.epoch) == epoch && claims(&node.slots)
            };
            assert!(owner.is_none() || nodes.iter().any(wins));
        }
    }
});
