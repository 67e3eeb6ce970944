//! Publishers that go on whatever happens, and what came of what they published.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use roomcast_redis_subscriber::slot;

use testkit::redis::{Cluster, Link, Reply};

use super::Pod;

/// What Redis acknowledged: for each channel the numbers that were published, and when.
type Acknowledged = HashMap<String, Vec<(u64, Instant)>>;

/// A publisher on a thread of its own: each few milliseconds the next number on each channel, at its owner.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Acknowledged>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub acknowledged: usize,
    /// Acknowledged, and never heard.
    pub lost: usize,
    /// Channels that did not hear the last number.
    pub deaf: usize,
    /// Between two messages of one channel that came.
    pub longest_gap: Duration,
    /// Between two messages of one channel that Redis acknowledged: what the publisher, or Redis itself, waited.
    pub longest_pause: Duration,
}

impl Traffic {
    pub fn start(cluster: &Cluster, channels: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (channels, ports) = (channels.to_vec(), cluster.nodes().iter().map(|node| node.port()).collect());
        let stopped = Arc::clone(&stop);
        Self { stop, thread: thread::spawn(move || publish(&channels, ports, &stopped)) }
    }

    /// Goes on for a moment, ends it, and waits for what is under way.
    pub fn finish(self, pod: &Pod) -> Outcome {
        thread::sleep(Duration::from_millis(300));
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = self.thread.join().unwrap();
        let began = Instant::now();
        let whole = || {
            let heard = pod.heard.messages.lock().unwrap();
            acknowledged.iter().all(|(channel, numbers)| {
                let last = numbers.last().unwrap().0.to_string();
                heard.get(channel).is_some_and(|heard| heard.iter().any(|(_, payload)| *payload == last))
            })
        };
        while !whole() && began.elapsed() < Duration::from_secs(3) {
            thread::sleep(Duration::from_millis(20));
        }
        let heard = pod.heard.messages.lock().unwrap();
        let mut outcome =
            Outcome { acknowledged: 0, lost: 0, deaf: 0, longest_gap: Duration::ZERO, longest_pause: Duration::ZERO };
        for (channel, numbers) in &acknowledged {
            let of_channel: HashMap<u64, Instant> = heard.get(channel).map_or_else(HashMap::new, |heard| {
                heard.iter().filter_map(|(at, payload)| Some((payload.parse().ok()?, *at))).collect()
            });
            outcome.acknowledged += numbers.len();
            outcome.lost += numbers.iter().filter(|(number, _)| !of_channel.contains_key(number)).count();
            outcome.deaf += usize::from(!of_channel.contains_key(&numbers.last().unwrap().0));
            outcome.longest_gap = outcome.longest_gap.max(longest_gap(of_channel.values().copied().collect()));
            let published = numbers.iter().map(|(_, at)| *at).collect();
            outcome.longest_pause = outcome.longest_pause.max(longest_gap(published));
        }
        outcome
    }
}

fn longest_gap(mut times: Vec<Instant>) -> Duration {
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

fn publish(channels: &[String], ports: Vec<u16>, stop: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut links: HashMap<u16, Link> = HashMap::new();
    let mut owners: Vec<Option<u16>> = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        if owners.is_empty() {
            owners = ports.iter().find_map(|port| layout(*port)).unwrap_or_default();
        }
        number += 1;
        let mut of_port: HashMap<u16, Vec<&String>> = HashMap::new();
        for channel in channels {
            if let Some(Some(port)) = owners.get(usize::from(slot(channel.as_bytes()))) {
                of_port.entry(*port).or_default().push(channel);
            }
        }
        for (port, channels) in of_port {
            let text = number.to_string();
            let commands: Vec<_> = channels.iter().map(|channel| vec!["SPUBLISH", channel, &text]).collect();
            let replies = match links.remove(&port).map_or_else(|| Link::open(port, None), Ok) {
                Ok(mut link) => link.pipeline(&commands).inspect(|_| drop(links.insert(port, link))),
                Err(error) => Err(error),
            };
            let Ok(replies) = replies else {
                owners.clear();
                continue;
            };
            for (channel, reply) in channels.into_iter().zip(replies) {
                match reply {
                    Reply::Number(_) => acknowledged.entry(channel.clone()).or_default().push((number, Instant::now())),
                    Reply::Error(error) if error.starts_with("MOVED") => owners.clear(),
                    _ => {}
                }
            }
        }
        thread::sleep(Duration::from_millis(3));
    }
    acknowledged
}

/// Who owns which slot, as one node says (`CLUSTER SLOTS`).
fn layout(port: u16) -> Option<Vec<Option<u16>>> {
    let slots = Link::open(port, None).ok()?.call(&["CLUSTER", "SLOTS"]).ok()?;
    let mut owners = vec![None; 16_384];
    for range in slots.list() {
        let [first, last, master, ..] = range.list() else { return None };
        let port = u16::try_from(master.list()[1].number()).unwrap();
        for slot in first.number()..=last.number() {
            owners[usize::try_from(slot).unwrap()] = Some(port);
        }
    }
    Some(owners)
}
