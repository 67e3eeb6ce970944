//! What a crash between any two steps leaves, and what becomes of it: over the embedded broker and over Redis.
//!
//! A pod's archive is stopped there by a broker that does not go on: before it publishes, or after. Then all of that pod is dropped, and
//! another one looks after what is left.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use serde_json::json;
use testkit::redis::Standalone;
use tokio::{
    sync::{Notify, oneshot},
    task::block_in_place,
};

use crate::{
    archive::database::Database,
    harness::{Client, pod, publication, rule},
    users::{over, ready},
};
use roomcast::testing::{
    archive::{Archive, ArchiveThread, ArchivedBroker, PageQuery},
    broker::{Answer, Broker, BrokerError, History, HistoryQuery, KeysBesideLog},
    config::{ArchiveSettings, Policies},
    metrics::ArchiveMetrics,
    model::{ArchiveMode, IdempotencyKey, Notice, Policy, Position, Publication, Retained, Room, Signal},
    pod::Pod,
};

/// Where a pod stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    BeforePublishing,
    AfterPublishing,
    Never,
    /// After it published, until it is told to go on.
    AWhile,
    /// Instead of publishing, until it is told to go on: then it refuses.
    Refusing,
}

/// A broker that goes on to a point.
struct Stopping {
    inner: Arc<dyn Broker>,
    stop: Stop,
    reached: Mutex<Option<oneshot::Sender<()>>>,
    go_on: Arc<Notify>,
}

impl Stopping {
    fn reach(&self) {
        if let Some(reached) = self.reached.lock().unwrap().take() {
            let _ = reached.send(());
        }
    }

    async fn stop(&self) {
        self.reach();
        pending().await
    }

    async fn wait(&self) {
        self.reach();
        self.go_on.notified().await;
    }
}

impl Broker for Stopping {
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        Box::pin(async move {
            if self.stop == Stop::BeforePublishing {
                self.stop().await;
            }
            if self.stop == Stop::Refusing {
                self.wait().await;
                return Err(BrokerError::Unavailable("full".to_owned()));
            }
            let published = self.inner.publish(room, publication).await;
            match self.stop {
                Stop::AfterPublishing => self.stop().await,
                Stop::AWhile => self.wait().await,
                Stop::BeforePublishing | Stop::Refusing | Stop::Never => {}
            }
            published
        })
    }
    fn publish_unlogged<'a>(&'a self, _: &'a Room, _: Publication, _: Box<str>) -> Answer<'a, ()> {
        unreachable!()
    }
    fn signal<'a>(&'a self, _: &'a Room, _: Signal) -> Answer<'a, ()> {
        unreachable!()
    }
    fn notify<'a>(&'a self, _: &'a Room, _: Notice) -> Answer<'a, ()> {
        unreachable!()
    }
    fn subscribe(&self, _: &Room) {}
    fn unsubscribe(&self, _: &Room) {}
    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        self.inner.history(room, query)
    }
    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        self.inner.retained(room)
    }
}

/// The archive of one pod, over the broker of another that has none.
struct Side {
    archive: Arc<Archive>,
    broker: Arc<ArchivedBroker>,
    reached: oneshot::Receiver<()>,
    go_on: Arc<Notify>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Side {
    fn start(settings: &ArchiveSettings, pod: &Pod, stop: Stop, known_for: Duration) -> Self {
        let services = pod.services();
        let (reach, reached) = oneshot::channel();
        let go_on = Arc::new(Notify::new());
        let inner: Arc<dyn Broker> = Arc::new(Stopping {
            inner: Arc::clone(&services.broker),
            stop,
            reached: Mutex::new(Some(reach)),
            go_on: Arc::clone(&go_on),
        });
        let made = ArchiveThread::make(
            settings,
            known_for,
            (Arc::clone(&inner), Arc::clone(&services.acks.kept), Arc::new(KeysBesideLog)),
            ArchiveMetrics::default,
        );
        let (archive, thread) = made.unwrap().unwrap();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || thread.run(ended));
        let archived = rule("*", |policy| policy.archive = ArchiveMode::Postgres);
        let matchers = archived.patterns.iter().map(|pattern| pattern.matcher().clone()).collect();
        let policies = Policies::new(vec![(matchers, archived.policy)], Policy::default());
        let policies = Arc::new(ArcSwap::from_pointee(policies));
        let broker = Arc::new(ArchivedBroker::new(inner, Arc::clone(&archive), policies));
        Self { archive, broker, reached, go_on, end: Some(end), thread: Some(thread) }
    }

    /// Publishes, and loses the database when the broker has had its turn.
    async fn publish_in_an_outage(
        &mut self,
        database: &Database,
        publication: Publication,
    ) -> Result<Position, BrokerError> {
        let broker = Arc::clone(&self.broker);
        let publishing = tokio::spawn(async move { broker.publish(&chat(), publication).await });
        (&mut self.reached).await.unwrap();
        block_in_place(|| database.server.kill());
        self.go_on.notify_one();
        let published = publishing.await.unwrap();
        block_in_place(|| {
            database.server.restart();
            database.server.wait_ready();
        });
        published
    }

