//! When a chain of frames begins anew with a keyframe, which every client can read.
//!
//! Pure: no clock, no bytes. It is told by each worker how many receivers a frame left in the chain and how many got it apart. Always
//! holds: a keyframe comes only when the frames that it saves those members that are apart outweigh what it costs those in the
//! chain, on whatever worker they are, and never while all are in it.
//!
//! A receiver that is apart gets an independent frame for a chained one, and wastes the difference. A keyframe costs each
//! receiver in the chain about twice that difference: its own size, and that of the frames after it until the window is warm (measured
//! on three corpora: 1.8 to 2.6 times). So the keyframe comes when as much was wasted as it costs: at worst twice what the
//! best times would have cost, whatever the members do.
//!
//! A worker that lags tells late. What it told last counts for the frames that it has not told of yet.

use smallvec::SmallVec;

/// Why a frame is a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyframeReason {
    /// The chain begins.
    Begin,
    /// Receivers are apart that a keyframe brings in.
    Waiting,
    /// The message before it did not become smaller and went out uncompressed: no client has it in its window.
    Incompressible,
}

/// What the next frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStep {
    /// One that every client can read, and with which the chain begins anew.
    Keyframe(KeyframeReason),
    /// One that refers to those before it.
    Next,
}

/// Where a frame stands in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainPlace {
    /// How many keyframes there were.
    keyframe: u64,
    /// How many frames behind the last of them.
    age: u64,
}

impl ChainPlace {
    /// Whether it is a keyframe's.
    #[must_use]
    pub fn is_keyframe(self) -> bool {
        self.age == 0
    }

    /// How many frames behind a keyframe.
    #[must_use]
    pub fn age(self) -> u64 {
        self.age
    }
}

/// What a frame came to on one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameReach {
    /// Receivers of the frame or of its independent variant.
    pub receivers: u64,
    /// Those that got the frame itself.
    pub took: u64,
    /// Those of them that can read the next frame of the chain.
    pub stayed: u64,
}

/// What one worker told of the chain.
#[derive(Debug)]
struct WorkerTally {
    worker: usize,
    /// The newest frame that it told of.
    place: ChainPlace,
    /// How many frames there were since it told something.
    silent: u64,
    /// Its receivers in the chain.
    stayed: u64,
    /// Those that are apart, and that the last keyframe was not for.
    apart: u64,
    /// Those that got the first frame behind the keyframe apart: most of them are kept out by something else, another room
    /// or a slow network, and the next keyframe would not bring them in either.
    kept_out: u64,
    /// Frames times receivers that were apart and would not have been, had this frame's keyframe been the newest one.
    wasted: u64,
    /// Frames times receivers that were expected to be apart.
    expected: u64,
}

/// A chain of frames, as far as its decisions need it.
#[derive(Debug, Default)]
pub struct Chain {
    keyframes: u64,
    /// How many frames there were since the last keyframe.
    age: u64,
    tallies: SmallVec<[WorkerTally; 2]>,
}

impl Chain {
    /// What a keyframe costs a receiver in the chain, in frames that a receiver gets apart.
    const COST: u64 = 2;

    /// Behind so many frames half of those that were kept out are believed to be so still.
    const HALVED_EVERY: u64 = 128;

    /// A worker that told nothing of so many frames has no members any more: no backlog is as long.
    const SILENT: u64 = 512;

    /// What the next frame is. `in_step`: the deflater's window holds what the receivers in the chain have.
    pub fn step(&mut self, in_step: bool) -> ChainStep {
        self.tallies.iter_mut().for_each(|tally| tally.silent += 1);
        self.tallies.retain(|tally| tally.silent <= Self::SILENT);
        let reason = if self.keyframes == 0 {
            KeyframeReason::Begin
        } else if !in_step {
            KeyframeReason::Incompressible
        } else if self.is_due() {
            KeyframeReason::Waiting
        } else {
            self.age += 1;
            return ChainStep::Next;
        };
        (self.keyframes, self.age) = (self.keyframes + 1, 0);
        self.tallies.iter_mut().for_each(WorkerTally::keyframe);
        ChainStep::Keyframe(reason)
    }

    /// Where the frame of the last step stands.
    #[must_use]
    pub fn place(&self) -> ChainPlace {
        ChainPlace { keyframe: self.keyframes, age: self.age }
    }

