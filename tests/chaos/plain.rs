//! Plain messages, a thousand a second, while the pods that take them in die, freeze and leave, and while their cluster changes: of
//! what a witness beside the pods heard, clients of the pods that live lose nothing, get nothing twice, and get it in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use roomcast::testing::broker::redis::Partition;
use rustix::process::Signal;
use testkit::redis::{Cluster, Node, Standalone, wait_until};
use tokio::time::sleep;

use super::{
    fleet::{Addresses, Pod},
    length,
    plain_checker::{PlainRoom, PlainVerdict, Sight, judge},
    plain_load::{Following, PlainPublisher, Preset, ROOMS, Witness, follow},
};

/// How long anything may take that should happen.
const SOON: Duration = Duration::from_secs(30);

fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// What a pod's internal listener answers; empty: nothing.
fn get(pod: Addresses, path: &str) -> String {
    let mut answer = String::new();
    let asked = TcpStream::connect_timeout(&pod.internal, Duration::from_secs(1)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    if asked.is_ok() { answer } else { String::new() }
}

/// Pods of a preset, a client of each in each room, and what is published to these.
struct Run {
    preset: Preset,
    began: Instant,
    pods: Vec<Pod>,
    /// Pods that neither hear nor are heard now.
    away: BTreeSet<usize>,
    publisher: PlainPublisher,
    followings: Vec<Arc<Mutex<Following>>>,
    over: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Run {
    /// Starts; every client has had its first message.
    async fn start(preset: Preset, count: usize, servers: &[(String, u16)], publish_at: &Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut args =
            ["--preset", preset.name(), "--drain-delay", "200ms", "--drain-window", "1s"].map(str::to_owned).to_vec();
        for (host, port) in servers {
            args.extend(["--redis".to_owned(), format!("redis://{host}:{port}")]);
        }
        let pods = blocking(|| (0..count).map(|_| Pod::start(folder.path(), &args)).collect());
        let mut run = Self {
            preset,
            began: Instant::now(),
            pods,
            away: BTreeSet::new(),
            publisher: PlainPublisher::start(preset, publish_at.port()),
            followings: Vec::new(),
            over: Arc::new(AtomicBool::new(false)),
            _folder: folder,
        };
        for pod in 0..count {
            run.come(pod).await;
        }
        run.holder().await;
        run.all_hear().await;
        run
    }

    /// Waits until the pod is ready, and lets clients come to it.
    async fn come(&mut self, pod: usize) {
        let addresses = self.pods[pod].addresses;
        self.until("a pod is ready", || get(addresses, "/ready").starts_with("HTTP/1.1 200")).await;
        self.away.remove(&pod);
        for room in 0..ROOMS {
            let following = Arc::new(Mutex::new(Following { pod, room, ..Following::default() }));
            tokio::spawn(follow(self.preset, addresses, Arc::clone(&following), Arc::clone(&self.over)));
            self.followings.push(following);
        }
    }

    async fn until(&self, what: &str, check: impl Fn() -> bool) {
        let began = Instant::now();
        while !blocking(&check) {
            if began.elapsed() > SOON {
                let said: Vec<_> = self.pods.iter().map(Pod::said).collect();
                panic!("waited in vain until {what}; the pods said:\n{}", said.join("\n---\n"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The pod that takes messages in.
    async fn holder(&self) -> usize {
        let holders = || -> Vec<usize> {
            let holds =
                |pod: &usize| get(self.pods[*pod].addresses, "/metrics").contains("\nroomcast_legacy_lease 1\n");
            (0..self.pods.len()).filter(|pod| !self.away.contains(pod)).filter(holds).collect()
        };
        self.until("one pod takes messages in", || holders().len() == 1).await;
        blocking(holders)[0]
    }

    /// Waits until each client of a pod that is there has what is published from now on.
    async fn all_hear(&self) {
        let newest = self.publisher.newest() + 4;
        let behind = || {
            let hears = |following: &Following| {
                following.has_ended || self.away.contains(&following.pod) || following.numbers.last() > Some(&newest)
            };
            self.followings.iter().any(|following| !hears(&following.lock().unwrap()))
        };
        self.until("all clients hear", || !behind()).await;
    }

    /// Ends, and judges what was seen.
    async fn verdict(self, witnesses: impl FnOnce() -> Vec<BTreeMap<u64, Vec<u64>>>) -> PlainVerdict {
        self.all_hear().await;
        let Self { publisher, followings, pods, away, over, preset, began, .. } = self;
        let published = blocking(|| publisher.stop());
        let lasted = began.elapsed().as_secs_f64();
        let last = *published[&0].last().unwrap();
        let began = Instant::now();
        let lives = |following: &Following| !following.has_ended && !away.contains(&following.pod);
        while followings.iter().map(|f| f.lock().unwrap()).any(|f| lives(&f) && f.numbers.last() != Some(&last)) {
            // A client that is not told of the end in time has lost it: that is judged below.
            if began.elapsed() > SOON {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        // What comes twice comes within a batch window of the last.
        sleep(Duration::from_millis(300)).await;
        over.store(true, SeqCst);
        let witnessed = blocking(witnesses);
        let mut rooms: BTreeMap<u64, PlainRoom> = published
            .into_iter()
            .map(|(room, published)| {
                let witnessed = witnessed.iter().filter_map(|heard| heard.get(&room)).flatten().copied().collect();
                (room, PlainRoom { published, witnessed, sights: Vec::new() })
            })
            .collect();
        let mut whole = 0;
        for (n, following) in followings.iter().map(|f| f.lock().unwrap()).enumerate() {
            let mut numbers = following.numbers.clone();
            if lives(&following) {
                whole += 1;
                // It was there until the end, so that the last number counts for it as well.
                assert!(numbers.last() <= Some(&last));
                numbers.push(last + 1);
            }
            let who = format!("client {n} of pod {}", following.pod);
            rooms.get_mut(&following.room).unwrap().sights.push(Sight { who, numbers });
        }
        let mut verdict = PlainVerdict::default();
        for (name, room) in &mut rooms {
            room.published.push(last + 1);
            room.witnessed.push(last + 1);
            judge(&name.to_string(), room, &mut verdict);
        }
        let count: usize = rooms.values().map(|room| room.published.len() - 1).sum();
        println!(
            "{}: {count} plain messages, {:.0} a second, over {} pods, {} clients ({whole} to the end); deliveries {}; heard by no witness {}, of these got \
             by no client {}; lost {}, twice {}, reordered {}",
            preset.name(),
            count as f64 / lasted,
            pods.len(),
            followings.len(),
            verdict.deliveries,
            verdict.unheard,
            verdict.gone,
            verdict.lost.len(),
            verdict.twice.len(),
            verdict.reordered.len(),
        );
        assert!(whole > 0 && verdict.deliveries > 1_000, "hardly anything was delivered");
        verdict
    }
}

fn assert_clean(verdict: &PlainVerdict) {
    let some = |broken: &[String]| broken.iter().take(8).cloned().collect::<Vec<_>>();
    let PlainVerdict { lost, twice, reordered, .. } = verdict;
    assert!(verdict.is_clean(), "lost {:?}, twice {:?}, reordered {:?}", some(lost), some(twice), some(reordered));
}

/// Two holders are killed one after the other, one leaves, and one freezes for longer than its lease and wakes up.
async fn holders_go(preset: Preset) {
    let server = blocking(Standalone::start);
    preset.prepare(|command| drop(server.call(command)));
    let witness = blocking(|| Witness::start(preset, &server));
    let mut run = Run::start(preset, 4, &[server.address()], &server).await;
    let mut killed = Vec::new();
    for _ in 0..2 {
        let holder = run.holder().await;
        run.away.insert(holder);
        blocking(|| run.pods[holder].kill());
        killed.push(holder);
        run.holder().await;
        run.all_hear().await;
    }
    for pod in killed {
        blocking(|| run.pods[pod].restart());
        run.come(pod).await;
    }
    run.all_hear().await;
    let holder = run.holder().await;
    run.away.insert(holder);
    blocking(|| run.pods[holder].drain());
    run.holder().await;
    run.all_hear().await;
    let frozen = run.holder().await;
    run.away.insert(frozen);
    run.pods[frozen].signal(Signal::STOP);
    let began = Instant::now();
    run.holder().await;
    run.all_hear().await;
    // 20 s in a run of some length.
    let lasts = length(2).min(Duration::from_secs(20));
    sleep(lasts.saturating_sub(began.elapsed())).await;
    run.pods[frozen].signal(Signal::CONT);
    run.away.remove(&frozen);
    run.all_hear().await;
    run.holder().await;
    let verdict = run.verdict(|| vec![witness.heard(&server)]).await;
    assert_clean(&verdict);
    assert_eq!(verdict.unheard, 0, "the witness was there all the time: {verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_go_and_trips_lose_nothing() {
    holders_go(Preset::Trips).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_go_and_live_polls_lose_nothing() {
    holders_go(Preset::LivePolls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_go_and_loomio_loses_nothing() {
    holders_go(Preset::Loomio).await;
}

/// The node at which pods listen.
fn listened_at(cluster: &Cluster) -> &Node {
    cluster.owner(Partition::FIRST.slot())
}

/// How many connections listen to patterns there.
fn listeners(node: &Node) -> usize {
    let clients = node.call(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    clients.text().lines().filter(|line| !line.contains(" psub=0 ")).count()
}

/// The node at which pods listen steps back in good order, and the slot by which they found it moves: each node tells messages in an
/// order of its own, so that all pods stay where the holder listens, and one that joins comes there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_master_no_more_costs_no_plain_message() {
    let cluster = blocking(|| Cluster::start(3, 1));
    let other_than = |port: u16| move |node: &&Node| node.port() != port;
    let published_at =
        blocking(|| cluster.masters().into_iter().find(other_than(listened_at(&cluster).port())).unwrap());
    let witness = blocking(|| Witness::start(Preset::Trips, published_at));
    let mut run = Run::start(Preset::Trips, 3, &cluster.addresses(), published_at).await;
    let end = Instant::now() + length(1);
    loop {
        blocking(|| cluster.fail_over(cluster.replica_of(listened_at(&cluster))));
        run.all_hear().await;
        let holder = run.holder().await;
        let joins = (holder + 1) % run.pods.len();
        run.away.insert(joins);
        blocking(|| run.pods[joins].restart());
        run.come(joins).await;
        run.all_hear().await;
        blocking(|| {
            let from = listened_at(&cluster);
            let mut others = cluster.masters().into_iter().filter(other_than(published_at.port()));
            let to = others.find(other_than(from.port())).unwrap();
            let first = Partition::FIRST.slot();
            cluster.move_slots(from, to, first.saturating_sub(20)..first + 20);
        });
        run.all_hear().await;
        let holder = run.holder().await;
        run.away.insert(holder);
        blocking(|| run.pods[holder].kill());
        run.holder().await;
        run.all_hear().await;
        blocking(|| run.pods[holder].restart());
        run.come(holder).await;
        run.all_hear().await;
        if Instant::now() >= end {
            break;
        }
    }
    let verdict = run.verdict(|| vec![witness.heard(published_at)]).await;
    assert_clean(&verdict);
    assert_eq!(verdict.unheard, 0, "the witness was there all the time: {verdict:?}");
}

/// The holder and the node at which all pods listen are killed in one moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_dies_with_its_node_loses_no_plain_message() {
    let cluster = blocking(|| Cluster::start(3, 1));
    let published_at =
        blocking(|| cluster.masters().into_iter().find(|n| n.port() != listened_at(&cluster).port()).unwrap());
    let dying = blocking(|| listened_at(&cluster));
    let before = blocking(|| Witness::start(Preset::Trips, dying));
    let mut run = Run::start(Preset::Trips, 3, &cluster.addresses(), published_at).await;
    let holder = run.holder().await;
    run.away.insert(holder);
    blocking(|| {
        let heir = cluster.replica_of(dying);
        dying.kill();
        run.pods[holder].kill();
        cluster.wait_promoted(heir);
        wait_until("pods that listen where they should", || listeners(heir) >= 2);
    });
    // What comes before a pod takes messages in may have been another's to take in, and has no name that would tell.
    run.holder().await;
    let heir = blocking(|| listened_at(&cluster));
    let after = blocking(|| Witness::start(Preset::Trips, heir));
    run.all_hear().await;
    let verdict = run.verdict(|| vec![before.heard_until_the_end(), after.heard(published_at)]).await;
    assert_clean(&verdict);
}