    /// Begins to publish, comes to the point at which it stops, and is gone.
    async fn crash(mut self, publication: Publication) {
        let broker = Arc::clone(&self.broker);
        let publishing = tokio::spawn(async move { broker.publish(&chat(), publication).await });
        (&mut self.reached).await.unwrap();
        publishing.abort();
        let _ = publishing.await;
    }

    async fn offsets(&self) -> Vec<u64> {
        let query = PageQuery { before: None, after: None, limit: 100, user: None };
        let page = self.archive.page(&chat(), &query).await.unwrap();
        page.messages.iter().map(|message| message.position.offset).collect()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            block_in_place(|| thread.join().unwrap());
        }
    }
}

fn chat() -> Room {
    Room::parse("chat:1").unwrap()
}

fn known_event(data: &str) -> Publication {
    let key = Some(IdempotencyKey::of_client("once".into()));
    Publication { user: Some("ann".into()), idempotency_key: key, ..publication("said", data) }
}

/// Long enough that nothing is looked after, short enough that it is.
fn settings(database: &Database, repair_after: Duration) -> ArchiveSettings {
    ArchiveSettings { repair_after, ..database.settings() }
}

const NEVER: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(200);
const KNOWN: Duration = Duration::from_secs(300);

/// How many rows are pending, and how many are confirmed.
const COUNTS: &str = "SELECT (SELECT count(*) FROM roomcast_pending), (SELECT count(*) FROM roomcast_messages)";

/// The next event that a member hears.
async fn heard(client: &mut Client) -> (u64, String) {
    loop {
        let message = client.json().await;
        if let Some(event) = message["events"].as_array().and_then(|events| events.first()) {
            assert_eq!(message["events"].as_array().unwrap().len(), 1, "{message}");
            return (event["offset"].as_u64().unwrap(), event["data"].to_string());
        }
    }
}