    /// A frame was served by a worker. Each tells of its frames in their order.
    pub fn served(&mut self, worker: usize, place: ChainPlace, reach: FrameReach) {
        let at = self.tallies.iter().position(|tally| tally.worker == worker).unwrap_or_else(|| {
            self.tallies.push(WorkerTally::of(worker));
            self.tallies.len() - 1
        });
        self.tallies[at].served(place, reach, self.keyframes);
    }

    /// Whether as much was wasted as a keyframe costs.
    fn is_due(&self) -> bool {
        let sum = |of: &dyn Fn(&WorkerTally) -> u64| self.tallies.iter().map(of).sum::<u64>();
        let in_chain = sum(&|tally| tally.stayed);
        // Where no receiver is in the chain, a keyframe costs nothing: all get an independent frame anyway.
        if in_chain == 0 { sum(&|tally| tally.apart) > 0 } else { sum(&|t| t.waste(self.age)) >= Self::COST * in_chain }
    }
}

impl WorkerTally {
    fn of(worker: usize) -> Self {
        let place = ChainPlace { keyframe: 0, age: 0 };
        Self { worker, place, silent: 0, stayed: 0, apart: 0, kept_out: 0, wasted: 0, expected: 0 }
    }

    /// A keyframe was made: it brings in whatever can be brought in, and is believed to until the worker tells of it.
    fn keyframe(&mut self) {
        self.stayed += self.apart;
        (self.apart, self.kept_out, self.wasted, self.expected) = (0, 0, 0, 0);
    }

    fn served(&mut self, place: ChainPlace, reach: FrameReach, keyframes: u64) {
        let apart = reach.receivers.saturating_sub(reach.stayed);
        let passed = if place.keyframe == self.place.keyframe { place.age.saturating_sub(self.place.age) } else { 0 };
        (self.place, self.silent) = (place, 0);
        if place.keyframe != keyframes {
            // The keyframe on its way is for all of them.
            (self.stayed, self.apart) = (reach.receivers, 0);
            return;
        }
        (self.stayed, self.apart) = (reach.stayed, apart);
        match place.age {
            0 => {}
            1 => self.kept_out = apart,
            age => {
                self.wasted += apart * passed;
                self.expected += self.believed(age) * passed;
            }
        }
    }

    /// How many are believed to be kept out still, so many frames behind the keyframe.
    fn believed(&self, age: u64) -> u64 {
        self.kept_out >> (age / Chain::HALVED_EVERY).min(63)
    }

