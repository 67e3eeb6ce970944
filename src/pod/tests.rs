//! What only a whole pod shows, and nothing from outside can cause.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use testkit::client::Client;

use super::Pod;
use crate::{
    config::{ApiKey, ListenAddress, Machine, MemoryCeiling, MemorySource, Settings, resolve},
    hub::Sequencer,
    model::{Epoch, Position, Room},
};

fn pod() -> Pod {
    let mut settings = Settings::default();
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.listen = Some(Vec::new());
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    settings.general.workers = Some(2);
    settings.webtransport.enabled = false;
    let machine = Machine {
        cores: 2,
        open_files: 10_000,
        memory: MemoryCeiling { bytes: 1 << 36, source: MemorySource::Machine },
        state_dir: None,
        api_key: ApiKey::new("key".into()).unwrap(),
    };
    Pod::start(resolve(settings, &machine).unwrap()).unwrap()
}

#[tokio::test]
async fn members_get_the_whole_list_after_a_panic_of_their_sequencer() {
    let pod = pod();
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let joined = client.subscribe("demo:p").await;
    let stands = Position::new(Epoch::new(joined["epoch"].as_str().unwrap()), 0);
    let services = Arc::clone(pod.services());
    tokio::task::LocalSet::new()
        .run_until(async {
            // Beside the pod's own, in which nothing can be made to panic.
            Sequencer::new(0, services).panic_in(&Room::parse("demo:p").unwrap(), stands);
            let list = loop {
                let message = client.json().await;
                if message["type"] == "presence" {
                    break message;
                }
            };
            assert_eq!(list["members"].as_array().unwrap().len(), 1, "{list}");
        })
        .await;
    pod.stop();
}
