//! Links that are cut and pods that are killed while events go to members everywhere; afterwards it is looked at what each member saw.
//!
//! What is lost, and what is not, is the checker's of the tests (`testkit::checker`). Always holds: every event that was begun is sent until it is
//! acknowledged, with an idempotency key.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use serde::Serialize;
use testkit::checker::{Acknowledged, Run, Verdict, check};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    tree::{Placed, Tree},
    watch::Watch,
};
use crate::{
    content::Random, dialect::room_name, error::BenchError, ocean::Towards, pod::Pod, publisher::Publisher,
    scenario::progress::bar,
};

/// How long it goes well before each fault.
const WELL: Duration = Duration::from_secs(1);
/// Before an event that was refused is sent again.
const AGAIN: Duration = Duration::from_millis(100);

/// What goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) rooms: u32,
    /// Events a second at home, over all rooms; a tenth of that at an edge of the last region.
    pub(super) rate: f64,
    /// How long cuts last.
    pub(super) cut: Duration,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Faulted {
    pub(super) members: usize,
    pub(super) cut_seconds: f64,
    pub(super) steps: Vec<Step>,
    pub(super) acknowledged: usize,
    /// Answers that were no success, before the event was sent again.
    refused: usize,
    pub(super) deliveries: usize,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) reordered: usize,
    pub(super) silent_gaps: usize,
    /// Members that saw nothing of a room, publishes that became two events, and those that stand elsewhere than their publisher was told.
    pub(super) other: usize,
    /// Acknowledged, and gone with a master of Redis.
    rolled_back: usize,
    /// Gaps that members were told of.
    told: usize,
    /// The first of what is wrong.
    pub(super) example: Option<String>,
}

/// One fault.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) what: String,
    /// Until every member has an event of every room that was published behind: behind the end of a cut, or behind the kill.
    pub(super) recovery_ms: f64,
}

impl Faulted {
    /// Whether every promise was kept.
    pub(super) fn is_clean(&self) -> bool {
        [self.lost, self.duplicated, self.reordered, self.silent_gaps, self.other].iter().all(|wrong| *wrong == 0)
    }

    fn judged(self, verdict: &Verdict) -> Self {
        let other = [&verdict.deaf, &verdict.doubled, &verdict.misplaced];
        let all =
            [&verdict.lost, &verdict.duplicated, &verdict.reordered, &verdict.silent_gaps].into_iter().chain(other);
        Self {
            deliveries: verdict.deliveries,
            lost: verdict.lost.len(),
            duplicated: verdict.duplicated.len(),
            reordered: verdict.reordered.len(),
            silent_gaps: verdict.silent_gaps.len(),
            other: other.iter().map(|wrong| wrong.len()).sum(),
            rolled_back: verdict.rolled_back,
            told: verdict.told,
            example: all.flatten().next().cloned(),
            ..self
        }
    }
}

/// What publishers share.
struct Desk {
    rooms: u32,
    /// The number of the next event: its id.
    next: Cell<u64>,
    over: Cell<bool>,
    refused: Cell<usize>,
    acknowledged: RefCell<Vec<Acknowledged>>,
}

