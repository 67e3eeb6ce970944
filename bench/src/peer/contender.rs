//! A server that broadcasts to many clients over TLS, without Redis: what a scenario needs of it, and those that are published to
//! over HTTP.
//!
//! Never measures: a scenario does. Always holds: all have the same certificate, and end when they are dropped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Pending, Program, Publication};
use crate::{
    callers::{Api, Caller, Request},
    content::Recipe,
    dialect::Dialect,
    error::{BenchError, Doing as _},
    pod::Pod,
    process::Process,
    receiver::control::{Join, Target},
};

/// What all are started with: one certificate, and a directory for what they write.
pub(crate) struct Site {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) out: PathBuf,
}

impl Site {
    /// Makes the certificate, in this directory.
    pub(crate) fn new(out: &Path) -> Result<Self, BenchError> {
        let failed = |e: roomcast_certs::MakeError| BenchError::Protocol(e.to_string());
        let (_, pem) = roomcast_certs::make(SystemTime::now()).map_err(failed)?;
        // A server may run in a directory of its own.
        let out = out.canonicalize().doing(|| format!("finding {}", out.display()))?;
        let (certificate, key) = (out.join("peers.crt"), out.join("peers.key"));
        for (path, text) in [(&certificate, &pem.certificate), (&key, &pem.key)] {
            std::fs::write(path, text).doing(|| format!("writing {}", path.display()))?;
        }
        Ok(Self { certificate, key, out })
    }

    /// A template of `bench/peers` with its words in capitals replaced, written under this name.
    pub(super) fn write(&self, name: &str, template: &str, words: &[(&str, String)]) -> Result<PathBuf, BenchError> {
        let own = [("CERTIFICATE", self.certificate.display().to_string()), ("KEY", self.key.display().to_string())];
        let all = own.iter().chain(words);
        let text = all.fold(template.to_owned(), |text, (word, value)| text.replace(&format!("@{word}@"), value));
        let path = self.out.join(name);
        std::fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// A running server.
pub(crate) trait Contender {
    /// Its processes: processor time and memory.
    fn processes(&self) -> Vec<Process>;

    /// How its clients connect; the caller sets how many and to which rooms.
    fn join(&self, recipe: Recipe, deflate: bool) -> Join;

    /// Publishes an event, and waits until the server has said that it has it.
    fn post<'a>(&'a mut self, event: &'a Publication) -> Pending<'a, ()>;

    /// The request of its HTTP API that publishes an event, and where it is sent; or why there is none.
    fn request(&self, event: &Publication) -> Result<(Api, Request), &'static str>;

    /// Adds what it logged last to an error, if it has ended.
    fn explain(&mut self, error: BenchError) -> BenchError;
}

/// What runs.
pub(super) enum Running {
    Program(Program),
    /// A program that starts others, which do not end with it.
    Family(Program),
    Pod(Box<Pod>),
}

impl Running {
    /// Its processes, as far as they are known.
    pub(super) fn processes(&self) -> Vec<Process> {
        match self {
            Self::Program(program) => vec![program.process],
            Self::Family(program) => std::iter::once(program.process).chain(program.process.children()).collect(),
            Self::Pod(pod) => pod.process.into_iter().collect(),
        }
    }

    /// Adds what it logged last to an error, if it has ended.
    pub(super) fn explain(&mut self, error: BenchError) -> BenchError {
        match self {
            Self::Program(program) | Self::Family(program) => program.explain(error),
            Self::Pod(pod) => pod.explain(error),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Family(Program { process, .. }) = self {
            // The parent first: it would start others in their place. Any of them may have ended by itself.
            let children = process.children();
            drop(process.kill());
            children.iter().for_each(|child| drop(child.kill()));
        }
    }
}

/// A server that is published to over HTTP.
pub(super) struct OverHttp {
    running: Running,
    /// Where clients connect.
    address: SocketAddr,
    dialect: Dialect,
    api: Api,
    request: Box<dyn Fn(&Publication) -> Request>,
    caller: Caller,
}

impl OverHttp {
    /// Connects to the API of a server that runs.
    pub(super) async fn start(
        running: Running,
        address: SocketAddr,
        dialect: Dialect,
        api: impl Into<Api>,
        request: impl Fn(&Publication) -> Request + 'static,
    ) -> Result<Box<dyn Contender>, BenchError> {
        let api = api.into();
        let caller = Caller::connect(api).await?;
        Ok(Box::new(Self { running, address, dialect, api, request: Box::new(request), caller }))
    }
}

impl Contender for OverHttp {
    fn processes(&self) -> Vec<Process> {
        self.running.processes()
    }

    fn join(&self, recipe: Recipe, deflate: bool) -> Join {
        // As browsers do.
        Join { takeover: deflate, ..Join::new(Target::Pod, self.address, self.dialect, recipe, deflate) }
    }

    fn post<'a>(&'a mut self, event: &'a Publication) -> Pending<'a, ()> {
        let mut request = (self.request)(event);
        Box::pin(async move { self.caller.ask(&mut request).await.map(drop) })
    }

    fn request(&self, event: &Publication) -> Result<(Api, Request), &'static str> {
        Ok((self.api, (self.request)(event)))
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.running.explain(error)
    }
}
