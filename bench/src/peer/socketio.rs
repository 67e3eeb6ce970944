//! socket.io on Node with its Redis Streams adapter, behind the HTTP API of `bench/peers/socketio/server.mjs`.
//!
//! It has one log for all rooms, on one master, and no idempotency keys. To many clients it broadcasts without Redis, over TLS, with the
//! adapter that it has by itself.

use std::{net::SocketAddr, path::Path};

use super::{
    Backing, Peer, Pending, Program, Publication, body,
    clients::{Clients, Language},
    contender::{Contender, OverHttp, Running, Site},
    free_address, install, joined,
};
use crate::{
    callers::{Caller, Request},
    dialect::Dialect,
    error::BenchError,
    foreign::Foreign,
    process::Process,
};

/// A running server.
pub(crate) struct Socketio {
    program: Program,
    address: SocketAddr,
}

impl Socketio {
    /// Starts it; it is installed first if it is not there yet.
    pub(crate) async fn start(backing: &Backing, out: &Path) -> Result<Self, BenchError> {
        let (node, server) = install::socketio().await?;
        let address = free_address()?;
        let mut arguments = vec![server.display().to_string(), address.port().to_string(), backing.url.clone()];
        arguments.extend(backing.is_cluster.then(|| "cluster".to_owned()));
        // One event, so that its stream is there.
        let probe = post("/publish", r#"{"room":"first","data":{}}"#);
        let program = Program::start("socketio", &node, &arguments, out, address, probe).await?;
        Ok(Self { program, address })
    }
}

/// Starts one that broadcasts; it is installed first if it is not there yet.
pub(crate) async fn contend(site: &Site, deflate: bool) -> Result<Box<dyn Contender>, BenchError> {
    let (node, server) = install::socketio().await?;
    let (address, api) = (free_address()?, free_address()?);
    let files = [&site.certificate, &site.key].map(|file| file.display().to_string());
    let [certificate, key] = files;
    let clients = format!("{{\"port\":{},\"deflate\":{deflate}}}", address.port());
    let arguments = [server.display().to_string(), api.port().to_string(), "tls".to_owned(), clients, certificate, key];
    let probe = post("/publish", r#"{"room":"first","data":{}}"#);
    let program = Program::start("socketio", &node, &arguments, &site.out, api, probe).await?;
    let (dialect, request) = (Dialect::Foreign(Foreign::Socketio), |one: &Publication| post("/publish", &event(one)));
    OverHttp::start(Running::Program(program), address, dialect, api, request).await
}

fn post(path: &str, body: &str) -> Request {
    Request::new("POST", path, "none", body)
}

fn event(event: &Publication) -> String {
    let Publication { room, data } = event;
    format!(r#"{{"room":"{room}","data":{data}}}"#)
}

impl Peer for Socketio {
    fn name(&self) -> &str {
        "socket.io"
    }

    fn api(&self) -> SocketAddr {
        self.address
    }

    fn processes(&self) -> Vec<Process> {
        vec![self.program.process]
    }

    fn publish(&self, one: &Publication, once: bool) -> Option<Request> {
        (!once).then(|| post("/publish", &event(one)))
    }

    fn publish_batch(&self, events: &[Publication]) -> Option<Request> {
        Some(post("/batch", &format!("[{}]", joined(events, event))))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Clients> {
        Box::pin(Clients::connect(Language::Foreign(Foreign::Socketio), self.address, rooms))
    }

    fn appended<'a>(&'a self, _: &'a [String]) -> Pending<'a, Option<u64>> {
        Box::pin(async move {
            let mut caller = Caller::connect(self.address).await?;
            let said = body(caller.ask(&mut post("/appended", "")).await?)?;
            let appended = said["appended"].as_u64();
            appended.map(Some).ok_or_else(|| BenchError::Protocol(format!("no number of events: {said}")))
        })
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.program.explain(error)
    }
}