impl Desk {
    /// Publishes to these rooms in turn until it is over.
    async fn publish(self: Rc<Self>, mut publisher: Publisher, rooms: Vec<u32>, every: Duration) {
        let mut tick = interval(every.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Not all at once.
        sleep(every.mul_f64(Random(u64::from(rooms.first().copied().unwrap_or(0))).below(100) as f64 / 100.0)).await;
        for room in rooms.into_iter().cycle() {
            tick.tick().await;
            if self.over.get() {
                return;
            }
            let (room, id) = (room_name(room), self.next.replace(self.next.get() + 1).to_string());
            let (epoch, offset) = loop {
                match publisher.publish_once(&room, &id).await {
                    Ok(position) => break position,
                    Err(_) => self.refused.set(self.refused.get() + 1),
                }
                sleep(AGAIN).await;
            };
            self.acknowledged.borrow_mut().push(Acknowledged { room, id, epoch, offset });
        }
    }
}

/// Lets all faults happen, one after the other. Needs a `LocalSet`.
pub(super) async fn measure(plan: &Plan, tree: &mut Tree) -> Result<Faulted, BenchError> {
    let mut watch = Watch::over(plan.rooms);
    watch.place(&tree.homes)?;
    for region in &tree.regions {
        watch.place(&region.edges)?;
    }
    watch.until("joining the rooms", |diary| diary.rooms.len() >= plan.rooms as usize).await?;
    let desk = Rc::new(Desk {
        rooms: plan.rooms,
        next: Cell::new(0),
        over: Cell::new(false),
        refused: Cell::new(0),
        acknowledged: RefCell::default(),
    });
    let mut publishers = JoinSet::new();
    let Some(home) = tree.homes.first() else { return Err(BenchError::Protocol("no home".to_owned())) };
    let every = Duration::from_secs_f64(1.0 / plan.rate);
    for room in 0..desk.rooms {
        let publisher = home.pod.another_publisher().await?;
        publishers.spawn_local(Rc::clone(&desk).publish(publisher, vec![room], every * desk.rooms));
    }
    // The last region's last edge is not killed.
    if let Some(edge) = tree.regions.last().and_then(|region| region.edges.last()) {
        let publisher = edge.pod.another_publisher().await?;
        publishers.spawn_local(Rc::clone(&desk).publish(publisher, (0..desk.rooms).collect(), every * 10));
    }
    let mut steps = Vec::new();
    cut(plan, tree, &watch, &desk, &mut steps).await?;
    kill(tree, &watch, &desk, &mut steps).await?;
    sleep(WELL).await;
    desk.over.set(true);
    while let Some(ended) = publishers.join_next().await {
        ended.map_err(|e| BenchError::Protocol(format!("a publisher: {e}")))?;
    }
    let Some(home) = tree.homes.first() else { return Err(BenchError::Protocol("no home".to_owned())) };
    let mut logs = HashMap::new();
    for room in watch.rooms() {
        logs.insert(room.clone(), log(&home.pod, room).await?);
    }
    let last = |room: &String| logs.get(room).and_then(|log| log.last()).map(|(offset, _)| *offset);
    // Whether somebody still lacks the end is the checker's to say.
    let settled =
        watch.until("the end", |diary| watch.rooms().iter().all(|room| diary.offset(room) >= last(room))).await;
    let members = watch.members();
    let acknowledged = desk.acknowledged.take();
    let (cut_seconds, count) = (plan.cut.as_secs_f64(), acknowledged.len());
    let verdict = check(&Run { acknowledged, logs, clients: watch.end() });
    let faulted =
        Faulted { members, cut_seconds, steps, acknowledged: count, refused: desk.refused.get(), ..Faulted::default() };
    let faulted = faulted.judged(&verdict);
    // A member that never got to the end, and lost nothing by the checker's book, would be the checker's fault.
    if faulted.is_clean() { settled.map(|()| faulted) } else { Ok(faulted) }
}

/// Each region's links are held one way, the other, and both; and they end and cannot be made.
async fn cut(plan: &Plan, tree: &Tree, watch: &Watch, desk: &Desk, steps: &mut Vec<Step>) -> Result<(), BenchError> {
    let progress = bar("cutting", tree.regions.len() as u64 * 4);
    for region in &tree.regions {
        let ms = region.ocean.delay().as_millis();
        let ways: [(&str, &[Towards]); 4] = [
            ("towards home are held", &[Towards::Home]),
            ("towards the region are held", &[Towards::Region]),
            ("are held both ways", &[Towards::Home, Towards::Region]),
            ("end and are refused", &[]),
        ];
        for (how, held) in ways {
            sleep(WELL).await;
            held.iter().for_each(|towards| region.ocean.hold(*towards, true));
            region.ocean.sink(held.is_empty());
            sleep(plan.cut).await;
            held.iter().for_each(|towards| region.ocean.hold(*towards, false));
            region.ocean.sink(false);
            let what = format!("links over {ms} ms {how} for {} s", plan.cut.as_secs_f64());
            let recovery_ms = watch.has_all_from(desk.next.get(), &what).await?;
            steps.push(Step { what, recovery_ms });
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(())
}

/// A relay, an edge, a pod of the home and a master of Redis are killed, where another one of the kind is left.
async fn kill(tree: &mut Tree, watch: &Watch, desk: &Desk, steps: &mut Vec<Step>) -> Result<(), BenchError> {
    let mut all: Vec<(&str, Option<&mut Placed>)> = Vec::new();
    let mut regions = tree.regions.iter_mut();
    if let Some(first) = regions.next() {
        let (relays, edges) = (&mut first.relays, &mut first.edges);
        all.push(("a relay is killed", one_of_several(relays)));
        all.push(("an edge is killed", one_of_several(edges)));
    }
    // The publishers are at the first.
    all.push(("a pod of the home is killed", tree.homes.get_mut(1)));
    for (what, pod) in all {
        let Some(placed) = pod else { continue };
        sleep(WELL).await;
        placed.pod.kill().await?;
        let recovery_ms = watch.has_all_from(desk.next.get(), what).await?;
        steps.push(Step { what: what.to_owned(), recovery_ms });
    }
    if tree.servers().is_cluster() {
        sleep(WELL).await;
        tree.servers().kill(tree.servers().master_of(&room_name(0))?).await?;
        let what = "a master of Redis is killed";
        let recovery_ms = watch.has_all_from(desk.next.get(), what).await?;
        steps.push(Step { what: what.to_owned(), recovery_ms });
    }
    Ok(())
}

fn one_of_several(pods: &mut [Placed]) -> Option<&mut Placed> {
    if pods.len() > 1 { pods.first_mut() } else { None }
}

/// A room's whole log: offsets and ids.
async fn log(pod: &Pod, room: &str) -> Result<Vec<(u64, String)>, BenchError> {
    let mut publisher = pod.another_publisher().await?;
    let (mut log, mut since) = (Vec::new(), String::from("offset=0"));
    loop {
        let path = format!("/api/rooms/{}/history?{since}&limit=1000", room.replace(':', "%3A"));
        let (status, text) = publisher.get(&path).await?;
        let wrong = || BenchError::Answer { request: path.clone(), status, body: text.chars().take(300).collect() };
        let page: serde_json::Value = serde_json::from_str(&text).map_err(|_| wrong())?;
        let events = page["events"].as_array().filter(|_| status == 200).ok_or_else(wrong)?;
        for event in events {
            let id = event["id"].as_str().ok_or_else(wrong)?;
            log.push((event["offset"].as_u64().ok_or_else(wrong)?, id.to_owned()));
        }
        if page["complete"] == true || events.is_empty() {
            return Ok(log);
        }
        let (epoch, offset) = (page["epoch"].as_str().ok_or_else(wrong)?, page["offset"].as_u64().ok_or_else(wrong)?);
        since = format!("offset={offset}&epoch={epoch}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_a_fault_and_what_redis_lost_is_none() {
        let clean =
            Faulted::default().judged(&Verdict { rolled_back: 3, told: 1, deliveries: 9, ..Verdict::default() });
        assert!(clean.is_clean());
        assert_eq!((clean.rolled_back, clean.told, clean.deliveries, clean.example), (3, 1, 9, None));
        let verdict = Verdict { lost: vec!["1".to_owned()], doubled: vec!["2".to_owned()], ..Verdict::default() };
        let faulted = Faulted::default().judged(&verdict);
        assert_eq!(
            (faulted.is_clean(), faulted.lost, faulted.other, faulted.example.as_deref()),
            (false, 1, 1, Some("1"))
        );
    }
}