    /// What was wasted, up to a frame that this worker may not have told of.
    fn waste(&self, age: u64) -> u64 {
        // Of the keyframe itself, and the one behind it, nothing is wasted.
        let untold = if self.place.age == 0 { 0 } else { age.saturating_sub(self.place.age) };
        let (wasted, expected) = (self.wasted + self.apart * untold, self.expected + self.believed(age) * untold);
        wasted.saturating_sub(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(stayed: u64, apart: u64) -> FrameReach {
        FrameReach { receivers: stayed + apart, took: stayed, stayed }
    }

    /// Sends `frames` to a room of `members`, of which `coming` in each thousand are replaced at each frame, `kept_out` never stay,
    /// and all others follow the chain. How many keyframes there were, and how many frames went apart.
    fn run(chain: &mut Chain, frames: u64, members: u64, coming: u64, kept_out: u64) -> (u64, u64) {
        let (mut waiting, mut keyframes, mut apart, mut owed) = (0, 0, 0, 0);
        for _ in 0..frames {
            owed += members * coming;
            let joined = owed / 1_000;
            owed %= 1_000;
            waiting = (waiting + joined).min(members - kept_out);
            let keyframe = matches!(chain.step(true), ChainStep::Keyframe(_));
            if keyframe {
                keyframes += 1;
                waiting = 0;
            }
            let away = waiting + kept_out;
            chain.served(0, chain.place(), reach(members - away, away));
            apart += if keyframe { 0 } else { away };
        }
        (keyframes, apart)
    }

    #[test]
    fn a_still_room_has_one_keyframe() {
        let mut chain = Chain::default();
        assert_eq!(chain.step(false), ChainStep::Keyframe(KeyframeReason::Begin));
        chain.served(0, chain.place(), reach(1_000, 0));
        assert_eq!(run(&mut chain, 100_000, 1_000, 0, 0), (0, 0));
    }

    #[test]
    fn newcomers_bring_keyframes_where_they_waste_what_one_costs() {
        // Ten events a second, one member in a hundred replaced each second.
        let (keyframes, apart) = run(&mut Chain::default(), 6_000, 10_000, 1, 0);
        assert!((80..=110).contains(&keyframes), "one in about 63 frames: {keyframes}");
        assert!(apart / 10_000 < 3 * keyframes, "{apart}");
        // One event a second.
        let (keyframes, _) = run(&mut Chain::default(), 600, 10_000, 10, 0);
        assert!((25..=35).contains(&keyframes), "one in about 20 frames: {keyframes}");
        // A room of ten in which one comes back each hundred frames.
        let (keyframes, _) = run(&mut Chain::default(), 10_000, 10, 1, 0);
        assert!((50..=110).contains(&keyframes), "{keyframes}");
    }

    #[test]
    fn those_that_something_else_keeps_out_bring_few() {
        let (keyframes, _) = run(&mut Chain::default(), 10_000, 1_000, 0, 500);
        assert!((10..=80).contains(&keyframes), "they are tried again now and then: {keyframes}");
        let (keyframes, _) = run(&mut Chain::default(), 10_000, 1_000, 0, 30);
        assert!(keyframes <= 40, "{keyframes}");
        let (keyframes, _) = run(&mut Chain::default(), 100, 1_000, 0, 1_000);
        assert!(keyframes >= 50, "where none is in the chain it costs nothing: {keyframes}");
    }

    #[test]
    fn what_is_told_late_of_those_that_a_keyframe_is_for_is_no_waste() {
        let mut chain = Chain::default();
        chain.step(true);
        let before = chain.place();
        chain.served(0, before, reach(10, 0));
        assert_eq!(chain.step(false), ChainStep::Keyframe(KeyframeReason::Incompressible));
        chain.served(1, before, reach(0, 1_000));
        chain.served(0, chain.place(), reach(10, 0));
        assert_eq!((chain.step(true), chain.place().is_keyframe()), (ChainStep::Next, false));
        assert_eq!(chain.step(true), ChainStep::Next);
    }

    /// Sends 2,000 frames to two workers, of which the second serves each of them so many frames after the first, and has members
    /// that stay. How many keyframes there were.
    fn run_behind(lag: usize, first: impl Fn(u64) -> FrameReach, second: impl Fn(u64) -> FrameReach) -> u64 {
        let (mut chain, mut keyframes, mut waiting) = (Chain::default(), 0, std::collections::VecDeque::new());
        for _ in 0..2_000 {
            keyframes += u64::from(matches!(chain.step(true), ChainStep::Keyframe(_)));
            let place = chain.place();
            chain.served(0, place, first(place.age));
            waiting.push_back(place);
            if waiting.len() > lag
                && let Some(late) = waiting.pop_front()
            {
                chain.served(1, late, second(late.age));
            }
        }
        keyframes
    }

    #[test]
    fn the_receivers_of_a_worker_that_lags_count_like_those_of_the_one_in_front() {
        // Three of ten members of the first worker come anew with each frame; the thousand of the second stay.
        let few = |age: u64| reach(10 - (3 * age).min(10), (3 * age).min(10));
        let many = |_| reach(1_000, 0);
        for lag in [0, 1, 8, 100] {
            let keyframes = run_behind(lag, few, many);
            assert!(keyframes <= 12 + lag as u64 / 2, "one in about 200 frames, {lag} behind: {keyframes}");
        }
        // And those of the second that wait for a keyframe get one, whatever the first says.
        let coming = |age: u64| reach(1_000 - (10 * age).min(1_000), (10 * age).min(1_000));
        for lag in [0, 1, 8] {
            let keyframes = run_behind(lag, |_| reach(10, 0), coming);
            assert!((50..=140).contains(&keyframes), "one in about 20 frames, {lag} behind: {keyframes}");
        }
    }

    #[test]
    fn a_worker_whose_members_have_left_is_forgotten() {
        let mut chain = Chain::default();
        chain.step(true);
        chain.served(1, chain.place(), reach(1_000_000, 0));
        let (keyframes, _) = run(&mut chain, 3_000, 1_000, 2, 0);
        assert!(keyframes >= 30, "{keyframes}");
    }
}
