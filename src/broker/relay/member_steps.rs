//! Changes of many members of one edge at once, a step at a time: other links have their turns between.
//!
//! Owns nothing. Always holds: after each step the list of members says what the edge's members say, whatever ends before the next one.

use std::{sync::Arc, time::Instant};

use super::{
    edge_session::SIGN_EVERY, edges::EdgeLink, home::Home, member_departure::MemberDeparture, message::FromHome,
};

/// How many members are changed in one step: some tenths of a millisecond.
const STEP: usize = 128;

/// What takes many steps.
struct LongWork<'a> {
    /// The link whose edge waits for it, if one does.
    link: Option<&'a EdgeLink>,
    /// When the edge had its last sign of life.
    alive: Instant,
}

impl<'a> LongWork<'a> {
    fn begin(link: Option<&'a EdgeLink>) -> Self {
        Self { link, alive: Instant::now() }
    }

    /// Lets others have their turns, and the edge a sign of life.
    async fn give_way(&mut self) {
        tokio::task::yield_now().await;
        if let Some(link) = self.link
            && self.alive.elapsed() >= SIGN_EVERY
        {
            self.alive = Instant::now();
            link.queue.send(&FromHome::Alive);
        }
    }

    /// Does something with all of these, a step at a time.
    async fn each_step<T>(&mut self, all: &[T], mut act: impl FnMut(&[T])) {
        for step in all.chunks(STEP) {
            act(step);
            self.give_way().await;
        }
    }
}

impl Home {
    /// Takes back members of an edge that go. `link`: the one that waits for it.
    pub(super) async fn take_back(&self, edge: &str, link: Option<&EdgeLink>, departure: MemberDeparture<'_>) {
        let leaving = self.members.leaving(edge, departure);
        let take = |step: &[_]| {
            for (room, member) in self.members.take(edge, departure, step) {
                self.store.presence.leave_for(edge, &room, &member);
            }
        };
        LongWork::begin(link).each_step(&leaving, take).await;
    }

    /// Tells of a user's members that were hidden, for as long as the user's token counts.
    pub(super) async fn show_members(&self, link: &EdgeLink, user: &Arc<str>) {
        let mut work = LongWork::begin(Some(link));
        while link.users.has(user, (link.now)()) {
            let shown = self.members.show(&link.pod, link.number, user, STEP);
            for (room, member) in &shown {
                self.store.presence.join_for(&link.pod, room, member);
            }
            if shown.len() < STEP {
                break;
            }
            work.give_way().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[tokio::test]
    async fn others_have_a_turn_between_any_two_steps() {
        let turns = Rc::new(Cell::new(0_usize));
        let own = Rc::clone(&turns);
        let other = async move {
            loop {
                own.set(own.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let work = async {
            let other = tokio::task::spawn_local(other);
            let all: Vec<usize> = (0..10 * STEP + 1).collect();
            let mut seen = Vec::new();
            let look = |step: &[usize]| {
                seen.extend_from_slice(step);
                assert!(turns.get() >= seen.len().div_ceil(STEP) - 1, "{} after {}", turns.get(), seen.len());
            };
            LongWork::begin(None).each_step(&all, look).await;
            other.abort();
            assert_eq!(seen, all);
        };
        tokio::task::LocalSet::new().run_until(work).await;
    }
}
