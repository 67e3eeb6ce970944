//! A simulated client of the native protocol, and the oracle: whether what it was sent keeps the promises of
//! `docs/PROTOCOL.md`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    hub::simulation::log::SimulatedLog,
    model::{Conflate, Epoch, Offset, Since},
};

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation(pub String);

macro_rules! violated {
    ($($text:tt)*) => { return Err(Violation(format!($($text)*))) };
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    room: Option<String>,
    epoch: Option<String>,
    after: Option<Offset>,
    offset: Option<Offset>,
    recovered: Option<bool>,
    #[serde(default)]
    events: Vec<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    offset: Offset,
    data: u64,
}

/// How a client stands in a room, as it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ViewState {
    Out,
    /// It asked to subscribe, from there on.
    Asked(Option<Since>),
    In,
    /// It asked to leave: what still comes is of before.
    Leaving,
}

/// What a client knows of a room.
#[derive(Debug, Clone)]
struct View {
    state: ViewState,
    /// Where it stands; kept while it is away.
    cursor: Option<(String, Offset)>,
    /// The events that it has since it last heard of a gap or began anew.
    stretch: BTreeMap<Offset, u64>,
}

/// A client.
pub struct SimulatedClient {
    name: usize,
    views: Vec<View>,
    conflate: Vec<Conflate>,
    /// How often it heard that events are gone.
    pub losses_told: usize,
}

impl SimulatedClient {
    /// A client that is in no room.
    pub fn new(name: usize, conflate: &[Conflate]) -> Self {
        let view = View { state: ViewState::Out, cursor: None, stretch: BTreeMap::new() };
        Self { name, views: vec![view; conflate.len()], conflate: conflate.to_vec(), losses_told: 0 }
    }

    /// It asks to be in a room; from where, if it may continue. `None`: it is there or asked already.
    pub fn subscribe(&mut self, room: usize, continues: bool) -> Option<Option<Since>> {
        let view = &mut self.views[room];
        if view.state != ViewState::Out {
            return None;
        }
        let cursor = view.cursor.as_ref().filter(|_| continues);
        let since = cursor.map(|(epoch, offset)| Since { epoch: Epoch::new(epoch), offset: *offset });
        view.state = ViewState::Asked(since.clone());
        Some(since)
    }

    /// It leaves a room; whether it was there or on its way.
    pub fn leave(&mut self, room: usize) -> bool {
        let standing = &mut self.views[room].state;
        let leaves = !matches!(standing, ViewState::Out | ViewState::Leaving);
        if leaves {
            *standing = ViewState::Leaving;
        }
        leaves
    }

    /// Its connection is gone. It remembers where it stood.
    pub fn disconnected(&mut self) {
        self.views.iter_mut().for_each(|view| view.state = ViewState::Out);
    }

    /// Its subscribe was answered with an error.
    pub fn refused(&mut self, room: usize) {
        self.views[room].state = ViewState::Out;
    }

    /// It reads a frame.
    pub fn receive(&mut self, frame: &[u8], logs: &[SimulatedLog]) -> Result<(), Violation> {
        let mut json = Vec::with_capacity(frame.len() + 1);
        json.push(b'[');
        json.extend_from_slice(frame.strip_suffix(b",").unwrap_or(frame));
        json.push(b']');
        let messages: Vec<Message> = match serde_json::from_slice(&json) {
            Ok(messages) => messages,
            Err(error) => violated!("no JSON: {error}: {}", String::from_utf8_lossy(frame)),
        };
        messages.into_iter().try_for_each(|message| self.message(message, logs))
    }

    fn message(&mut self, message: Message, logs: &[SimulatedLog]) -> Result<(), Violation> {
        let name = self.name;
        let Some(room) = message.room.as_deref().and_then(|room| room.strip_prefix("r")?.parse::<usize>().ok()) else {
            violated!("client {name} was sent a message of no room: {}", message.kind);
        };
        let (view, log) = (&mut self.views[room], &logs[room]);
        if message.kind == "unsubscribed" {
            view.state = ViewState::Out;
        }
        if view.state == ViewState::Leaving {
            return Ok(());
        }
        let (Some(epoch), Some(offset)) = (message.epoch, message.offset) else { return Ok(()) };
        if message.kind == "subscribed" {
            let ViewState::Asked(since) = std::mem::replace(&mut view.state, ViewState::In) else {
                violated!("client {name} was subscribed to r{room} twice");
            };
            let Some(recovered) = message.recovered else { violated!("subscribed without `recovered`") };
            match since {
                Some(since) if recovered && since.offset != offset => {
                    violated!("client {name} in r{room} asked from {} and was recovered from {offset}", since.offset)
                }
                None if recovered => violated!("client {name} in r{room} was recovered without asking"),
                Some(_) if recovered => {}
                since => {
                    self.losses_told += usize::from(since.is_some());
                    view.stretch.clear();
                }
            }
            view.cursor = Some((epoch, offset));
            return Ok(());
        }
        if view.state != ViewState::In {
            // What was on its way when it left.
            return Ok(());
        }
        let (Some(after), Some((before, at))) = (message.after, &view.cursor) else {
            violated!("client {name} in r{room}: {} without a position", message.kind);
        };
        if after != *at {
            let kind = message.kind;
            violated!(
                "client {name} in r{room} stands at {before}:{at}, and {kind} follows {after} up to {epoch}:{offset}"
            );
        }
        match message.kind.as_str() {
            "gap" => {
                self.losses_told += 1;
                view.stretch.clear();
            }
            "events" => {
                if epoch != *before
                    && let Some((offset, _)) =
                        view.stretch.iter().find(|(offset, number)| log.number_at(&epoch, **offset) != Some(**number))
                {
                    violated!(
                        "client {name} in r{room} went on from {before} to {epoch}, which does not have {offset}"
                    );
                }
                let mut last = after;
                for event in &message.events {
                    let conflates = self.conflate[room] != Conflate::None;
                    if event.offset <= last || event.offset > offset || (!conflates && event.offset != last + 1) {
                        violated!("client {name} in r{room}: {} behind {last} in ({after}, {offset}]", event.offset);
                    }
                    if log.number_at(&epoch, event.offset) != Some(event.data) {
                        violated!("client {name} in r{room}: {epoch}:{} is not {}", event.offset, event.data);
                    }
                    view.stretch.insert(event.offset, event.data);
                    last = event.offset;
                }
                if last != offset {
                    violated!("client {name} in r{room}: ({after}, {offset}] ends with {last}");
                }
            }
            _ => return Ok(()),
        }
        view.cursor = Some((epoch, offset));
        Ok(())
    }

    /// When everything is over: whether it has, or was told, all that the logs hold.
    pub fn settled(&self, logs: &[SimulatedLog]) -> Result<(), Violation> {
        for (room, (view, log)) in self.views.iter().zip(logs).enumerate() {
            let (name, head) = (self.name, log.head());
            match (&view.state, &view.cursor) {
                (ViewState::Out, _) => {}
                (ViewState::Leaving, _) => violated!("client {name} left r{room} and was never answered"),
                (ViewState::Asked(since), _) => violated!("client {name} in r{room} was never answered ({since:?})"),
                (ViewState::In, None) => violated!("client {name} in r{room} has no position"),
                (ViewState::In, Some((epoch, offset))) => {
                    if *offset != head.offset || !log.continues(epoch, *offset) {
                        violated!("client {name} in r{room} ends at {epoch}:{offset}, the log at {head:?}");
                    }
                }
            }
        }
        Ok(())
    }
}
