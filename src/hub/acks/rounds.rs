//! Acks on their way to the broker, round after round; what a user has not read.
//!
//! Always holds: one round at a time; in each the broker is asked where the rooms stand, told what was read, and has its users told. Those
//! that a log must judge are asked about beside that, together, one question at a time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};

use crate::{
    broker::{AckBounds, BrokerError, KeptAck, Standing},
    hub::{
        acks::{
            ack_book::{WaitingAck, advance_both},
            ack_desk::AckAnswer,
            read_change::ReadChange,
        },
        commands::refusal::refusal,
        worker::{clock::millis, services::Services},
    },
    model::{Ack, AckMode, Epoch, ErrorCode, Notice, Offset, Policy, Position, Reply, Room, Telling, Unread},
};

/// How many notices are on their way to the broker at once.
const NOTICES_AT_ONCE: usize = 256;

/// The most rooms that one notice names: each connection of the user gets it.
const ROOMS_A_NOTICE: usize = 100;

/// Takes the acks of a pod's clients to the broker.
pub(super) struct AckRounds<'a>(pub(super) &'a Services);

impl AckRounds<'_> {
    /// Keeps what waits, round after round, for ever.
    pub(super) async fn run(&self) {
        loop {
            let every_ms = millis(self.0.config.load().acks.every);
            let due_ms = self.0.acks.book().due_ms(every_ms);
            let Some(due_ms) = due_ms else {
                self.0.acks.activity.notified().await;
                continue;
            };
            let wait_ms = due_ms.saturating_sub(millis(self.0.began.elapsed()));
            if wait_ms > 0 {
                // `acks.every` may be another one by then.
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                continue;
            }
            self.keep_round(every_ms).await;
        }
    }

    /// Keeps what waits now.
    pub(super) async fn keep_round(&self, every_ms: u64) {
        let round = self.0.acks.book().begin(every_ms, millis(self.0.began.elapsed()));
        let failed = self.keep_all(&round.acks()).await;
        let metrics = &self.0.metrics.acks;
        metrics.failed.increment(failed.len() as u64);
        let lost = self.0.acks.book().end(failed);
        metrics.lost.increment(lost as u64);
    }

    /// Judges the acks that only a log can judge.
    pub(super) async fn judge_asked(&self) {
        let asked = self.0.acks.book().take_asked();
        self.judge_all(asked.into()).await;
    }

    /// Judges acks, and takes in those that are good.
    async fn judge_all(&self, asked: Vec<(WaitingAck, AckAnswer)>) {
        let rooms: Vec<_> = asked.iter().map(|(ack, _)| (ack.room.clone(), epochs(&ack.positions))).collect();
        if rooms.is_empty() {
            return;
        }
        let standings = self.0.acks.store.standings(&rooms).await;
        for ((ack, answer), standing) in asked.into_iter().zip(standings) {
            let room = ack.room.clone();
            let reply = match standing.map(|standing| judge(ack, &standing)) {
                Err(error) => refusal(&error),
                Ok(Err(message)) => Reply::Error { code: ErrorCode::BadPosition, message, room: Some(room) },
                Ok(Ok(ack)) => {
                    if self.0.acks.put_judged(ack) {
                        Reply::Done { expires_at: None }
                    } else {
                        busy(room)
                    }
                }
            };
            // A client that is gone needs no answer.
            let _ = answer.send(reply);
        }
        self.0.acks.book().end_judging();
    }

    /// Writes acks, and has their users told. Those that failed.
    async fn keep_all(&self, waiting: &[WaitingAck]) -> Vec<WaitingAck> {
        if waiting.is_empty() {
            return Vec::new();
        }
        let rooms: Vec<_> = waiting.iter().map(|ack| (ack.room.clone(), epochs(&ack.positions))).collect();
        let standings = self.0.acks.store.standings(&rooms).await;
        let (mut failed, mut of, mut acks, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (ack, standing) in waiting.iter().zip(standings) {
            match standing {
                Err(_) => failed.push(ack.clone()),
                // The log is another one by now: nothing of it was read.
                Ok(standing) => match standing.read(&ack.positions) {
                    None => self.0.metrics.acks.lost.increment(1),
                    Some(offset) => {
                        let position = Position::new(standing.end.epoch, offset);
                        let (user, room) = (Arc::clone(&ack.user), ack.room.clone());
                        let telling = self.telling(ack, offset);
                        acks.push(Ack { user, room, position, telling });
                        of.push(ack);
                        ends.push(standing.end.offset);
                    }
                },
            }
        }
        let mut changes = Vec::new();
        let kept = self.0.acks.store.keep(&acks, self.0.ack_bounds()).await;
        for (((waiting, ack), end), kept) in of.into_iter().zip(acks).zip(ends).zip(kept) {
            match kept {
                // It would not be taken another time either.
                Err(BrokerError::TooLarge { .. } | BrokerError::NoToken(_)) => self.0.metrics.acks.lost.increment(1),
                Err(_) => failed.push(waiting.clone()),
                Ok(KeptAck { further, before }) => {
                    self.0.metrics.acks.kept.increment(1);
                    let Ack { user, room, position: read, telling } = ack;
                    let receipts = telling == Telling::Due;
                    // That nothing was read is no news.
                    if further && read.offset > 0 && (receipts || waiting.personal.is_some()) {
                        let (personal, unread) = (waiting.personal.clone(), Unread { room, read, end });
                        changes.push(ReadChange { user, personal, receipts, unread, before });
                    }
                }
            }
        }
        self.tell(changes).await;
        failed
    }

    /// What authors are to be told of an ack.
    fn telling(&self, ack: &WaitingAck, offset: Offset) -> Telling {
        match (self.0.policy(&ack.room).acks, ack.receipts) {
            // That nothing was read is no news.
            (AckMode::Receipts, true) if offset > 0 => Telling::Due,
            (AckMode::Receipts, false) => Telling::Withheld,
            _ => Telling::Nothing,
        }
    }

    /// Has users told what they have read on another device, and authors of what others have read.
    pub(super) async fn tell(&self, changes: Vec<ReadChange>) {
        // Of another epoch only the room's log knows how far it is the same.
        let (other, same): (Vec<_>, Vec<_>) = changes.into_iter().partition(ReadChange::has_other_epochs);
        let of = |change: &ReadChange| (change.unread.room.clone(), epochs(&change.before));
        let questions: Vec<_> = other.iter().map(of).collect();
        let standings = self.0.acks.store.standings(&questions).await;
        let mut spans = Vec::new();
        let mut news = Vec::new();
        for (change, standing) in other.into_iter().zip(standings) {
            // Where the log does not say, it is asked when it is looked for what was not told.
            let Ok(standing) = standing else { continue };
            if change.is_news(&standing) {
                let after = standing.read(&change.before).unwrap_or(0);
                news.push((change, after));
            } else if change.receipts {
                spans.push(change.settled());
            }
        }
        let same = same.into_iter().map(|change| {
            let after = change.before.first().map_or(0, |before| before.offset);
            (change, after)
        });
        let mut told: HashMap<Room, Vec<Unread>> = HashMap::new();
        for (change, after) in same.chain(news) {
            spans.extend(change.span(after));
            let Some(personal) = change.personal else { continue };
            let (rooms, unread) = (told.entry(personal).or_default(), change.unread);
            if rooms.len() < ROOMS_A_NOTICE {
                rooms.push(unread);
            }
        }
        // Those that have no place wait beside what is kept.
        self.0.metrics.acks.later.increment(self.0.acks.untold.add(spans) as u64);
        // One that is lost is made good by the next, or by asking.
        let notices = stream::iter(told).map(async |(personal, rooms)| {
            let _ = self.0.broker.notify(&personal, Notice::Unread(rooms)).await;
        });
        notices.buffer_unordered(NOTICES_AT_ONCE).for_each(|()| std::future::ready(())).await;
    }
}

