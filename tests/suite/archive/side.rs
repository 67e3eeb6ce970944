//! The archive of one pod, which stops between two steps of a publish where a test wants it.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, oneshot},
    task::block_in_place,
};

use crate::{archive::database::Database, harness::rule};
use roomcast::testing::{
    archive::{Archive, ArchiveThread, ArchivedBroker, PageQuery},
    broker::{Acks, Answer, Broker, BrokerError, History, HistoryQuery, KeysBesideLog},
    config::{ArchiveSettings, Policies},
    metrics::ArchiveMetrics,
    model::{ArchiveMode, Notice, Policy, Position, Publication, Retained, Room, Signal},
    pod::Pod,
};

/// Where a pod stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
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
pub struct Side {
    pub archive: Arc<Archive>,
    pub broker: Arc<ArchivedBroker>,
    pub reached: oneshot::Receiver<()>,
    pub go_on: Arc<Notify>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Side {
    pub fn start(settings: &ArchiveSettings, pod: &Pod, stop: Stop, known_for: Duration) -> Self {
        Self::start_with(settings, pod, stop, known_for, Arc::clone(&pod.services().acks.store))
    }

    /// `acks`: what says where logs stand.
    pub fn start_with(
        settings: &ArchiveSettings,
        pod: &Pod,
        stop: Stop,
        known_for: Duration,
        acks: Arc<dyn Acks>,
    ) -> Self {
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
            (Arc::clone(&inner), acks, Arc::new(KeysBesideLog)),
            ArchiveMetrics::default,
        );
        let (archive, thread) = made.unwrap().unwrap();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            thread.run(async move {
                let _ = ended.await;
                Instant::now() + Duration::from_secs(2)
            });
        });
        let broker = Arc::new(ArchivedBroker::new(inner, Arc::clone(&archive), policies(|_| {})));
        Self { archive, broker, reached, go_on, end: Some(end), thread: Some(thread) }
    }

    /// Publishes, and loses the database when the broker has had its turn.
    pub async fn publish_in_an_outage(
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
    pub async fn crash(mut self, publication: Publication) {
        let broker = Arc::clone(&self.broker);
        let publishing = tokio::spawn(async move { broker.publish(&chat(), publication).await });
        (&mut self.reached).await.unwrap();
        publishing.abort();
        let _ = publishing.await;
    }

    pub async fn offsets(&self) -> Vec<u64> {
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

/// All rooms are archived, and so.
pub fn policies(change: impl FnOnce(&mut Policy)) -> Arc<ArcSwap<Policies>> {
    let archived = rule("*", |policy| {
        policy.archive = ArchiveMode::Postgres;
        change(policy);
    });
    let matchers = archived.patterns.iter().map(|pattern| pattern.matcher().clone()).collect();
    Arc::new(ArcSwap::from_pointee(Policies::new(vec![(matchers, archived.policy)], Policy::default())))
}

pub fn chat() -> Room {
    Room::parse("chat:1").unwrap()
}

/// Long enough that nothing is looked after, short enough that it is.
pub fn settings(database: &Database, repair_after: Duration) -> ArchiveSettings {
    ArchiveSettings { repair_after, ..database.settings() }
}

pub const NEVER: Duration = Duration::from_secs(600);
pub const SOON: Duration = Duration::from_millis(200);
pub const KNOWN: Duration = Duration::from_secs(300);

/// How many rows are pending, and how many are confirmed.
pub const COUNTS: &str = "SELECT (SELECT count(*) FROM roomcast_pending), (SELECT count(*) FROM roomcast_messages)";
