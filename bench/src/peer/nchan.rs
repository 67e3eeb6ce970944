//! nginx with its module nchan, configured by `bench/peers/nchan/nginx.conf`: a message is compressed once for all clients, and a
//! channel keeps 1,000 messages and 5 minutes, in its own memory or in Redis. Rooms are channels.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    Backing, Peer, Pending, Program, Publication,
    clients::{Clients, Language},
    contender::{Contender, OverHttp, Running, Site},
    free_address, install,
};
use crate::{callers::Request, dialect::Dialect, error::BenchError, foreign::Foreign, process::Process, report};

const CONFIG: &str = include_str!("../../peers/nchan/nginx.conf");

/// A running nginx that shares a Redis.
pub(crate) struct Nchan {
    running: Running,
    address: SocketAddr,
    api: SocketAddr,
}

impl Nchan {
    /// Starts it; it is got first if it is not there yet.
    pub(crate) async fn start(backing: &Backing, out: &Path) -> Result<Self, BenchError> {
        let upstream = format!("upstream shared {{ nchan_redis_server {}; }}", backing.url);
        let words = [("REDIS", upstream), ("PASS", "nchan_redis_pass shared;".to_owned()), ("TLS", String::new())];
        let (running, address, api) = start(&Site::new(out)?, false, words).await?;
        Ok(Self { running, address, api })
    }
}

/// Starts one that broadcasts; it is got first if it is not there yet.
pub(crate) async fn contend(site: &Site, deflate: bool) -> Result<Box<dyn Contender>, BenchError> {
    let words = [("REDIS", String::new()), ("PASS", String::new()), ("TLS", "ssl backlog=4096".to_owned())];
    let (running, address, api) = start(site, deflate, words).await?;
    OverHttp::start(running, address, Dialect::Foreign(Foreign::Nchan), api, request).await
}

/// Starts nginx; where clients connect, and where the API is.
async fn start(
    site: &Site,
    deflate: bool,
    more: [(&str, String); 3],
) -> Result<(Running, SocketAddr, SocketAddr), BenchError> {
    let [nginx, module] = install::nchan().await?;
    let (address, api) = (free_address()?, free_address()?);
    let folder = report::directory_in(&site.out, "nchan")?;
    let words = [
        ("MODULE", module.display().to_string()),
        ("FOLDER", folder.display().to_string()),
        ("CLIENTS", address.to_string()),
        ("API", api.to_string()),
        ("DEFLATE", if deflate { "on" } else { "off" }.to_owned()),
    ];
    let words: Vec<_> = words.into_iter().chain(more).collect();
    let config = site.write("nginx.conf", CONFIG, &words)?;
    let log = folder.join("error.log");
    let arguments = ["-p".into(), folder.into_os_string(), "-e".into(), log.into(), "-c".into(), config.into()];
    let arguments = arguments.map(|argument: OsString| argument.to_string_lossy().into_owned());
    let (program, arguments) = apart(&nginx, &arguments);
    // One message, so that it has found its Redis.
    let probe = Request::new("POST", "/pub?id=first", "none", "{}");
    let program = Program::start("nchan", &program, &arguments, &site.out, api, probe).await?;
    Ok((Running::Family(program), address, api))
}

/// The program and its arguments. nchan makes a folder below this one whatever is configured: where that cannot be, it gets another
/// `/var/lib`, for itself alone.
fn apart(nginx: &Path, arguments: &[String]) -> (PathBuf, Vec<String>) {
    if Path::new("/var/lib/nginx").is_dir() {
        return (nginx.to_owned(), arguments.to_vec());
    }
    let script = r#"mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$0" "$@""#;
    let user = (!rustix::process::geteuid().is_root()).then(|| "--map-root-user".to_owned());
    let unshare = ["--mount", "sh", "-c", script].map(str::to_owned);
    let nginx = nginx.display().to_string();
    ("unshare".into(), user.into_iter().chain(unshare).chain([nginx]).chain(arguments.iter().cloned()).collect())
}

fn request(event: &Publication) -> Request {
    let Publication { room, data } = event;
    Request::new("POST", &format!("/pub?id={room}"), "none", data)
}

impl Peer for Nchan {
    fn name(&self) -> &str {
        "nchan"
    }

    fn api(&self) -> SocketAddr {
        self.api
    }

    fn processes(&self) -> Vec<Process> {
        self.running.processes()
    }

    fn publish(&self, event: &Publication, once: bool) -> Option<Request> {
        (!once).then(|| request(event))
    }

    fn publish_batch(&self, _: &[Publication]) -> Option<Request> {
        None
    }

    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Clients> {
        Box::pin(Clients::connect(Language::Foreign(Foreign::Nchan), self.address, rooms))
    }

    fn appended<'a>(&'a self, _: &'a [String]) -> Pending<'a, Option<u64>> {
        // It says how many messages it has, and not how many it has had.
        Box::pin(async { Ok(None) })
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        self.running.explain(error)
    }
}