impl Services {
    /// How much is kept of what a user has read.
    pub(super) fn ack_bounds(&self) -> AckBounds {
        let config = self.config.load();
        AckBounds { rooms: config.acks.rooms, age: config.acks.age }
    }

    /// How much a user has not read: of the rooms in which it has acknowledged, and of these. `may_see` leaves rooms out.
    ///
    /// # Errors
    /// The broker's.
    pub async fn unread(
        &self,
        user: &str,
        rooms: Vec<Room>,
        may_see: impl Fn(&Room, &Policy) -> bool,
    ) -> Result<Vec<Unread>, BrokerError> {
        let mut read: BTreeMap<Room, Vec<Position>> = rooms.into_iter().map(|room| (room, Vec::new())).collect();
        // What waits is looked at first: meanwhile it may be kept, and would be in neither.
        let waiting = self.acks.of(user);
        let kept = self.acks.store.kept(user, self.ack_bounds()).await?;
        for (room, positions) in kept.into_iter().chain(waiting) {
            let known = read.entry(room).or_default();
            positions.iter().for_each(|position| advance_both(known, position));
        }
        read.retain(|room, _| {
            let policy = self.policy(room);
            policy.acks != AckMode::Off && may_see(room, &policy)
        });
        let questions: Vec<_> = read.iter().map(|(room, positions)| (room.clone(), epochs(positions))).collect();
        let standings = self.acks.store.standings_for_reader(&questions).await;
        let each = read.into_iter().zip(standings);
        each.map(|((room, positions), standing)| {
            let standing = standing?;
            let offset = standing.read(&positions).unwrap_or(0);
            Ok(Unread { room, read: Position::new(standing.end.epoch, offset), end: standing.end.offset })
        })
        .collect()
    }
}

