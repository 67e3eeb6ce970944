//! A home over Redis, and regions beyond an ocean each, with relays and edges: all of them processes of this machine.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    arguments::PodArgs,
    error::{BenchError, Doing as _},
    guests::Guests,
    ocean::Ocean,
    pod::Pod,
    report,
    scenario::servers::Servers,
};

/// What edges show.
const KEY: &str = "bench-edges";

/// How large a tree is.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Pods of the home.
    pub(super) homes: usize,
    /// How long the ocean of each region takes, one way.
    pub(super) delays: Vec<Duration>,
    /// Relays of a region.
    pub(super) relays: usize,
    /// Edges of a region, behind its relays.
    pub(super) edges: usize,
    /// Whether the home has one Redis server instead of a cluster.
    pub(super) one_server: bool,
}

/// What all pods of a run are started with: a certificate, which edges trust, and a directory for each pod's log.
pub(super) struct Ground {
    args: PodArgs,
    guests: Guests,
    out: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// A pod, and where edges find it.
pub(super) struct Placed {
    pub(super) pod: Pod,
    relay: SocketAddr,
}

/// A region.
pub(super) struct Region {
    pub(super) ocean: Ocean,
    pub(super) relays: Vec<Placed>,
    pub(super) edges: Vec<Placed>,
}

/// All of it. It ends when this is dropped.
pub(super) struct Tree {
    ground: Ground,
    servers: Servers,
    pub(super) homes: Vec<Placed>,
    pub(super) regions: Vec<Region>,
}

impl Ground {
    /// Makes the certificate.
    pub(super) fn new(args: &PodArgs, guests: Guests, out: &Path) -> Result<Self, BenchError> {
        let failed = |e: roomcast_certs::MakeError| BenchError::Protocol(e.to_string());
        let (_, pem) = roomcast_certs::make(SystemTime::now()).map_err(failed)?;
        let (certificate, key) = (out.join("edges.crt"), out.join("edges.key"));
        for (path, text) in [(&certificate, &pem.certificate), (&key, &pem.key)] {
            std::fs::write(path, text).doing(|| format!("writing {}", path.display()))?;
        }
        Ok(Self { args: args.clone(), guests, out: out.to_owned(), certificate, key })
    }

    /// Has rooms keep all events of a long run, by which it is judged.
    pub(super) fn keeping_all(mut self) -> Result<Self, BenchError> {
        let file = self.out.join("edges.toml");
        let text = "[default_policy]\nhistory_size = 1000000\nhistory_bytes = '256MiB'\nhistory_age = '1h'\n";
        std::fs::write(&file, text).doing(|| format!("writing {}", file.display()))?;
        self.args.pod_arg.extend(["--config".to_owned(), file.display().to_string()]);
        Ok(self)
    }

    /// Starts a pod that takes edges in.
    pub(super) async fn pod(&self, name: &str, more: &[(&str, String)]) -> Result<Placed, BenchError> {
        let log = report::directory_in(&self.out, name)?;
        let [port] = testkit::ports::free();
        let relay = SocketAddr::from(([127, 0, 0, 1], port));
        let mut own = self.args.clone();
        for (flag, value) in [
            ("--cert", self.certificate.display().to_string()),
            ("--key", self.key.display().to_string()),
            ("--relay-listen", relay.to_string()),
            ("--relay-keys", KEY.to_owned()),
        ] {
            own.pod_arg.extend([flag.to_owned(), value]);
        }
        own.pod_arg.extend(more.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]));
        Ok(Placed { pod: Pod::open(&own, self.guests, &log).await?, relay })
    }

    /// Starts a pod of a home.
    pub(super) async fn home(&self, name: &str, servers: &Servers) -> Result<Placed, BenchError> {
        self.pod(name, &[("--redis", servers.url())]).await
    }

    /// Starts a pod that follows these.
    pub(super) async fn edge(&self, name: &str, above: &[SocketAddr]) -> Result<Placed, BenchError> {
        let urls: Vec<_> = above.iter().map(|address| format!("wss://{address}")).collect();
        let ca = self.certificate.display().to_string();
        self.pod(name, &[("--upstream", urls.join(",")), ("--upstream-key", KEY.to_owned()), ("--upstream-ca", ca)])
            .await
    }
}

impl Placed {
    /// Where edges find it.
    pub(super) fn relay(&self) -> SocketAddr {
        self.relay
    }
}

impl Region {
    /// Where edges find its relays.
    fn above(&self) -> Vec<SocketAddr> {
        self.relays.iter().map(Placed::relay).collect()
    }
}

impl Tree {
    /// Starts all of it.
    pub(super) async fn start(ground: Ground, shape: &Shape) -> Result<Self, BenchError> {
        let servers = if shape.one_server { Servers::start_one().await? } else { Servers::start().await? };
        let mut homes = Vec::new();
        for n in 0..shape.homes {
            homes.push(ground.home(&format!("home-{n}"), &servers).await?);
        }
        let mut tree = Self { ground, servers, homes, regions: Vec::new() };
        for (n, &delay) in shape.delays.iter().enumerate() {
            let mut region = Region { ocean: Ocean::new(delay), relays: Vec::new(), edges: Vec::new() };
            for relay in 0..shape.relays {
                // Each link by itself, as it would be.
                let homes = tree.homes.iter().map(|home| region.ocean.lead_to(home.relay()));
                let homes = homes.collect::<Result<Vec<_>, _>>()?;
                region.relays.push(tree.ground.edge(&format!("relay-{n}-{relay}"), &homes).await?);
            }
            tree.regions.push(region);
            for _ in 0..shape.edges {
                tree.another_edge(n).await?;
            }
        }
        Ok(tree)
    }

    /// Starts one more edge in a region.
    pub(super) async fn another_edge(&mut self, region: usize) -> Result<(), BenchError> {
        let Some(place) = self.regions.get_mut(region) else {
            return Err(BenchError::Protocol(format!("there is no region {region}")));
        };
        let name = format!("edge-{region}-{}", place.edges.len());
        let edge = self.ground.edge(&name, &place.above()).await?;
        place.edges.push(edge);
        Ok(())
    }

    /// The home's Redis.
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// All pods.
    pub(super) fn pods(&mut self) -> impl Iterator<Item = &mut Pod> {
        let regions = self.regions.iter_mut().flat_map(|region| region.relays.iter_mut().chain(&mut region.edges));
        self.homes.iter_mut().chain(regions).map(|placed| &mut placed.pod)
    }

    /// Adds the end of a pod's log to an error, if one has died.
    pub(super) fn explain(&mut self, error: BenchError) -> BenchError {
        self.pods().fold(error, |error, pod| pod.explain(error))
    }
}
