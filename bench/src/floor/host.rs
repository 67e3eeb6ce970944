//! The parent's side of the floor: makes the frames that a pod would send, and hands them over.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use roomcast::testing::{
    model::{Batch, Epoch, Event, Payload, Policy, Room},
    protocol::{Dialect as _, Messages, Native},
    transport::websocket::{Deflater, frame_messages},
};
use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::timeout};

use super::control::{Counts, Notice, order};
use crate::{
    child::{Heard, NOTICES, Role},
    content::{Recipe, Stamp},
    dialect::{self, room_name},
    error::BenchError,
    process::Process,
    publisher::TOPIC,
    receiver::control::{Join, Target},
};

/// A running floor.
pub(crate) struct Floor {
    role: Role,
    heard: mpsc::Receiver<Heard<Notice>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) process: Process,
    encoder: Encoder,
    offset: u64,
}

impl Floor {
    /// Starts one with so many threads; `deflate`: its frames are compressed.
    pub(crate) async fn start(threads: usize, deflate: bool) -> Result<Self, BenchError> {
        let (sender, mut heard) = mpsc::channel(NOTICES);
        let arguments = ["floor".to_owned(), "--threads".to_owned(), threads.to_string()];
        let role = Role::start("floor", &arguments, 0, sender)?;
        let Notice::Listening(address) = hear(&mut heard).await? else {
            return Err(BenchError::Child { who: "floor".to_owned(), what: "did not say where it listens".to_owned() });
        };
        let process = Process::new(role.pid().unwrap_or(0));
        Ok(Self { role, heard, address, process, encoder: Encoder::new(deflate), offset: 0 })
    }

    /// How its receivers connect; the caller sets how many.
    pub(crate) fn join(&self, recipe: Recipe, deflate: bool) -> Join {
        Join::new(Target::Floor, self.address, dialect::Dialect::Native, recipe, deflate)
    }

    /// Sends event `stamp.n` of room 0 to every socket; returns its offset.
    pub(crate) async fn send(&mut self, recipe: &Recipe, stamp: Stamp) -> Result<u64, BenchError> {
        let data = recipe.data(0, stamp);
        self.offset += 1;
        let frame = self.encoder.frame(0, self.offset, data)?;
        self.role.write(&order(&frame)).await?;
        Ok(self.offset)
    }

    /// What its threads did so far.
    pub(crate) async fn counts(&mut self) -> Result<Counts, BenchError> {
        self.role.write(&order(&[])).await?;
        match hear(&mut self.heard).await? {
            Notice::Counts(counts) => Ok(counts),
            Notice::Listening(_) => {
                Err(BenchError::Child { who: "floor".to_owned(), what: "said something unexpected".to_owned() })
            }
        }
    }
}

async fn hear(heard: &mut mpsc::Receiver<Heard<Notice>>) -> Result<Notice, BenchError> {
    let slow = || BenchError::Timeout {
        what: "an answer of the floor".to_owned(),
        seconds: 15,
        hint: "what it wrote stands above".to_owned(),
    };
    let (_, notice) = timeout(Duration::from_secs(15), heard.recv()).await.map_err(|_| slow())?.ok_or_else(slow)?;
    notice
}

/// Makes the bytes that a pod sends for an event: the native dialect's message, compressed and framed by the pod's own
/// code with the pod's default policy.
struct Encoder {
    messages: Messages,
    deflater: Option<Deflater>,
    compress_from: usize,
}

impl Encoder {
    fn new(deflate: bool) -> Self {
        let compress_from = Policy::default().compress_from;
        let deflater = (deflate && compress_from.is_some()).then(|| Deflater::new(Deflater::DEFAULT_LEVEL, 15));
        Self { messages: Messages::default(), deflater, compress_from: compress_from.unwrap_or(0) }
    }

    fn frame(&mut self, room: u32, offset: u64, data: String) -> Result<Vec<u8>, BenchError> {
        let wrong = |e: &dyn std::fmt::Display| BenchError::Protocol(format!("the floor's event: {e}"));
        let payload = Payload::Json(RawValue::from_string(data).map_err(|e| wrong(&e))?);
        let time = std::time::UNIX_EPOCH.elapsed().map_err(|e| wrong(&e))?.as_millis();
        let event = Event {
            offset,
            room: None,
            time: u64::try_from(time).unwrap_or(0),
            topic: TOPIC.into(),
            key: None,
            payload,
            user: None,
            id: None,
        };
        let batch = Batch {
            room: Room::parse(&room_name(room)).map_err(|e| wrong(&e))?,
            // As long as a pod's, and as hard to compress.
            epoch: Epoch::new("5b1e90c7a3f2d8461"),
            after: offset - 1,
            offset,
            events: vec![Arc::new(event)],
        };
        self.messages.begin(0);
        Native.batch(&batch, 0, &mut self.messages);
        let mut frame = Vec::new();
        let deflate = self.deflater.as_mut().map(|deflater| (deflater, self.compress_from));
        frame_messages(&self.messages, deflate, &mut frame);
        Ok(frame)
    }
}
