//! A client that joins many rooms on one plain connection and writes down what came and when. Needs a `LocalSet`.

use std::{cell::RefCell, collections::HashMap, convert::Infallible, net::SocketAddr, rc::Rc, time::Duration};

use serde::Deserialize;
use tokio::{task::JoinHandle, time::timeout};

use crate::{clock, content::Stamp, error::BenchError, plain_websocket::PlainWebSocket};

/// What members saw.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Seen {
    /// How many rooms were joined.
    pub(in crate::scenario) joined: usize,
    /// By room, what came: [`clock::now`] and the event's number.
    pub(in crate::scenario) events: HashMap<String, Vec<(u64, u64)>>,
    /// The rooms whose members got a `gap`, one entry for each.
    pub(in crate::scenario) gaps: Vec<String>,
    /// The first thing that should not have come.
    pub(in crate::scenario) wrong: Option<String>,
}

/// Where members write down what they see.
pub(in crate::scenario) type Notes = Rc<RefCell<Seen>>;

#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    room: Option<String>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    data: Stamp,
}

impl Seen {
    fn text(&mut self, text: &str) {
        let message: Result<Message<'_>, _> = serde_json::from_str(text);
        match message {
            Ok(Message { r#type: "events", room: Some(room), events }) => {
                let now = clock::now();
                self.events.entry(room).or_default().extend(events.iter().map(|event| (now, event.data.n)));
            }
            Ok(Message { r#type: "subscribed", .. }) => self.joined += 1,
            Ok(Message { r#type: "gap", room: Some(room), .. }) => self.gaps.push(room),
            Ok(Message { r#type: "welcome", .. }) => {}
            _ => self.wrong(text),
        }
    }

    fn wrong(&mut self, what: &str) {
        self.wrong.get_or_insert_with(|| what.chars().take(300).collect());
    }

    /// Fails if something came, or happened, that should not have.
    pub(in crate::scenario) fn check(&self) -> Result<(), BenchError> {
        match &self.wrong {
            Some(what) => Err(BenchError::Faults(format!("a member met with this: {what}"))),
            None => Ok(()),
        }
    }
}

/// A member's connection.
pub(in crate::scenario) struct Member(PlainWebSocket);

impl Member {
    /// Connects.
    pub(in crate::scenario) async fn connect(address: SocketAddr) -> Result<Self, BenchError> {
        PlainWebSocket::connect(address, "/ws", &["roomcast.v1"]).await.map(Self)
    }

    /// Joins rooms with one command, and takes notes until it is aborted.
    pub(in crate::scenario) fn join(self, rooms: &[String], notes: &Notes) -> JoinHandle<()> {
        let rooms: Vec<_> = rooms.iter().map(|room| format!(r#"{{"room":"{room}"}}"#)).collect();
        let subscribe = format!(r#"{{"type":"subscribe","id":1,"rooms":[{}]}}"#, rooms.join(","));
        let notes = Rc::clone(notes);
        tokio::task::spawn_local(async move {
            let Err(error) = self.listen(&subscribe, &notes).await;
            notes.borrow_mut().wrong(&error.to_string());
        })
    }

    async fn listen(mut self, subscribe: &str, notes: &Notes) -> Result<Infallible, BenchError> {
        self.0.send(subscribe).await?;
        let hear = |text: &str| {
            notes.borrow_mut().text(text);
            Vec::new()
        };
        self.0.listen(hear).await
    }
}

/// Waits until what is seen satisfies `enough`.
pub(in crate::scenario) async fn until(
    notes: &Notes,
    seconds: u64,
    what: &str,
    enough: impl Fn(&Seen) -> bool,
) -> Result<(), BenchError> {
    let wait = async {
        while !enough(&notes.borrow()) {
            notes.borrow().check()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    };
    timeout(Duration::from_secs(seconds), wait).await.map_err(|_| {
        let (what, hint) = (what.to_owned(), "the logs of the pods are in the directory of the results".to_owned());
        BenchError::Timeout { what, seconds, hint }
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_written_down() {
        let mut seen = Seen::default();
        seen.text(r#"{"type":"welcome","connection":"1"}"#);
        seen.text(r#"{"type":"subscribed","room":"a","epoch":"e","offset":0}"#);
        seen.text(r#"{"type":"events","room":"a","events":[{"offset":1,"data":{"n":7,"t":1,"ref":""}}]}"#);
        seen.text(r#"{"type":"gap","room":"a","reason":"lost"}"#);
        assert_eq!((seen.joined, seen.gaps.len(), seen.events["a"][0].1), (1, 1, 7));
        assert!(seen.check().is_ok());
        seen.text(r#"{"type":"error","room":"a","code":"forbidden"}"#);
        assert!(seen.check().is_err());
    }
}
