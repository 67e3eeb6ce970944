//! socket.io on Node with its Redis Streams adapter, behind the HTTP API of `bench/peers/socketio/server.mjs`.
//!
//! It has one log for all rooms, on one master, and no idempotency keys.

use std::{net::SocketAddr, path::Path};

use super::{
    Backing, Peer, Pending, Program, Publication, body,
    clients::{Clients, Language},
    free_address, install, joined,
};
use crate::{
    callers::{Caller, Request},
    error::BenchError,
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

    fn process(&self) -> Process {
        self.program.process
    }

    fn publish(&self, one: &Publication, once: bool) -> Option<Request> {
        (!once).then(|| post("/publish", &event(one)))
    }

    fn publish_batch(&self, events: &[Publication]) -> Request {
        post("/batch", &format!("[{}]", joined(events, event)))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Clients> {
        Box::pin(Clients::connect(Language::Socketio, self.address, rooms))
    }

    fn appended<'a>(&'a self, _: &'a [String]) -> Pending<'a, u64> {
        Box::pin(async move {
            let mut caller = Caller::connect(self.address).await?;
            let said = body(caller.ask(&mut post("/appended", "")).await?)?;
            said["appended"].as_u64().ok_or_else(|| BenchError::Protocol(format!("no number of events: {said}")))
        })
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.program.explain(error)
    }
}
