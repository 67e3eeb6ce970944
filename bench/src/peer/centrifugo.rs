//! Centrifugo, configured by `bench/peers/centrifugo/config.json`: history of 1,000 events and 5 minutes with recovery, as the pod's
//! rooms have it, and its defaults in everything else. To many clients it broadcasts without Redis, over TLS.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};

use super::{
    Backing, Peer, Pending, Program, Publication, body,
    clients::{Clients, Language},
    contender::{Contender, OverHttp, Running, Site},
    free_address, install, joined,
};
use crate::{
    callers::{Caller, NUMBER, Request},
    dialect::Dialect,
    error::{BenchError, Doing as _},
    foreign::Foreign,
    process::Process,
};

const CONFIG: &str = include_str!("../../peers/centrifugo/config.json");

/// What stands before the colon in the name of a room.
const NAMESPACE: &str = "bench";

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

/// How one is set up that broadcasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tuning {
    Default,
    /// Go lets half as much garbage be as is in use, and not as much.
    Gogc50,
    /// Events are sent as what they differ in from those before, in Protocol Buffers.
    Deltas,
}

/// Starts one that broadcasts; it is built first if it is not there yet.
pub(crate) async fn contend(site: &Site, deflate: bool, tuning: Tuning) -> Result<Box<dyn Contender>, BenchError> {
    let program = install::centrifugo().await?.display().to_string();
    let (address, api) = (free_address()?, free_address()?);
    let mut config = template()?;
    config["http_server"] = json!({
        "address": "127.0.0.1",
        "port": address.port(),
        "internal_address": "127.0.0.1",
        "internal_port": api.port().to_string(),
        "tls": {"enabled": true, "cert_pem": site.certificate, "key_pem": site.key},
        "tls_external": true,
    });
    config["websocket"] = json!({"compression": deflate});
    let (name, language) = match tuning {
        Tuning::Default => ("centrifugo", Foreign::Centrifugo),
        Tuning::Gogc50 => ("centrifugo GOGC=50", Foreign::Centrifugo),
        Tuning::Deltas => ("centrifugo deltas", Foreign::CentrifugoDeltas),
    };
    // A room's name begins with a namespace, as Centrifugo sees it.
    let mut rooms = config["channel"]["without_namespace"].take();
    rooms["name"] = NAMESPACE.into();
    if tuning == Tuning::Deltas {
        rooms["allowed_delta_types"] = json!(["fossil"]);
        rooms["delta_publish"] = true.into();
    }
    config["channel"] = json!({"namespaces": [rooms]});
    let config = site.write("centrifugo.json", &config.to_string(), &[])?;
    let mut arguments = vec![program, "--config".to_owned(), config.display().to_string()];
    if tuning == Tuning::Gogc50 {
        arguments.insert(0, "GOGC=50".to_owned());
    }
    let program = Program::start(name, Path::new("env"), &arguments, &site.out, api, post("info", "{}")).await?;
    let request = |one: &Publication| post("publish", &event(one, ""));
    OverHttp::start(Running::Program(program), address, Dialect::Foreign(language), api, request).await
}

fn template() -> Result<Value, BenchError> {
    let wrong = |e| BenchError::Protocol(format!("bench/peers/centrifugo/config.json is not JSON: {e}"));
    serde_json::from_str(CONFIG).map_err(wrong)
}

fn configuration(backing: &Backing, address: SocketAddr) -> Result<Value, BenchError> {
    let mut config = template()?;
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

    fn processes(&self) -> Vec<Process> {
        vec![self.program.process]
    }

    fn publish(&self, one: &Publication, once: bool) -> Option<Request> {
        let key = if once { format!(r#","idempotency_key":"{NUMBER}""#) } else { String::new() };
        Some(post("publish", &event(one, &key)))
    }

    fn publish_batch(&self, events: &[Publication]) -> Option<Request> {
        let commands = joined(events, |one| format!(r#"{{"publish":{}}}"#, event(one, "")));
        Some(post("batch", &format!(r#"{{"commands":[{commands}],"parallel":true}}"#)))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Clients> {
        Box::pin(Clients::connect(Language::Foreign(Foreign::Centrifugo), self.address, rooms))
    }

    fn appended<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Option<u64>> {
        Box::pin(async move {
            let mut caller = Caller::connect(self.address).await?;
            let mut sum = 0;
            for room in rooms {
                let mut request = post("history", &format!(r#"{{"channel":"{room}","limit":0}}"#));
                let said = body(caller.ask(&mut request).await?)?;
                // What is zero is left out.
                sum += said["result"]["offset"].as_u64().unwrap_or(0);
            }
            Ok(Some(sum))
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
