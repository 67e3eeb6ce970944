//! A worker's signals on their way to the broker.
//!
//! Never talks to the broker. Always holds: of one topic of one sender in a room one signal waits, the newest; what waits is
//! bounded; signals of the same topic leave in their order, because the next ones are taken when all before them are answered.

use std::{collections::HashMap, rc::Rc};

use tokio::sync::Notify;

use crate::model::{Room, Signal, SignalAct, SignalKey};

/// The signals that wait.
#[derive(Debug, Default)]
pub struct SignalOutbox {
    waiting: HashMap<SignalKey, Signal>,
    /// Told when something waits.
    pub activity: Rc<Notify>,
}

impl SignalOutbox {
    /// The most that wait. With all that one may say that is 6 MiB.
    pub const MAX: usize = 4_096;

    /// Takes one in. `false`: there is no room for it.
    #[must_use]
    pub fn push(&mut self, room: &Room, signal: Signal) -> bool {
        let key = SignalKey::of(room, &signal);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            // What a connection showed that leaves is gone anyway, once the newer one of another connection has come.
            if signal.act != SignalAct::Leave || waiting.sender.connection == signal.sender.connection {
                *waiting = signal;
            }
            return true;
        }
        if self.waiting.len() >= Self::MAX {
            return false;
        }
        self.waiting.insert(key, signal);
        self.activity.notify_one();
        true
    }

    /// Takes all that wait.
    #[must_use]
    pub fn take(&mut self) -> Vec<(Room, Signal)> {
        std::mem::take(&mut self.waiting).into_iter().map(|(key, signal)| (key.room().clone(), signal)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Member;

    fn signal(connection: &str, topic: &str, act: SignalAct) -> Signal {
        let sender = Member { connection: connection.into(), user: Some("ann".into()) };
        Signal { topic: topic.into(), sender, data: None, act }
    }

    #[test]
    fn the_newest_of_a_sender_waits() {
        let (mut outbox, room) = (SignalOutbox::default(), Room::parse("r").unwrap());
        let mut push = |connection, topic, act| assert!(outbox.push(&room, signal(connection, topic, act)));
        push("1", "typing", SignalAct::Show(5_000));
        push("1", "typing", SignalAct::Stop);
        push("2", "typing", SignalAct::Show(6_000));
        push("1", "typing", SignalAct::Leave);
        push("2", "recording", SignalAct::Show(1_000));
        push("2", "recording", SignalAct::Leave);
        let mut taken: Vec<_> = outbox.take().into_iter().map(|(_, signal)| (signal.topic, signal.act)).collect();
        taken.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(taken, [("recording".into(), SignalAct::Leave), ("typing".into(), SignalAct::Show(6_000))]);
        assert!(outbox.take().is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut outbox, room) = (SignalOutbox::default(), Room::parse("r").unwrap());
        for n in 0..SignalOutbox::MAX {
            assert!(outbox.push(&room, signal("1", &n.to_string(), SignalAct::Show(1))));
        }
        assert!(!outbox.push(&room, signal("1", "more", SignalAct::Show(1))));
        assert!(outbox.push(&room, signal("1", "0", SignalAct::Stop)), "one that waits has its place");
        assert_eq!(outbox.take().len(), SignalOutbox::MAX);
        assert!(outbox.push(&room, signal("1", "more", SignalAct::Show(1))));
    }
}
