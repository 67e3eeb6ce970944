//! Acks on their way to the broker, round after round; what a user has not read.
//!
//! Always holds: one round at a time; in each the broker is asked where the rooms stand, told what was read, and has its users told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};

use crate::{
    broker::{AckBounds, BrokerError, Standing},
    hub::{
        acks::{
            ack_book::{AckRound, WaitingAck, advance},
            ack_desk::AckAnswer,
        },
        commands::refusal::refusal,
        worker::{clock::millis, services::Services},
    },
    model::{Ack, AckMode, Epoch, ErrorCode, Notice, Position, Reply, Room, Unread},
};

/// How many notices are on their way to the broker at once.
const NOTICES_AT_ONCE: usize = 256;

/// How long a pod that ends waits for the last round.
const LAST_ROUND: Duration = Duration::from_secs(2);

impl Services {
    fn ack_bounds(&self) -> AckBounds {
        let config = self.config.load();
        AckBounds { rooms: config.acks.rooms, age: config.acks.age }
    }

    /// Keeps what this pod's clients have read, for ever.
    pub async fn keep_acks(&self) {
        loop {
            let every_ms = millis(self.config.load().acks.every);
            let due_ms = self.acks.book().due_ms(every_ms);
            let Some(due_ms) = due_ms else {
                self.acks.activity.notified().await;
                continue;
            };
            let wait_ms = due_ms.saturating_sub(millis(self.began.elapsed()));
            if wait_ms > 0 {
                // What must be judged does not wait for the next write.
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
                    () = self.acks.activity.notified() => {}
                }
                continue;
            }
            let round = self.acks.book().begin(every_ms, millis(self.began.elapsed()));
            self.perform(round).await;
        }
    }

    /// Keeps what still waits, when no client is left.
    pub async fn keep_last_acks(&self) {
        let round = self.acks.book().begin(0, millis(self.began.elapsed()));
        if tokio::time::timeout(LAST_ROUND, self.perform(round)).await.is_err() {
            tracing::warn!("what users have read last was not written: the broker did not answer in time");
        }
    }

    async fn perform(&self, round: AckRound<AckAnswer>) {
        let AckRound { acks, asked } = round;
        let failed = self.keep_all(&acks).await;
        let metrics = &self.metrics.acks;
        metrics.failed.increment(failed.len() as u64);
        let lost = self.acks.book().end(failed);
        metrics.lost.increment(lost as u64);
        self.judge_all(asked).await;
    }

    /// Judges acks, and takes in those that are good.
    async fn judge_all(&self, asked: Vec<(WaitingAck, AckAnswer)>) {
        let rooms: Vec<_> = asked.iter().map(|(ack, _)| (ack.room.clone(), epochs(&ack.positions))).collect();
        if rooms.is_empty() {
            return;
        }
        let standings = self.acks.kept.standings(&rooms).await;
        for ((ack, answer), standing) in asked.into_iter().zip(standings) {
            let room = ack.room.clone();
            let reply = match standing.map(|standing| judge(ack, &standing)) {
                Err(error) => refusal(&error),
                Ok(Err(message)) => Reply::Error { code: ErrorCode::BadPosition, message, room: Some(room) },
                Ok(Ok(ack)) => {
                    if self.acks.put(ack) {
                        Reply::Done { expires_at: None }
                    } else {
                        busy(room)
                    }
                }
            };
            // A client that is gone needs no answer.
            let _ = answer.send(reply);
        }
    }

    /// Writes acks, and has their users told. The places of those that failed.
    async fn keep_all(&self, waiting: &[WaitingAck]) -> Vec<usize> {
        if waiting.is_empty() {
            return Vec::new();
        }
        let rooms: Vec<_> = waiting.iter().map(|ack| (ack.room.clone(), epochs(&ack.positions))).collect();
        let standings = self.acks.kept.standings(&rooms).await;
        let (mut failed, mut places, mut acks, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (place, (ack, standing)) in waiting.iter().zip(standings).enumerate() {
            match standing {
                Err(_) => failed.push(place),
                // The log is another one by now: nothing of it was read.
                Ok(standing) => match standing.read(&ack.positions) {
                    None => self.metrics.acks.lost.increment(1),
                    Some(offset) => {
                        let position = Position::new(standing.end.epoch, offset);
                        places.push(place);
                        acks.push(Ack { user: Arc::clone(&ack.user), room: ack.room.clone(), position });
                        ends.push(standing.end.offset);
                    }
                },
            }
        }
        let mut told: HashMap<Room, Vec<Unread>> = HashMap::new();
        let kept = self.acks.kept.keep(&acks, self.ack_bounds()).await;
        for (((place, ack), end), kept) in places.into_iter().zip(acks).zip(ends).zip(kept) {
            match kept {
                Err(_) => failed.push(place),
                Ok(further) => {
                    self.metrics.acks.kept.increment(1);
                    let personal = waiting.get(place).and_then(|ack| ack.personal.clone());
                    if let Some(personal) = personal.filter(|_| further) {
                        let Ack { room, position: read, .. } = ack;
                        told.entry(personal).or_default().push(Unread { room, read, end });
                    }
                }
            }
        }
        // One that is lost is made good by the next, or by asking.
        let notices = told.into_iter();
        let notices = stream::iter(notices).map(async |(personal, rooms)| {
            let _ = self.broker.notify(&personal, Notice::Unread(rooms)).await;
        });
        notices.buffer_unordered(NOTICES_AT_ONCE).for_each(|()| std::future::ready(())).await;
        failed
    }

    /// How much a user has not read: of the rooms in which it has acknowledged, and of these. `may_see` leaves rooms out.
    ///
    /// # Errors
    /// The broker's.
    pub async fn unread(
        &self,
        user: &str,
        rooms: Vec<Room>,
        may_see: impl Fn(&Room) -> bool,
    ) -> Result<Vec<Unread>, BrokerError> {
        let mut read: BTreeMap<Room, Vec<Position>> = rooms.into_iter().map(|room| (room, Vec::new())).collect();
        // What waits is looked at first: meanwhile it may be kept, and would be in neither.
        let waiting = self.acks.of(user);
        let kept = self.acks.kept.kept(user, self.ack_bounds()).await?;
        for (room, positions) in kept.into_iter().chain(waiting) {
            let known = read.entry(room).or_default();
            positions.into_iter().for_each(|position| advance(known, position));
        }
        read.retain(|room, _| self.policy(room).acks == AckMode::Keep && may_see(room));
        let questions: Vec<_> = read.iter().map(|(room, positions)| (room.clone(), epochs(positions))).collect();
        let standings = self.acks.kept.standings(&questions).await;
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
