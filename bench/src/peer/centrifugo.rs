//! Centrifugo, configured by `bench/peers/centrifugo/config.json`: history of 1,000 events and 5 minutes with recovery, as the pod's
//! rooms have it, and its defaults in everything else.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};

use super::{
    Backing, Peer, Pending, Program, Publication, body,
    clients::{Clients, Language},
    free_address, install, joined,
};
use crate::{
    callers::{Caller, NUMBER, Request},
    error::{BenchError, Doing as _},
    process::Process,
};

const CONFIG: &str = include_str!("../../peers/centrifugo/config.json");

/// A running Centrifugo.
pub(crate) struct Centrifugo {
    program: Program,
    address: SocketAddr,
}

impl Centrifugo {
    /// Starts it; it is built first if it is not there yet.
    pub(crate) async fn start(backing: &Backing, out: &Path) -> Result<Self, BenchError> {
        let program = install::centrifugo().await?;
        let address = free_address()?;
        let config = out.join("centrifugo.json");
        let text = configuration(backing, address)?.to_string();
        std::fs::write(&config, text).doing(|| format!("writing {}", config.display()))?;
        let arguments = ["--config".to_owned(), config.display().to_string()];
        let program = Program::start("centrifugo", &program, &arguments, out, address, post("info", "{}")).await?;
        Ok(Self { program, address })
    }
}

fn configuration(backing: &Backing, address: SocketAddr) -> Result<Value, BenchError> {
    let mut config: Value = serde_json::from_str(CONFIG)
        .map_err(|e| BenchError::Protocol(format!("bench/peers/centrifugo/config.json is not JSON: {e}")))?;
    config["http_server"]["port"] = address.port().into();
    let name = if backing.is_cluster { "cluster_address" } else { "address" };
    let server = backing.url.strip_prefix("redis://").unwrap_or(&backing.url);
    config["engine"] = json!({"type": "redis", "redis": {name: [server]}});
    Ok(config)
}

fn post(method: &str, body: &str) -> Request {
    Request::new("POST", &format!("/api/{method}"), "apikey bench", body)
}

fn event(event: &Publication, more: &str) -> String {
    let Publication { room, data } = event;
    format!(r#"{{"channel":"{room}","data":{data}{more}}}"#)
}

impl Peer for Centrifugo {
    fn name(&self) -> &str {
        "centrifugo"
    }

    fn api(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> Process {
        self.program.process
    }

    fn publish(&self, one: &Publication, once: bool) -> Option<Request> {
        let key = if once { format!(r#","idempotency_key":"{NUMBER}""#) } else { String::new() };
        Some(post("publish", &event(one, &key)))
    }

    fn publish_batch(&self, events: &[Publication]) -> Request {
        let commands = joined(events, |one| format!(r#"{{"publish":{}}}"#, event(one, "")));
        post("batch", &format!(r#"{{"commands":[{commands}],"parallel":true}}"#))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Clients> {
        Box::pin(Clients::connect(Language::Centrifugo, self.address, rooms))
    }

    fn appended<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, u64> {
        Box::pin(async move {
            let mut caller = Caller::connect(self.address).await?;
            let mut sum = 0;
            for room in rooms {
                let mut request = post("history", &format!(r#"{{"channel":"{room}","limit":0}}"#));
                let said = body(caller.ask(&mut request).await?)?;
                // What is zero is left out.
                sum += said["result"]["offset"].as_u64().unwrap_or(0);
            }
            Ok(sum)
        })
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.program.explain(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_and_a_cluster_are_configured_apart() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        for (is_cluster, name) in [(false, "address"), (true, "cluster_address")] {
            let backing = Backing { url: "redis://127.0.0.1:7000".to_owned(), is_cluster };
            let config = configuration(&backing, address).expect("JSON");
            assert_eq!(config["engine"]["redis"], json!({name: ["127.0.0.1:7000"]}));
            assert_eq!(config["http_server"]["port"], 8000);
        }
    }
}
