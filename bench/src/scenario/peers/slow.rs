//! How long one event takes where few are published: until it is answered, and until a client has it.

use serde::Serialize;

use crate::{
    callers::Caller,
    clock,
    content::{Recipe, Stamp},
    error::BenchError,
    peer::{Peer, Publication},
    scenario::{progress::bar, schedule::Schedule},
    stats::{Latencies, Percentiles, Spread},
};

/// Rooms, each with a client.
pub(super) const ROOMS: usize = 16;

/// One peer at a low rate, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Slow {
    pub(super) who: String,
    /// All repetitions together.
    pub(super) answered: Percentiles,
    pub(super) received: Percentiles,
    /// Of each repetition: answered.
    pub(super) rounds: Vec<Percentiles>,
    #[serde(skip)]
    all: (Latencies, Latencies),
}

impl Slow {
    /// From publishing to receiving, for a plot.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        self.all.1.curve()
    }

    /// This over the other, repetition by repetition.
    pub(super) fn over(&self, other: &Self, figure: impl Fn(&Percentiles) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(own, other)| figure(own) / figure(other)))
    }
}

/// All peers in turns. Needs a `LocalSet`.
pub(super) async fn measure(
    schedule: Schedule,
    recipe: Recipe,
    repetitions: u16,
    peers: &[Box<dyn Peer>],
    slow: &mut Vec<Slow>,
) -> Result<(), BenchError> {
    let progress = bar("publishing slowly", u64::from(repetitions) * peers.len() as u64 * schedule.events());
    for repetition in 0..repetitions {
        for (index, peer) in peers.iter().enumerate() {
            let (answered, received) = round(schedule, recipe, repetition, peer.as_ref(), &progress).await?;
            if slow.len() == index {
                let (who, all) = (peer.name().to_owned(), (Latencies::new(), Latencies::new()));
                slow.push(Slow {
                    who,
                    answered: Percentiles::default(),
                    received: Percentiles::default(),
                    rounds: Vec::new(),
                    all,
                });
            }
            let one = &mut slow[index];
            one.rounds.push(answered.percentiles());
            one.all.0.add(&answered);
            one.all.1.add(&received);
            (one.answered, one.received) = (one.all.0.percentiles(), one.all.1.percentiles());
        }
    }
    progress.finish_and_clear();
    Ok(())
}

async fn round(
    schedule: Schedule,
    recipe: Recipe,
    repetition: u16,
    peer: &dyn Peer,
    progress: &indicatif::ProgressBar,
) -> Result<(Latencies, Latencies), BenchError> {
    // New rooms, so that a client's first event is number 0.
    let rooms: Vec<_> = (0..ROOMS).map(|n| format!("slow-{repetition}-{n}")).collect();
    let clients = peer.subscribe(&rooms).await?;
    let mut caller = Caller::connect(peer.api()).await?;
    let mut answered = Latencies::new();
    schedule
        .keep(progress, async |n| {
            let at = usize::try_from(n).unwrap_or(0) % ROOMS;
            let stamp = Stamp { n: n / ROOMS as u64, t: clock::now() };
            let event = Publication { room: rooms[at].clone(), data: recipe.data(0, stamp) };
            let request = peer.publish(&event, false);
            let mut request = request.ok_or_else(|| BenchError::Protocol("a peer that takes no events".to_owned()))?;
            caller.ask(&mut request).await?;
            answered.record(clock::now() - stamp.t);
            Ok(())
        })
        .await?;
    let received = clients.received(schedule.events()).await?;
    Ok((answered, received))
}