fn epochs(positions: &[Position]) -> Vec<Epoch> {
    positions.iter().map(|position| position.epoch.clone()).collect()
}

/// What is said where no more acks can wait.
#[must_use]
pub fn busy(room: Room) -> Reply {
    let message = "this pod has more to write down than it can: acknowledge again later".to_owned();
    Reply::Error { code: ErrorCode::Unavailable, message, room: Some(room) }
}

/// The ack as it is kept, if the room's log has what it says; otherwise what is wrong.
fn judge(ack: WaitingAck, standing: &Standing) -> Result<WaitingAck, String> {
    let (WaitingAck { room, positions, .. }, Standing { end, reaches }) = (&ack, standing);
    let mut good = Vec::new();
    for (Position { epoch, offset }, reach) in positions.iter().zip(reaches) {
        match reach {
            // To have read nothing is the same in every log.
            _ if *offset == 0 => good.push(Position::new(end.epoch.clone(), 0)),
            None => {
                let epoch = &end.epoch;
                return Err(format!(
                    "{room} has another log by now, of the epoch {epoch}: acknowledge what was read in that one"
                ));
            }
            Some(reach) if offset > reach => {
                return Err(format!("{room} ends at {reach} as far as this epoch goes: {offset} is beyond it"));
            }
            Some(_) if *epoch == Standing::own() => good.push(Position::new(end.epoch.clone(), *offset)),
            Some(_) => good.push(Position::new(epoch.clone(), *offset)),
        }
    }
    Ok(WaitingAck { positions: good, ..ack })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_does_not_have_is_refused() {
        let ack = |epoch: Epoch, offset| WaitingAck {
            user: "ann".into(),
            room: Room::parse("chat:1").unwrap(),
            positions: vec![Position::new(epoch, offset)],
            personal: None,
            receipts: true,
        };
        let end = Position::new(Epoch::new("b.new"), 9);
        let said = |epoch: Epoch, offset, reach| {
            let standing = Standing { end: end.clone(), reaches: vec![reach] };
            judge(ack(epoch, offset), &standing).map(|ack| ack.positions[0].clone())
        };
        assert_eq!(said(Standing::own(), 9, Some(9)).unwrap(), end);
        assert_eq!(said(Epoch::new("c.other"), 0, None).unwrap(), Position::new(end.epoch.clone(), 0));
        let old = Epoch::new("b.old");
        assert_eq!(said(old.clone(), 5, Some(5)).unwrap(), Position::new(old.clone(), 5), "it is this log's own");
        for (epoch, offset, reach, complaint) in [
            (Standing::own(), 10, Some(9), "10 is beyond it"),
            (old.clone(), 6, Some(5), "ends at 5"),
            (old, 1, None, "another log by now, of the epoch b.new"),
        ] {
            let message = said(epoch, offset, reach).unwrap_err();
            assert!(message.contains(complaint), "{message}");
        }
    }
}
