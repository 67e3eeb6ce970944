//! The pod under test: starts its process or finds a running one, and observes it from outside.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

use crate::{
    arguments::{OutputArgs, PodArgs},
    child::start_program,
    content::Recipe,
    dialect::Dialect,
    error::{BenchError, Doing as _},
    guests::Guests,
    process::{self, Process},
    publisher::{Publisher, refused},
    receiver::control::{Join, Target},
    report,
};

/// How long a pod may take to become ready.
const READY: Duration = Duration::from_secs(15);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A pod.
pub(crate) struct Pod {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The host of the WebSocket's URL.
    pub(crate) host: String,
    /// The path of the WebSocket's URL.
    pub(crate) path: String,
    /// What its receivers speak.
    pub(crate) dialect: Dialect,
    /// The API.
    pub(crate) publisher: Publisher,
    /// Its process, if that is known.
    pub(crate) process: Option<Process>,
    /// Its worker threads, as far as the bench knows.
    pub(crate) workers: usize,
    /// From the start of the process to the first `/ready`, in milliseconds.
    pub(crate) ready_ms: Option<f64>,
    child: Option<(Child, PathBuf)>,
    takeover: bool,
    plain: Option<SocketAddr>,
    internal: SocketAddr,
    api_key: String,
}

impl Pod {
    /// The pod that the arguments ask for, ready.
    pub(crate) async fn open(args: &PodArgs, guests: Guests, out: &Path) -> Result<Self, BenchError> {
        match &args.url {
            Some(url) => Self::attach(url, args).await,
            None => Self::start(args, LOOPBACK, guests, out).await,
        }
    }

    /// The pod that the arguments ask for, started to take clients at an address of this network.
    pub(crate) async fn open_at(ip: IpAddr, args: &PodArgs, guests: Guests, out: &Path) -> Result<Self, BenchError> {
        args.must_start("pod")?;
        Self::start(args, ip, guests, out).await
    }

    /// What `measure` finds of the pod that the arguments ask for. If the pod dies meanwhile, the error says how.
    pub(crate) async fn measured<T>(
        args: &PodArgs,
        guests: Guests,
        output: &OutputArgs,
        measure: impl AsyncFnOnce(&mut Self) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let out = report::directory(output)?;
        let mut pod = Self::open(args, guests, &out).await?;
        let measured = measure(&mut pod).await;
        measured.map_err(|error| pod.explain(error))
    }

