//! A node's small command connection: for questions about the layout and for the canary. One command at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};

use super::{
    Address, Endpoints, Fault,
    connect::{Access, Stream},
    feed::{is_sharded, refused},
    frame::{Reader, Value, command},
};

/// Until a command is answered; then the connection is given up.
const ANSWER: Duration = Duration::from_secs(1);
/// Between attempts to connect.
const REST: Duration = Duration::from_millis(250);
/// How many questions may wait; further ones are not asked.
const WAITING: usize = 8;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
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

/// Asks the configured nodes, one after the other, what they are: the first answer counts.
///
/// # Errors
/// [`Fault`] of the last one, if none answers; [`Fault::Unreachable`] if none is configured.
pub async fn discover(endpoints: &Endpoints) -> Result<Server, Fault> {
    let access = Access::seeds(endpoints);
    let mut last = Fault::Unreachable("no address is configured".to_owned());
    for (host, port) in &endpoints.nodes {
        match Conversation::open(&access, &Address::new(host, *port)).await {
            Ok((_, server)) => return Ok(server),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

/// An answer that outlives its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Text(String),
    Number(i64),
    Error(String),
    List(Vec<Answer>),
    Null,
}

impl Answer {
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

/// A connection on which each command waits for its answer.
struct Conversation {
    stream: Box<dyn Stream>,
    reader: Reader,
}

impl Conversation {
    async fn open(access: &Access, address: &Address) -> Result<(Self, Server), Fault> {
        let mut conversation = Self { stream: access.connect(address).await?, reader: Reader::default() };
        let fields = match conversation.ask(&access.greeting()).await? {
            Answer::List(fields) => fields,
            Answer::Error(error) => return Err(refused(error.as_bytes())),
            other => return Err(Fault::Hello(format!("{other:?}"))),
        };
        let field = |name: &str| {
            let pair = fields.chunks_exact(2).find(|pair| pair[0].text() == Some(name));
            pair.and_then(|pair| pair[1].text()).unwrap_or_default()
        };
        let server = Server {
            version: field("version").to_owned(),
            cluster: field("mode") == "cluster",
            sentinel: field("mode") == "sentinel",
            master: field("role") == "master",
            sharded: is_sharded(field("version")),
        };
        Ok((conversation, server))
    }

    async fn ask(&mut self, words: &[String]) -> Result<Answer, Fault> {
        let asking = async {
            let mut out = BytesMut::new();
            command(&mut out, words.iter().map(String::as_bytes));
            self.stream.write_all(&out).await.map_err(|_| Fault::Ended)?;
            self.stream.flush().await.map_err(|_| Fault::Ended)?;
            loop {
                if let Some(answer) = self.reader.next(|value| Answer::of(&value))? {
                    return Ok(answer);
                }
                if self.stream.read_buf(self.reader.buffer()).await.map_err(|_| Fault::Ended)? == 0 {
                    return Err(Fault::Ended);
                }
            }
        };
        timeout(ANSWER, asking).await.map_err(|_| Fault::Silent)?
    }
}

struct Question {
    words: Vec<String>,
    answer: oneshot::Sender<Answer>,
}

/// A handle on a node's command connection, which is made again whenever it is lost. Cloning shares it; the connection
/// ends with the last handle.
#[derive(Clone)]
pub(super) struct Commander {
    questions: mpsc::Sender<Question>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Commander {
    /// A handle, and the work behind it, which somebody must run; `ready` is told of each new connection.
    pub(super) fn new(
        access: Access,
        address: Address,
        ready: Arc<Notify>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (questions, asked) = mpsc::channel(WAITING);
        let fault = Arc::new(Mutex::new(None));
        (Self { questions, fault: Arc::clone(&fault) }, serve(access, address, asked, fault, ready))
    }

    /// Asks, unless there is no connection; `None`: no answer.
    pub(super) async fn ask(&self, words: &[&str]) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.questions.try_send(Question { words, answer }).ok()?;
        answered.await.ok()
    }

    /// Why there is no connection.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(
    access: Access,
    address: Address,
    mut asked: mpsc::Receiver<Question>,
    fault: Arc<Mutex<Option<Fault>>>,
    ready: Arc<Notify>,
) {
    let say = |new: Option<Fault>| *fault.lock().unwrap_or_else(PoisonError::into_inner) = new;
    loop {
        // Questions that come while there is no connection are not answered, but dropped, so that nobody waits.
        let opened = {
            let mut opening = std::pin::pin!(Conversation::open(&access, &address));
            loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    question = asked.recv() => if question.is_none() { return },
                }
            }
        };
        match opened {
            Ok((mut conversation, _)) => {
                say(None);
                ready.notify_one();
                loop {
                    let Some(question) = asked.recv().await else { return };
                    match conversation.ask(&question.words).await {
                        Ok(answer) => drop(question.answer.send(answer)),
                        Err(why) => {
                            say(Some(why));
                            break;
                        }
                    }
                }
            }
            Err(why) => {
                say(Some(why));
                let rested = tokio::time::sleep(REST);
                tokio::pin!(rested);
                loop {
                    tokio::select! {
                        () = &mut rested => break,
                        question = asked.recv() => if question.is_none() { return },
                    }
                }
            }
        }
    }
}
