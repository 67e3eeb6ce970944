//! A node's small command connection, for the layout and for the canary. One command at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    connect::{Access, Stream},
    endpoints::Endpoints,
    error::NodeError,
    frame::{Reader, Value, command},
    greeting::{has_sharded_pubsub, refusal},
    layout::Address,
};

/// The time for a reply; after it the connection is closed.
const REPLY: Duration = Duration::from_secs(1);
/// The time between attempts to connect.
const REST: Duration = Duration::from_millis(250);
/// The most commands that wait; further ones are not sent.
const WAITING: usize = 8;

/// What a server says of itself in its answer to HELLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// It is part of a cluster.
    pub cluster: bool,
    /// It is a sentinel.
    pub sentinel: bool,
    /// It is a master.
    pub master: bool,
    /// It has `SSUBSCRIBE`.
    pub sharded: bool,
}

/// Asks the configured nodes, one after another, what they are. The first answer counts.
///
/// # Errors
/// [`NodeError`] of the last node, if none answers; [`NodeError::Unreachable`] if none is configured.
pub async fn discover(endpoints: &Endpoints) -> Result<ServerInfo, NodeError> {
    let access = Access::seeds(endpoints);
    let mut last = NodeError::Unreachable("no address is configured".to_owned());
    for (host, port) in &endpoints.nodes {
        match Conversation::open(&access, &Address::new(host, *port)).await {
            Ok((_, server)) => return Ok(server),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A reply that outlives its connection's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Text(String),
    Number(i64),
    Error(String),
    List(Vec<Reply>),
    Null,
}

impl Reply {
    fn of(value: &Value<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match value {
            Value::Text(bytes) => Self::Text(text(bytes)),
            Value::Error(bytes) => Self::Error(text(bytes)),
            Value::Number(number) => Self::Number(*number),
            Value::Null => Self::Null,
            Value::List(values) | Value::Push(values) => Self::List(values.iter().map(Self::of).collect()),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A connection on which each command waits for its reply.
struct Conversation {
    stream: Box<dyn Stream>,
    reader: Reader,
}

impl Conversation {
    async fn open(access: &Access, address: &Address) -> Result<(Self, ServerInfo), NodeError> {
        let mut conversation = Self { stream: access.connect(address).await?, reader: Reader::default() };
        let fields = match conversation.ask(&access.greeting()).await? {
            Reply::List(fields) => fields,
            Reply::Error(error) => return Err(refusal(error.as_bytes())),
            other => return Err(NodeError::Hello(format!("{other:?}"))),
        };
        let field = |name: &str| {
            let pair = fields.chunks_exact(2).find(|pair| pair[0].text() == Some(name));
            pair.and_then(|pair| pair[1].text()).unwrap_or_default()
        };
        let server = ServerInfo {
            version: field("version").to_owned(),
            cluster: field("mode") == "cluster",
            sentinel: field("mode") == "sentinel",
            master: field("role") == "master",
            sharded: has_sharded_pubsub(field("version")),
        };
        Ok((conversation, server))
    }

    async fn ask(&mut self, words: &[String]) -> Result<Reply, NodeError> {
        let asking = async {
            let mut out = BytesMut::new();
            command(&mut out, words.iter().map(String::as_bytes));
            self.stream.write_all(&out).await.map_err(|_| NodeError::Ended)?;
            self.stream.flush().await.map_err(|_| NodeError::Ended)?;
            loop {
                if let Some(reply) = self.reader.next(|value| Reply::of(&value))? {
                    return Ok(reply);
                }
                if self.stream.read_buf(self.reader.buffer()).await.map_err(|_| NodeError::Ended)? == 0 {
                    return Err(NodeError::Ended);
                }
            }
        };
        timeout(REPLY, asking).await.map_err(|_| NodeError::Silent)?
    }
}

/// A command that waits for its turn. Without words: the connection is to be made anew.
struct Command {
    words: Vec<String>,
    reply: oneshot::Sender<Reply>,
}

/// A handle on a node's command connection, which is made again whenever it is lost. Cloning shares it; the connection
/// ends with the last handle.
#[derive(Clone)]
pub(super) struct Commander {
    commands: mpsc::Sender<Command>,
    error: Arc<Mutex<Option<NodeError>>>,
}

impl Commander {
    /// A handle, and the work behind it, which the caller must run. `ready` is notified of each new connection.
    pub(super) fn new(
        access: Access,
        address: Address,
        ready: Arc<Notify>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (commands, asked) = mpsc::channel(WAITING);
        let error = Arc::new(Mutex::new(None));
        (Self { commands, error: Arc::clone(&error) }, serve(access, address, asked, error, ready))
    }

    /// Sends a command. `None`: there is no connection, or no reply came.
    pub(super) async fn ask(&self, words: &[&str]) -> Option<Reply> {
        let (reply, replied) = oneshot::channel();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.commands.try_send(Command { words, reply }).ok()?;
        replied.await.ok()
    }

    /// Has the connection made anew.
    pub(super) fn renew(&self) {
        let (reply, _) = oneshot::channel();
        let _ = self.commands.try_send(Command { words: Vec::new(), reply });
    }

    /// Why there is no connection.
    pub(super) fn error(&self) -> Option<NodeError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(
    access: Access,
    address: Address,
    mut commands: mpsc::Receiver<Command>,
    error: Arc<Mutex<Option<NodeError>>>,
    ready: Arc<Notify>,
) {
    let note = |new: Option<NodeError>| *error.lock().unwrap_or_else(PoisonError::into_inner) = new;
    loop {
        let Some(opened) = dropping(&mut commands, Conversation::open(&access, &address)).await else { return };
        let mut conversation = match opened {
            Ok((conversation, _)) => conversation,
            Err(why) => {
                note(Some(why));
                if dropping(&mut commands, sleep(REST)).await.is_none() {
                    return;
                }
                continue;
            }
        };
        note(None);
        ready.notify_one();
        loop {
            let Some(command) = commands.recv().await else { return };
            if command.words.is_empty() {
                note(Some(NodeError::Demoted));
                break;
            }
            match conversation.ask(&command.words).await {
                Ok(reply) => drop(command.reply.send(reply)),
                Err(why) => {
                    note(Some(why));
                    break;
                }
            }
        }
    }
}

/// Waits for `work`. Commands that come meanwhile are dropped, so that none waits for a connection. `None`: the last handle is
/// gone.
async fn dropping<T>(commands: &mut mpsc::Receiver<Command>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            command = commands.recv() => drop(command?),
        }
    }
}