    async fn attach(url: &str, args: &PodArgs) -> Result<Self, BenchError> {
        let wrong = || BenchError::Usage(format!("--url {url}: it looks like wss://127.0.0.1:8443/ws"));
        let rest = url.strip_prefix("wss://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "ws"));
        let (host, _) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let address = authority.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)?;
        let internal = args.internal.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9000)));
        let api_key = args.api_key.clone().ok_or_else(|| {
            BenchError::Usage("--url needs --api-key: the bench publishes through the pod's API".to_owned())
        })?;
        Ok(Self {
            address,
            host: host.trim_matches(['[', ']']).to_owned(),
            path: format!("/{path}"),
            dialect: args.dialect,
            publisher: Publisher::connect(internal, &api_key).await?,
            process: args.pid.map(Process::new),
            workers: args.workers(),
            ready_ms: None,
            child: None,
            takeover: args.takeover,
            plain: None,
            internal,
            api_key,
        })
    }

    async fn start(args: &PodArgs, ip: IpAddr, guests: Guests, out: &Path) -> Result<Self, BenchError> {
        let (needed, limit) = (guests.sockets + 300, process::file_limit());
        if needed > limit {
            return Err(BenchError::FileLimit { what: "the pod".to_owned(), needed, limit });
        }
        let program = match &args.pod {
            Some(program) => program.clone(),
            None => build().await?,
        };
        if !program.is_file() {
            return Err(BenchError::NoPod(program));
        }
        let [address, plain, internal] = free_addresses([ip, LOOPBACK, LOOPBACK])?;
        let api_key = args.api_key.clone().unwrap_or_else(|| "bench".to_owned());
        let mut arguments: Vec<String> = ["serve", "--dev", "--log-level", "warn"].map(str::to_owned).into();
        for (flag, value) in [
            ("--listen", address.to_string()),
            ("--plain-listen", plain.to_string()),
            ("--internal-listen", internal.to_string()),
            ("--api-key", api_key.clone()),
            ("--workers", args.workers().to_string()),
            ("--max-connections", (guests.sockets + guests.sessions + 1_000).to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        if args.dialect == Dialect::Socketio {
            arguments.push("--socketio-enabled".to_owned());
        }
        arguments.extend(args.pod_arg.iter().cloned());
        let log = out.join("pod.log");
        let started = Instant::now();
        let mut child = start_program(&program, &arguments, &log)?;
        let pid = child.id();
        let publisher = loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(BenchError::Pod { what: format!("ended at once ({status})"), log: tail(&log) });
            }
            if let Some(publisher) = ready(internal, &api_key).await {
                break publisher;
            }
            if started.elapsed() > READY {
                let what = format!("did not become ready in {} s", READY.as_secs());
                return Err(BenchError::Pod { what, log: tail(&log) });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Ok(Self {
            address,
            host: "localhost".to_owned(),
            path: args.dialect.target(),
            dialect: args.dialect,
            publisher,
            process: pid.map(Process::new),
            workers: args.workers(),
            ready_ms: Some(started.elapsed().as_secs_f64() * 1e3),
            child: Some((child, log)),
            takeover: args.takeover,
            plain: Some(plain),
            internal,
            api_key,
        })
    }

    /// How its receivers connect; the caller sets how many and to which rooms.
    pub(crate) fn join(&self, recipe: Recipe, deflate: bool) -> Join {
        let join = Join::new(Target::Pod, self.address, self.dialect, recipe, deflate);
        Join { host: self.host.clone(), path: self.path.clone(), takeover: self.takeover, ..join }
    }

    /// Another connection to the API.
    pub(crate) async fn another_publisher(&self) -> Result<Publisher, BenchError> {
        Publisher::connect(self.internal, &self.api_key).await
    }

    /// Where the API is.
    pub(crate) fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// What the API is called with.
    pub(crate) fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Where clients connect without TLS.
    pub(crate) fn plain(&self) -> Result<SocketAddr, BenchError> {
        self.plain.ok_or_else(own_pod)
    }

    /// The cumulative buckets of a histogram in the pod's metrics: (upper bound, count). Empty if there is none.
    pub(crate) async fn histogram(&mut self, name: &str) -> Result<Vec<(f64, u64)>, BenchError> {
        let (status, text) = self.publisher.get("/metrics").await?;
        match status {
            200 => Ok(buckets(&text, name)),
            status => Err(refused("GET /metrics", status, &text)),
        }
    }

    /// How long a batch of this room waits, in milliseconds.
    pub(crate) async fn batch_window_ms(&mut self, room: &str) -> Result<u64, BenchError> {
        let request = format!("/api/rooms/{room}");
        let (status, text) = self.publisher.get(&request).await?;
        let detail = serde_json::from_str::<serde_json::Value>(&text).ok().filter(|_| status == 200);
        let window = detail.as_ref().and_then(|detail| detail["policy"]["batch_window_ms"].as_u64());
        window.ok_or_else(|| refused(&format!("GET {request}"), status, &text))
    }

    /// The labels of `roomcast_build_info` in the pod's metrics: version, allocator. `None` if it says nothing.
    pub(crate) async fn build_info(&mut self) -> Result<Option<String>, BenchError> {
        let (_, text) = self.publisher.get("/metrics").await?;
        let labels = text.lines().find_map(|line| line.strip_prefix("roomcast_build_info{")?.split('}').next());
        Ok(labels.map(str::to_owned))
    }

    /// The process, where a figure needs it.
    pub(crate) fn process(&self) -> Result<Process, BenchError> {
        self.process.ok_or_else(|| BenchError::Usage("--url needs --pid for memory and processor figures".to_owned()))
    }

    /// kill -9. It is not expected to live any more.
    pub(crate) async fn kill(&mut self) -> Result<(), BenchError> {
        let (mut child, _) = self.child.take().ok_or_else(own_pod)?;
        child.kill().await.doing(|| "killing the pod".to_owned())
    }

    /// Adds to an error the ends of the logs of those pods that have died.
    pub(crate) fn explain_all<'a>(pods: impl IntoIterator<Item = &'a mut Self>, error: BenchError) -> BenchError {
        pods.into_iter().fold(error, |error, pod| pod.explain(error))
    }

    /// Adds the end of the pod's log to an error, if the pod has died.
    pub(crate) fn explain(&mut self, error: BenchError) -> BenchError {
        match &mut self.child {
            Some((child, log)) => match child.try_wait() {
                Ok(Some(status)) => {
                    BenchError::Pod { what: format!("ended during the run ({status}): {error}"), log: tail(log) }
                }
                _ => error,
            },
            None => error,
        }
    }
}

async fn ready(internal: SocketAddr, api_key: &str) -> Option<Publisher> {
    let mut publisher = Publisher::connect(internal, api_key).await.ok()?;
    matches!(publisher.get("/ready").await, Ok((200, _))).then_some(publisher)
}

fn own_pod() -> BenchError {
    BenchError::Usage("this scenario starts its own pod: leave out --url".to_owned())
}

/// Addresses that are free right now.
fn free_addresses(ips: [IpAddr; 3]) -> Result<[SocketAddr; 3], BenchError> {
    let mut held = Vec::new();
    let mut addresses = ips.map(|ip| SocketAddr::from((ip, 0)));
    for address in &mut addresses {
        let ip = address.ip();
        let doing = || format!("finding a free port on {ip}");
        let listener = TcpListener::bind(*address).doing(doing)?;
        *address = listener.local_addr().doing(doing)?;
        held.push(listener);
    }
    Ok(addresses)
}

/// The pod's binary beside this one; under cargo, it is built first.
async fn build() -> Result<PathBuf, BenchError> {
    let this = std::env::current_exe().doing(|| "finding this program's path".to_owned())?;
    let directory = this.parent().unwrap_or(Path::new("."));
    let program = directory.join("roomcast");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let release = directory.file_name().is_some_and(|name| name == "release");
        eprintln!("building the pod{} ...", if release { "" } else { " (debug: figures mean nothing)" });
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", "roomcast", "--bin", "roomcast"]);
        if release {
            command.arg("--release");
        }
        let status = command.kill_on_drop(true).status().await.doing(|| "running cargo".to_owned())?;
        if !status.success() {
            return Err(BenchError::NoPod(program));
        }
    }
    Ok(program)
}

/// A histogram's buckets in Prometheus' text format.
fn buckets(text: &str, name: &str) -> Vec<(f64, u64)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket{"));
    let buckets = lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once("} ")?;
        let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.trim().parse().ok()?))
    });
    buckets.collect()
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_read() {
        let text = "# TYPE a histogram\na_bucket{le=\"0.01\"} 3\na_bucket{x=\"y\",le=\"+Inf\"} 5\na_sum 1\nab_bucket{le=\"1\"} 9\n";
        assert_eq!(buckets(text, "a"), [(0.01, 3), (f64::INFINITY, 5)]);
        assert_eq!(buckets(text, "c"), []);
    }
}
