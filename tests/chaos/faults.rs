//! A fleet of three pods over real Redis servers, while these break.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use testkit::redis::{Cluster, Options, Standalone, wait_until};

use super::{
    Load, assert_clean, configuration,
    cut::{Cut, Lost},
    fleet::{Addresses, Pod},
    length, run,
};

fn seconds(seconds: f64) -> tokio::time::Sleep {
    sleep(Duration::from_secs_f64(seconds))
}

/// Blocks beside the runtime: the harness of Redis does.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Pods over these servers, each ready.
pub struct Fleet {
    pub pods: Vec<Pod>,
    pub _folder: tempfile::TempDir,
}

impl Fleet {
    fn start(count: usize, servers: &[(String, u16)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut args = configuration(folder.path());
        for (host, port) in servers {
            args.extend(["--redis".to_owned(), format!("redis://{host}:{port}")]);
        }
        let pods = (0..count).map(|_| Pod::start(folder.path(), &args)).collect();
        Self { pods, _folder: folder }
    }

    pub fn addresses(&self) -> Vec<Addresses> {
        self.pods.iter().map(|pod| pod.addresses).collect()
    }

    /// Waits until every pod is connected to Redis.
    pub async fn ready(&self) {
        let client = roomcast::testing::transport::fetch::Client::new(None).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        for pod in &self.pods {
            while super::publisher::call(&client, pod.addresses, "GET", "/ready", String::new()).await.is_none() {
                assert!(Instant::now() < deadline, "a pod is not ready; it said:\n{}", pod.said());
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

pub const LOAD: Load = Load {
    rooms: 1_000,
    clients: 300,
    rooms_each: 10,
    publishers: 12,
    pause: Duration::from_millis(5),
    recovers: true,
    stalling: 0,
    padding: 0,
};

/// Masters die, slots move, subscribers are cut off, all at once with the load; over and over if the run is long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_breaks_loses_nothing_silently() {
    let cluster = blocking(|| Cluster::start(3, 1));
    let mut fleet = blocking(|| Fleet::start(3, &cluster.addresses()));
    fleet.ready().await;
    let addresses = fleet.addresses();
    let pods = &mut fleet.pods;
    let verdict = run(LOAD, addresses, async {
        let end = Instant::now() + length(1);
        loop {
            seconds(1.0).await;
            // A master dies, and its replica takes over.
            blocking(|| {
                let dying = cluster.masters()[0];
                let heir = cluster.replica_of(dying);
                // One that has not caught up since the last fault does not stand for election.
                wait_until("a replica in step", || heir.info("replication", "master_link_status") == "up");
                dying.kill();
                cluster.wait_promoted(heir);
            });
            seconds(1.0).await;
            // 500 slots move while they are in use, and back.
            blocking(|| {
                let masters = cluster.masters();
                let (from, to) = (masters[0], masters[1]);
                let first = cluster.slots(from)[0].start;
                cluster.move_slots(from, to, first..first + 500);
                cluster.move_slots(to, from, first..first + 500);
            });
            seconds(0.5).await;
            // Every subscriber is cut off.
            blocking(|| {
                cluster.masters().iter().for_each(|node| {
                    node.kill_subscribers();
                })
            });
            seconds(0.5).await;
            // A pod stands still, and another one dies.
            pods[1].signal(Signal::STOP);
            blocking(|| pods[2].restart());
            seconds(3.0).await;
            pods[1].signal(Signal::CONT);
            seconds(1.0).await;
            // A master steps back in good order.
            blocking(|| {
                cluster.heal();
                let master = cluster.masters()[1];
                cluster.fail_over(cluster.replica_of(master));
            });
            seconds(1.0).await;
            if Instant::now() >= end {
                break;
            }
        }
    })
    .await;
    assert_clean(&verdict);
}

/// A server alone is restarted with what its file held, killed, and emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_or_forgets_is_told_of() {
    let server = blocking(|| Standalone::start_with(Options { append_only: true, ..Options::default() }));
    let fleet = blocking(|| Fleet::start(2, &[server.address()]));
    fleet.ready().await;
    let load = Load { rooms: 200, clients: 60, ..LOAD };
    let verdict = run(load, fleet.addresses(), async {
        let end = Instant::now() + length(1);
        loop {
            seconds(1.5).await;
            blocking(|| {
                server.stop();
                server.restart();
            });
            seconds(1.5).await;
            blocking(|| {
                server.kill();
                server.restart();
            });
            seconds(1.5).await;
            if Instant::now() >= end {
                break;
            }
        }
        blocking(|| server.call(&["FLUSHALL"]));
        seconds(1.5).await;
    })
    .await;
    assert_clean(&verdict);
    assert!(verdict.rolled_back > 0 && verdict.told > 0, "what was flushed is told: {verdict:?}");
}

/// A master acknowledges what its replica never gets, and dies: what it alone had is gone, and everybody who had it, or
/// was to have it, is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_forgets_is_told_of() {
    let cluster = blocking(|| Cluster::start(3, 1));
    let fleet = blocking(|| Fleet::start(2, &cluster.addresses()));
    fleet.ready().await;
    let load = Load { rooms: 200, clients: 60, ..LOAD };
    let verdict = run(load, fleet.addresses(), async {
        seconds(1.0).await;
        let (master, replica) = blocking(|| {
            let master = cluster.masters()[0];
            let replica = cluster.replica_of(master);
            // Paused alone, it would still find in its socket what came until then.
            replica.pause();
            master.call(&["CLIENT", "KILL", "TYPE", "replica"]);
            (master, replica)
        });
        seconds(0.7).await;
        blocking(|| {
            master.kill();
            replica.resume();
            cluster.wait_promoted(replica);
        });
        seconds(2.0).await;
        // A master is emptied and dies in the same moment; its replica may have heard of the one and of the other.
        blocking(|| {
            let dying = cluster.masters().into_iter().find(|node| node.port() != replica.port()).unwrap();
            let heir = cluster.replica_of(dying);
            dying.call(&["FLUSHALL"]);
            dying.kill();
            cluster.wait_promoted(heir);
        });
        seconds(2.0).await;
    })
    .await;
    assert_clean(&verdict);
    assert!(verdict.rolled_back > 0 && verdict.told > 0, "the failover forgot nothing: {verdict:?}");
}

/// One of two pods loses its Redis: what it says does not arrive, what it should hear does not, or neither. Some clients do
/// not read meanwhile and find that half of their rooms remember too little; in the end both pods leave one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_cut_off_from_redis_is_told_of() {
    // Each pod has an address of its own for the same server, so that one can be cut off.
    let server = blocking(|| Standalone::start_with(Options::default().line("bind 127.0.0.1 127.0.0.2")));
    let other = std::net::SocketAddr::from(([127, 0, 0, 2], server.port()));
    if Cut::new(other, Lost::Everything).is_none() {
        // Not `eprintln`, which a test that passes keeps to itself.
        let line = b"\nSKIPPED: cuts between pods and Redis need iptables and the right to use it (root)\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut args = configuration(folder.path());
    let text = std::fs::read_to_string(&args[1]).unwrap();
    let slow = "[limits]\nsend_queue = '64KiB'\n[socket]\nsend_buffer = '16KiB'\n[drain]\ndelay = '200ms'\nwindow = '1s'\n\
                [[policy]]\nmatch = ['room:1?']\nhistory_size = 20\n";
    std::fs::write(&args[1], text + slow).unwrap();
    args.push("--redis".to_owned());
    let at = |host: &str| [&args[..], &[format!("redis://{host}:{}", server.port())]].concat();
    let pods = blocking(|| [at("127.0.0.1"), at("127.0.0.2")].map(|args| Pod::start(folder.path(), &args)));
    let mut fleet = Fleet { pods: pods.into(), _folder: folder };
    fleet.ready().await;
    let load = Load { rooms: 20, clients: 40, stalling: 6, padding: 8_000, ..LOAD };
    let verdict = run(load, fleet.addresses(), async {
        let end = Instant::now() + length(1);
        let mut lasts = 5.0;
        loop {
            for lost in [Lost::Requests, Lost::Answers, Lost::Everything] {
                seconds(1.0).await;
                let cut = blocking(|| Cut::new(other, lost)).expect("a cut, as before");
                seconds(lasts).await;
                drop(cut);
            }
            seconds(1.0).await;
            for pod in &mut fleet.pods {
                blocking(|| {
                    pod.drain();
                    pod.restart();
                });
                seconds(1.0).await;
            }
            lasts = 30.0;
            if Instant::now() >= end {
                break;
            }
        }
    })
    .await;
    assert_clean(&verdict);
    assert!(verdict.told > 0, "clients that did not read missed nothing: {verdict:?}");
    assert_eq!(verdict.rolled_back, 0);
}
