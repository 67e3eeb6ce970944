//! What a client sends while something about it is being decided.
//!
//! Always holds: it is bounded, on the pod's account, and taken up in the order in which it came.

use std::{ops::ControlFlow, sync::Arc};

use crate::{hub::connection::budget::Budget, model::Disconnect, protocol::Message};

/// What a client sent while something about it was being decided.
#[derive(Debug, Default)]
pub struct PausedInput {
    messages: Vec<PausedMessage>,
    bytes: usize,
    /// Where the bytes are counted; `None`: there were none yet.
    budget: Option<Arc<Budget>>,
    /// How many decisions they wait for.
    pub(crate) waits: u32,
}

/// A message that waits for a decision.
#[derive(Debug)]
enum PausedMessage {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl PausedMessage {
    fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl PausedInput {
    /// More than one read brings, and the message that it completes: nothing is read behind it.
    const MAX_BYTES: usize = 256 * 1024;
    const MAX_MESSAGES: usize = 1_024;
    /// So much is kept also by a pod that holds nearly as much as it may.
    const FEW_BYTES: usize = 16 * 1024;

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keeps a message.
    ///
    /// # Errors
    /// Why the connection is closed: there are too many of them, or the pod holds nearly as much as it may.
    pub fn keep(&mut self, message: Message<'_>, budget: &Arc<Budget>) -> Result<(), Disconnect> {
        let (kept, bytes) = match message {
            Message::Text(text) => (PausedMessage::Text(text.into()), text.len()),
            Message::Binary(bytes) => (PausedMessage::Binary(bytes.into()), bytes.len()),
        };
        let bytes = bytes + size_of::<PausedMessage>();
        self.bytes += bytes;
        self.budget.get_or_insert_with(|| Arc::clone(budget)).take(bytes);
        self.messages.push(kept);
        if self.messages.len() > Self::MAX_MESSAGES || self.bytes > Self::MAX_BYTES {
            Err(Disconnect::Flood)
        } else if self.bytes > Self::FEW_BYTES && budget.is_tight() {
            Err(Disconnect::Overloaded)
        } else {
            Ok(())
        }
    }

    /// What was kept, in the order in which it came, until `take` breaks off.
    pub fn replay(self, mut take: impl FnMut(Message<'_>) -> ControlFlow<()>) {
        for kept in &self.messages {
            if take(kept.message()).is_break() {
                return;
            }
        }
    }
}

impl Drop for PausedInput {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_counts_until_it_is_taken_up() {
        let budget = Arc::new(Budget::new(100_000));
        let mut input = PausedInput::default();
        assert_eq!(input.keep(Message::Text(&"x".repeat(20_000)), &budget), Ok(()));
        assert!((20_000..20_100).contains(&budget.held()));
        let mut seen = Vec::new();
        input.replay(|message| {
            seen.push(matches!(message, Message::Text(text) if text.len() == 20_000));
            ControlFlow::Continue(())
        });
        assert_eq!((seen, budget.held()), (vec![true], 0));
    }

    #[test]
    fn too_much_is_a_flood_and_a_pod_without_memory_keeps_little() {
        let budget = Arc::new(Budget::new(1_000_000));
        let mut input = PausedInput::default();
        let kept = (0..2_000).take_while(|_| input.keep(Message::Binary(&[]), &budget).is_ok()).count();
        assert_eq!(kept, PausedInput::MAX_MESSAGES);
        drop(input);
        let mut input = PausedInput::default();
        let large = vec![0; 100_000];
        assert_eq!(
            [(); 3].map(|()| input.keep(Message::Binary(&large), &budget)),
            [Ok(()), Ok(()), Err(Disconnect::Flood)]
        );
        drop(input);
        assert_eq!(budget.held(), 0);
        budget.take(1_000_000);
        let mut input = PausedInput::default();
        assert_eq!(input.keep(Message::Binary(&large[..10_000]), &budget), Ok(()));
        assert_eq!(input.keep(Message::Binary(&large[..10_000]), &budget), Err(Disconnect::Overloaded));
    }
}