async fn crash_between_any_two_steps(pod: &Pod) {
    let database = Database::made().await;
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("chat:1").await;

    // (1) and not (2): no member heard it, and its row says that it is to come.
    Side::start(&settings(&database, NEVER), pod, Stop::BeforePublishing, KNOWN).crash(known_event("1")).await;
    assert_eq!(database.sql(COUNTS), "1|0");
    let other = Side::start(&settings(&database, NEVER), pod, Stop::Never, KNOWN);
    assert_eq!(other.broker.publish(&chat(), publication("said", "2")).await.unwrap().offset, 1);
    assert_eq!(heard(&mut member).await, (1, "2".to_owned()));
    // It may be before or behind: as it is not published, nothing that can be read waits for it.
    assert_eq!(other.offsets().await, [1]);

    // (2) and not (3): members heard it. What follows is not read before its position is known.
    Side::start(&settings(&database, NEVER), pod, Stop::AfterPublishing, KNOWN).crash(publication("said", "3")).await;
    assert_eq!(heard(&mut member).await, (2, "3".to_owned()));
    assert_eq!(other.broker.publish(&chat(), publication("said", "4")).await.unwrap().offset, 3);
    assert_eq!(heard(&mut member).await, (3, "4".to_owned()));
    assert_eq!(database.sql(COUNTS), "2|2");
    assert_eq!(other.offsets().await, [1], "3 is there, and 2 may still come");
    drop(other);

    // Two pods look after both at once.
    let [a, b] = [(); 2].map(|()| Side::start(&settings(&database, SOON), pod, Stop::Never, KNOWN));
    database.until(COUNTS, "0|4").await;
    assert_eq!(heard(&mut member).await, (4, "1".to_owned()), "published once, now");
    let all = r#"SELECT "offset", convert_from(data, 'UTF8'), author FROM roomcast_messages ORDER BY 1"#;
    assert_eq!(database.sql(all), "1|2|\n2|3|\n3|4|\n4|1|ann");
    assert_eq!((a.offsets().await, b.offsets().await), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));

    // (3) and not (4): the publisher asks again under its key, and gets the same position.
    let again = a.broker.publish(&chat(), known_event("1")).await.unwrap();
    assert_eq!(again.offset, 4);
    // Another event under the key is refused, and leaves nothing.
    assert_eq!(b.broker.publish(&chat(), known_event("9")).await, Err(BrokerError::Conflict));
    database.until(COUNTS, "0|4").await;
    drop(a);

    // Nothing else was ever published.
    b.broker.publish(&chat(), publication("said", "5")).await.unwrap();
    assert_eq!(heard(&mut member).await, (5, "5".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_is_repaired() {
    let pod = pod(|_| {});
    crash_between_any_two_steps(&pod).await;
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_is_repaired_over_redis() {
    let server = block_in_place(Standalone::start);
    let pod = pod(|settings| over(&server, settings));
    ready(&pod).await;
    crash_between_any_two_steps(&pod).await;
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_first_event_of_a_room_is_read_when_that_is_settled() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    Side::start(&settings(&database, NEVER), &pod, Stop::AfterPublishing, KNOWN).crash(publication("said", "1")).await;
    // This one finds a log that has an event, and an archive that has none of its room.
    let other = Side::start(&settings(&database, NEVER), &pod, Stop::Never, KNOWN);
    assert_eq!(other.broker.publish(&chat(), publication("said", "2")).await.unwrap().offset, 2);
    assert_eq!(database.sql(COUNTS), "1|1");
    assert_eq!(database.sql("SELECT generation, first FROM roomcast_generations"), "1|1", "the first event is its own");
    assert!(other.offsets().await.is_empty(), "2 is there, and 1 may still come");
    drop(other);
    let side = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until(COUNTS, "0|2").await;
    assert_eq!(side.offsets().await, [1, 2]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_loses_the_database_confirms_what_it_published_when_that_is_back() {
    let database = Database::of_its_own().await;
    let pod = pod(|_| {});
    let first = Side::start(&settings(&database, NEVER), &pod, Stop::Never, KNOWN);
    first.broker.publish(&chat(), publication("said", "1")).await.unwrap();
    drop(first);
    // It has not asked for the room's lives yet, and cannot ask now. No repair comes.
    let mut side = Side::start(&settings(&database, NEVER), &pod, Stop::AWhile, KNOWN);
    let published = side.publish_in_an_outage(&database, publication("said", "2")).await;
    assert_eq!(published, Err(BrokerError::Unknown));
    database.until(COUNTS, "0|2").await;
    assert_eq!(side.offsets().await, [1, 2]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_is_told_that_nothing_was_published_when_nothing_will_be() {
    let database = Database::of_its_own().await;
    let pod = pod(|_| {});
    let refusing = ArchiveSettings { timeout: Duration::from_millis(700), ..settings(&database, NEVER) };
    let side = Side::start(&refusing, &pod, Stop::Refusing, KNOWN);
    side.go_on.notify_one();
    let published = side.broker.publish(&chat(), publication("said", "1")).await;
    assert_eq!(published, Err(BrokerError::Unavailable("full".to_owned())));
    assert_eq!(database.sql(COUNTS), "0|0", "before the answer, not after it");
    drop(side);
    // Where the row cannot be taken back the repair may publish it yet.
    let mut side = Side::start(&refusing, &pod, Stop::Refusing, KNOWN);
    let published = side.publish_in_an_outage(&database, publication("said", "2")).await;
    assert_eq!(published, Err(BrokerError::Unknown));
    database.until(COUNTS, "0|0").await;
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_settled_holds_up_no_other() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(publication("said", "1")).await;
    database.sql("UPDATE roomcast_pending SET room = 'chat:0'");
    database.sql("ALTER TABLE roomcast_generations ADD CHECK (room <> 'chat:0')");
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(publication("said", "2")).await;
    // The older one is first in every round, and fails.
    let side = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until("SELECT string_agg(room, ' ') FROM roomcast_pending", "chat:0").await;
    assert_eq!(side.offsets().await, [1]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_unknown_and_never_published() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("chat:1").await;
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(known_event("1")).await;
    database.sql("UPDATE roomcast_pending SET created = created - interval '150 s'");
    let side = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until("SELECT is_unknown FROM roomcast_pending", "t").await;
    // It holds nothing up.
    side.broker.publish(&chat(), publication("said", "2")).await.unwrap();
    assert_eq!(heard(&mut member).await, (1, "2".to_owned()));
    assert_eq!(side.offsets().await, [1]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_log_that_is_gone_is_unknown() {
    let database = Database::made().await;
    let first = pod(|_| {});
    let side = Side::start(&settings(&database, NEVER), &first, Stop::Never, KNOWN);
    side.broker.publish(&chat(), publication("said", "1")).await.unwrap();
    drop(side);
    Side::start(&settings(&database, NEVER), &first, Stop::AfterPublishing, KNOWN)
        .crash(publication("said", "2"))
        .await;
    block_in_place(|| first.stop());
    // Another process has another log, and cannot know what that one published.
    let second = pod(|_| {});
    let side = Side::start(&settings(&database, SOON), &second, Stop::Never, KNOWN);
    database.until("SELECT is_unknown FROM roomcast_pending", "t").await;
    side.broker.publish(&chat(), publication("said", "3")).await.unwrap();
    let lives = r#"SELECT generation, "offset", convert_from(data, 'UTF8') FROM roomcast_messages ORDER BY 1, 2"#;
    assert_eq!(database.sql(lives), "1|1|1\n2|1|3");
    let query = PageQuery { before: None, after: None, limit: 100, user: None };
    let page = side.archive.page(&chat(), &query).await.unwrap();
    assert_eq!(page.messages.len(), 2);
    assert!(json!(page.missing.len()) == 0, "what a log that is gone had is not missing: {:?}", page.missing);
    drop(side);
    block_in_place(|| second.stop());
}
