//! The pod, of this build or of another.

use std::{net::SocketAddr, path::Path};

use super::{
    Backing, Peer, Pending, Publication, body,
    clients::{Clients, Language},
    contender::{Contender, OverHttp, Running, Site},
    joined,
};
use crate::{
    arguments::PodArgs,
    callers::{Caller, NUMBER, Request, request},
    dialect::Dialect,
    error::{BenchError, Doing as _},
    pod::Pod,
    process::Process,
    publisher::TOPIC,
    report,
};

/// A pod.
pub(crate) struct Roomcast {
    name: &'static str,
    pod: Pod,
    process: Process,
    plain: SocketAddr,
}

impl Roomcast {
    /// Starts one, with Redis or the embedded broker. Two that share a Redis are two fleets: their names differ.
    pub(crate) async fn start(
        name: &'static str,
        args: &PodArgs,
        backing: Option<&Backing>,
        clients: usize,
        out: &Path,
    ) -> Result<Self, BenchError> {
        let out = report::directory_in(out, &name.replace(' ', "-"))?;
        let config = out.join("pod.toml");
        let mut args = args.clone();
        if let Some(Backing { url, .. }) = backing {
            let text = format!("[redis]\nprefix = \"{}\"\n", name.replace(' ', "-"));
            std::fs::write(&config, text).doing(|| format!("writing {}", config.display()))?;
            let own = ["--config".to_owned(), config.display().to_string(), "--redis".to_owned(), url.clone()];
            args.pod_arg.extend(own);
        }
        let pod = Pod::open(&args, clients.into(), &out).await?;
        Ok(Self { name, process: pod.process()?, plain: pod.plain()?, pod })
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.pod.api_key())
    }
}

/// Starts one that broadcasts.
pub(crate) async fn contend(site: &Site, args: &PodArgs, clients: usize) -> Result<Box<dyn Contender>, BenchError> {
    let mut args = args.clone();
    for (flag, file) in [("--cert", &site.certificate), ("--key", &site.key)] {
        args.pod_arg.extend([flag.to_owned(), file.display().to_string()]);
    }
    let pod = Pod::open(&args, clients.into(), &site.out).await?;
    let (address, api, key) = (pod.address, pod.internal(), pod.api_key().to_owned());
    let request = move |one: &Publication| request("/api/publish", &key, &event(one, ""));
    OverHttp::start(Running::Pod(Box::new(pod)), address, Dialect::Native, api, request).await
}

/// An event as the API takes it.
fn event(event: &Publication, more: &str) -> String {
    let Publication { room, data } = event;
    format!(r#"{{"room":"{room}","topic":"{TOPIC}","data":{data}{more}}}"#)
}

impl Peer for Roomcast {
    fn name(&self) -> &str {
        self.name
    }

    fn api(&self) -> SocketAddr {
        self.pod.internal()
    }

    fn processes(&self) -> Vec<Process> {
        vec![self.process]
    }

    fn publish(&self, one: &Publication, once: bool) -> Option<Request> {
        let key = if once { format!(r#","idempotency_key":"{NUMBER}""#) } else { String::new() };
        Some(request("/api/publish", self.pod.api_key(), &event(one, &key)))
    }

    fn publish_batch(&self, events: &[Publication]) -> Option<Request> {
        let all = joined(events, |one| event(one, ""));
        Some(request("/api/broadcast", self.pod.api_key(), &format!(r#"{{"publications":[{all}]}}"#)))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Clients> {
        Box::pin(Clients::connect(Language::Roomcast, self.plain, rooms))
    }

    fn appended<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Option<u64>> {
        Box::pin(async move {
            let mut caller = Caller::connect(self.api()).await?;
            let mut sum = 0;
            for room in rooms {
                let path = format!("/api/rooms/{room}");
                let mut request = Request::new("GET", &path, &self.authorization(), "");
                let said = body(caller.ask(&mut request).await?)?;
                let offset = said["position"]["offset"].as_u64();
                sum += offset.ok_or_else(|| BenchError::Protocol(format!("no position of {room}: {said}")))?;
            }
            Ok(Some(sum))
        })
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.pod.explain(error)
    }
}
