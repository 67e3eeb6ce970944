//! What clients call themselves, each text once for all connections that have it.
//!
//! Never keeps one that no connection has for long. Always holds: there are at most [`UserAgents::MAX`] texts, each of at most
//! [`UserAgents::MAX_BYTES`] bytes; a connection beyond them has none.

use std::{collections::HashSet, sync::Arc};

/// The texts of a worker's connections.
#[derive(Debug, Default)]
pub struct UserAgents(HashSet<Arc<str>>);

impl UserAgents {
    /// The most texts.
    const MAX: usize = 4_096;

    /// The longest one; what is longer is cut.
    const MAX_BYTES: usize = 256;

    /// The text as others have it.
    pub fn intern(&mut self, text: &str) -> Option<Arc<str>> {
        let mut end = text.len().min(Self::MAX_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if let Some(known) = self.0.get(text) {
            return Some(Arc::clone(known));
        }
        if self.0.len() >= Self::MAX {
            self.0.retain(|known| Arc::strong_count(known) > 1);
        }
        if self.0.len() >= Self::MAX {
            return None;
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        Some(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once_and_forgotten_when_place_is_needed() {
        let mut agents = UserAgents::default();
        let held = agents.intern("curl/8").unwrap();
        assert!(Arc::ptr_eq(&held, &agents.intern("curl/8").unwrap()));
        assert_eq!(agents.intern(&"ü".repeat(200)).unwrap().len(), 256);
        let held: Vec<_> = (2..UserAgents::MAX).map(|n| agents.intern(&n.to_string()).unwrap()).collect();
        // One place is that of the long text, which no connection has.
        assert!(agents.intern("one more").is_some());
        let one_more = agents.intern("one more");
        assert_eq!(agents.intern("two more"), None);
        drop((held, one_more));
        assert!(agents.intern("two more").is_some());
        assert!(agents.0.len() <= 2, "{}", agents.0.len());
    }
}
